import numpy as np
import pytest
import tensorflow as tf

from tf_structvae.models.constraints import KINDS, Constraint


def minimise(objective, value, constraint, x, steps=4000, step=0.02, noise=0.0, seed=0):
    """Gradient descent on objective(x) + constraint, gradient ascent on the multiplier."""
    x = tf.Variable(tf.constant(x, tf.float32))
    rng = np.random.default_rng(seed)
    tail = []

    @tf.function
    def one(shift):
        with tf.GradientTape() as tape:
            v = value(x) + shift
            loss = objective(x) + constraint(v)
        x.assign_sub(step * tape.gradient(loss, x))
        constraint.update(v)

    for i in range(steps):
        one(tf.constant(noise * rng.normal(), tf.float32))
        if i >= steps // 2:
            tail.append([*np.atleast_1d(x.numpy()), float(constraint.multiplier)])
    return np.mean(tail, axis=0)


# minimise (x - 2)^2 + (y - 1)^2 under a constraint on x + y: by Lagrange, with the target t,
# x* = 2 - lambda / 2, y* = 1 - lambda / 2, lambda* = 3 - t.
def bowl(x):
    return tf.reduce_sum(tf.square(x - tf.constant([2.0, 1.0])))


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize(
    ("kind", "target", "multiplier"),
    [
        ("equality", 1.0, 2.0),
        ("equality", 5.0, -2.0),
        ("clamped_equality", 1.0, 2.0),
        ("upper_bound", 1.0, 2.0),
        ("upper_bound", 5.0, 0.0),
    ],
)
def test_known_optimum(kind, target, multiplier, noise):
    constraint = Constraint("sum", target, kind, rate=0.05, damping=1.0)
    x, y, found = minimise(bowl, tf.reduce_sum, constraint, [0.0, 0.0], noise=noise)
    # the noise of the value enters through the damping; its mean over 2000 steps is small
    np.testing.assert_allclose([x, y], [2 - multiplier / 2, 1 - multiplier / 2], atol=0.03)
    np.testing.assert_allclose(found, multiplier, atol=0.05)


def test_clamped_equality_is_pulled_up_by_its_damping_alone():
    """Below the target the multiplier rests at 0; damping d moves x + y to (3 + d t) / (1 + d)."""
    constraint = Constraint("sum", 5.0, "clamped_equality", rate=0.05, damping=1.0)
    x, y, multiplier = minimise(bowl, tf.reduce_sum, constraint, [0.0, 0.0])
    assert multiplier == 0
    np.testing.assert_allclose(x + y, 4.0, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_coefficient_and_update(kind):
    c = Constraint("kl", 10.0, kind, rate=2.0, damping=3.0, initial_multiplier=1.0)
    assert float(c.coefficient(tf.constant(12.0))) == 7.0
    below = {"equality": -5.0, "clamped_equality": -5.0, "upper_bound": 0.0}[kind]
    assert float(c.coefficient(tf.constant(8.0))) == below
    c.update(tf.constant(12.0))
    assert float(c.multiplier) == 5.0
    c.update(tf.constant(0.0))
    assert float(c.multiplier) == (-15.0 if kind == "equality" else 0.0)
    c.update(tf.constant(20.0), weight=0.0)
    assert float(c.multiplier) == (-15.0 if kind == "equality" else 0.0)
    assert not c.trainable_variables


def test_target_moves_to_its_place_and_stays():
    c = Constraint("kl", 10.0, rate=0.0, initial_target=30.0, ramp_updates=4)
    seen = []
    for weight in (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        seen.append(float(c.current_target()))
        c.update(tf.constant(0.0), weight)
    assert seen == [30.0, 30.0, 25.0, 20.0, 15.0, 10.0, 10.0]
    assert float(c.gap(tf.constant(12.0))) == 2.0


def test_moving_target_still_finds_the_optimum():
    c = Constraint(
        "sum", 1.0, "equality", 0.05, 1.0, initial_multiplier=-1.0, initial_target=4.0,
        ramp_updates=500,
    )  # fmt: skip
    x, y, found = minimise(bowl, tf.reduce_sum, c, [0.0, 0.0])
    np.testing.assert_allclose([x, y, found], [1.0, 0.0, 2.0], atol=0.01)


def test_gradient_treats_the_coefficient_as_a_constant():
    c = Constraint("kl", 1.0, rate=1.0, damping=2.0, initial_multiplier=3.0)
    v = tf.Variable(4.0)
    with tf.GradientTape() as tape:
        loss = c(v)
    assert float(tape.gradient(loss, v)) == 3.0 + 2.0 * 3.0


def test_config_round_trip():
    c = Constraint("kl", 1.5, "upper_bound", 0.5, 2.0, 4.0, 3.5, 7)
    again = Constraint.from_config(c.get_config())
    assert again.get_config() == c.get_config()
    assert float(again.multiplier) == 4.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "lower"}, "kind must be one of"),
        ({"rate": -1.0}, "rate must be"),
        ({"damping": float("nan")}, "damping must be"),
        ({"target": float("inf")}, "target must be"),
        ({"initial_multiplier": -1.0}, "initial_multiplier must be"),
        ({"initial_target": 3.0}, "belong together, got 3.0 and 0"),
        ({"ramp_updates": 3}, "belong together, got None and 3"),
        ({"initial_target": float("nan"), "ramp_updates": 3}, "initial_target must be finite"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        Constraint(**({"name": "kl", "target": 1.0} | changes))
