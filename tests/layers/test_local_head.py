"""The head of a low-rank and local normal: its definition, bounds, units, training and files."""

import json

import forked
import keras
import numpy as np
import pytest
import small_vae
import tensorflow as tf
from dense_local import dense_operator

import tf_structvae as sv
from tf_structvae.distributions.local.window import Window
from tf_structvae.evaluation import heldout
from tf_structvae.layers import LocalLowRankHead
from tf_structvae.models.losses import NegativeLogLikelihood

SHAPES = {"sequence": (2, 5, 4), "image": (2, 4, 3, 4), "volume": (2, 2, 3, 2, 4), "flat": (2, 4)}


def filled(head, shape, seed=0):
    """The head with weights that are not those of its start."""
    head.build(shape)
    rng = np.random.default_rng(seed)
    for w in head.trainable_variables:
        w.assign_add(0.5 * rng.normal(size=w.shape))
    return head


def features(shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def dense(head, x, radius, bound):
    """Mean and covariance of the first example, from the definition, float64."""
    w = {v.name: np.asarray(v, np.float64) for v in head.variables}
    h = x[0].reshape(-1, x.shape[-1]).astype(np.float64)
    space, c = x.shape[1:-1] or (1,), head.channels
    window = Window((*space, c), radius)
    count = len(window.offsets)
    raw = h @ w["neighbour_kernel"] + w["neighbour_bias"] if count else np.zeros([len(h), 0])
    total = np.abs(raw).sum(-1, keepdims=True)
    neighbours = bound * raw * np.tanh(total) / np.maximum(total, 1e-30)
    v = np.zeros([len(h), c, c])
    if c > 1:
        lower = 4 * np.tanh((h @ w["channel_kernel"] + w["channel_bias"]) / 4)
        rows, columns = np.tril_indices(c, -1)
        v[:, rows, columns] = lower
    scale = np.exp(0.5 * (h @ w["noise_kernel"] + w["noise_bias"]))
    a = dense_operator(
        window,
        neighbours.reshape(*space, 1, count, 1),
        v.reshape(*space, c, c),
        scale.reshape(*space, c),
    )
    root = np.linalg.inv(a)
    covariance = root @ root.T
    if head.rank:
        p = np.einsum("sf,fcr->scr", np.c_[h, np.ones(len(h))], w["factor_kernel"])
        p = p.reshape(-1, head.rank)
        if head.factor_scale == "closed_form":
            p = p @ w["mixing"]
        covariance = covariance + p @ p.T
    mean = (h @ w["mean_kernel"] + w["mean_bias"]).ravel()
    return mean, covariance


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("channels", "rank", "radius"), [(2, 3, 1), (1, 2, 2), (3, 0, 1), (2, 2, 0)]
)
def test_it_emits_what_it_says(shape, channels, rank, radius):
    shape = SHAPES[shape]
    head = LocalLowRankHead(
        channels, rank, radius, bound=0.8, factor_scale="closed_form", standardize=False
    )
    filled(head, shape)
    x = features(shape)
    p = head(x)
    mean, covariance = dense(head, x, radius, 0.8)
    np.testing.assert_allclose(p.mean()[0], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(p.covariance()[0], covariance, rtol=1e-3, atol=1e-4)
    assert p.rank == rank
    assert head.compute_output_shape(shape) == (2, mean.size)


def test_weights_start_at_zero_and_stay_below_the_bound():
    head = LocalLowRankHead(3, 2, radius=2, bound=0.9, standardize=False)
    x = features((2, 8, 7, 4))
    start = head(x).local()
    assert not np.any(start.neighbours)
    assert not np.any(start.channels)
    for w in (head.neighbour_kernel, head.neighbour_bias):
        w.assign(100.0 * np.random.default_rng(0).normal(size=w.shape))
    local = head(x).local()
    total = np.sum(np.abs(local.neighbours), axis=(-3, -2, -1))
    assert 0.89 < total.max() < 0.9 + 1e-6
    # no noise grows by more than 1 / (1 - 0.9)
    unit = tf.ones_like(local.scale)
    solved = sv.distributions.LocalLowRankNormal(
        np.zeros(168, np.float32), 1.0, (8, 7, 3), np.abs(local.neighbours), radius=2
    ).local()
    grown = solved.solve(tf.reshape(unit, [2, 168, 1]))
    assert 1.5 < np.max(grown) < 10.0


@pytest.mark.parametrize("rank", [0, 2])
def test_units_of_the_targets(rank):
    """Moved and scaled channels: the log-density falls by the logarithms of the scales."""
    shape = (4, 3, 5, 4)
    offset, scale = np.array([300.0, -20.0]), np.array([0.5, 40.0])
    head = filled(LocalLowRankHead(2, rank), shape)
    x = features(shape)
    y = np.random.default_rng(2).normal(size=(4, 3, 5, 2))
    plain = head(x).log_prob(y.reshape(4, -1).astype(np.float32))
    head.units.offset.assign(offset)
    head.units.scale.assign(scale)
    moved = (offset + scale * y).reshape(4, -1).astype(np.float32)
    found = head(x).log_prob(moved)
    np.testing.assert_allclose(found + 15 * np.log(scale).sum(), plain, rtol=1e-3, atol=2e-2)
    np.testing.assert_allclose(head(x).mean(), 1.0 * head(x).sample_from_noise(np.zeros([4, rank])))


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("scale", ["log_scale", "closed_form"])
def test_fit_learns_a_correlation_of_neighbours(rank, scale, tmp_path):
    """Random walks along a row: each entry depends on the one before with weight 0.9."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(512, 6, 8, 1))
    walk = np.zeros_like(steps)
    for k in range(8):
        walk[:, :, k] = (0.9 * walk[:, :, k - 1] if k else 0) + steps[:, :, k]
    ones = np.ones([512, 6, 8, 1], np.float32)
    head = LocalLowRankHead(1, rank, factor_scale=scale, name="head")
    model = keras.Sequential([keras.Input((6, 8, 1)), head])
    model.compile(keras.optimizers.Adam(0.05), NegativeLogLikelihood())
    y = walk.astype(np.float32)
    model.fit(ones, y, batch_size=64, epochs=12, verbose=0)
    p = model(ones[:1])
    found = p.local().neighbours[0, ..., 0, :, 0].numpy()
    np.testing.assert_allclose(found[1:, 1:, -1].mean(), 0.9, atol=0.08)
    np.testing.assert_allclose(found[1:, 1:, :3].mean((0, 1)), 0.0, atol=0.1)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.layers[-1].get_config() == head.get_config()
    np.testing.assert_array_equal(again(ones[:1]).log_prob(y), p.log_prob(y))


def test_training_steps_are_fused_and_others_are_not():
    head = filled(LocalLowRankHead(2, 2), (2, 4, 3, 4))
    x = features((2, 4, 3, 4))
    assert head(x, training=True).fused
    assert not head(x).fused

    def compiled(training):
        run = tf.function(lambda x: head(x, training=training).summarize(tf.zeros([2, 24])))
        graph = run.get_concrete_function(tf.constant(x)).graph.as_graph_def()
        return "_XlaMustCompile" in str(graph)

    assert compiled(True)
    assert not compiled(False)


@pytest.mark.parametrize("rank", [0, 3])
def test_it_works_in_a_structured_vae(rank):
    """KL and entropy constraints, the closed-form scale, evaluation and pictures."""
    constraints = [sv.Constraint("kl", 2.0), sv.Constraint("entropy", 20.0)]
    head = LocalLowRankHead(
        2, rank, epsilon=0.05, factor_scale="closed_form", factor_initial=0.1, standardize=False
    )
    model = small_vae.make(head, constraints, pretrain_steps=2)
    model.compile(keras.optimizers.Adam(0.01))
    x = small_vae.images(64)
    before = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)["log_prob"]
    mixing = np.array(head.mixing) if rank else None
    model.fit(x, batch_size=32, epochs=20, verbose=0)
    found = model.evaluate(x, batch_size=32, verbose=0, return_dict=True)
    assert found["log_prob"] > before + 20
    assert all(c.multiplier != 0 for c in model.constraints)
    assert np.all(np.isfinite(list(found.values())))
    if rank:
        assert np.abs(mixing - head.mixing).max() > 1e-3  # `match_noise` was called
    assert np.any(head.neighbour_kernel)
    scores, calibration = heldout.held_out(model, [tf.constant(x[:32]), tf.constant(x[32:])])
    assert np.isfinite(scores["log_prob"].value)
    assert (calibration.mean_square.size, calibration.residual.shape) == (rank, (60,))


def test_a_residual_of_variance_one_is_calibrated():
    """Of data drawn from the distribution itself."""
    head = filled(LocalLowRankHead(2, 2, standardize=False), (1, 4, 3, 4))
    p = head(np.repeat(features((1, 4, 3, 4)), 2000, 0))
    x = p.sample(seed=(0, 1))
    squares = np.square(p.standardized_residual(x))
    assert abs(squares.mean() - 1) < 5 * np.sqrt(2 / squares.size)
    c, s = p.noise_posterior(x)
    moment = np.mean(np.square(c) + np.diagonal(s, axis1=1, axis2=2), 0)
    np.testing.assert_allclose(moment, 1.0, atol=5 * np.sqrt(2 / 2000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": -1}, "radius must be an integer of at least 0, got -1"),
        ({"rank": -1}, "rank must be an integer of at least 0, got -1"),
        ({"bound": 1.0}, "bound must be a number between 0 and 1, got 1.0"),
        ({"bound": float("nan")}, "bound must be a number between 0 and 1, got nan"),
    ],
)
def test_wrong_arguments_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        LocalLowRankHead(3, **options)


def test_features_need_a_static_size():
    with pytest.raises(ValueError, match=r"features must be \[B, \*S, F\] with static S"):
        LocalLowRankHead(3).build((None, None, 8, 4))
    with pytest.raises(ValueError, match="grid must be 1 to 3 numbers"):
        LocalLowRankHead(3).build((None, 2, 2, 2, 2, 4))


REPLICAS = """
import json, sys
sys.path[:0] = ["tests", "tests/helpers"]
import keras, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from small_vae import images, make
from tf_structvae import Constraint
from tf_structvae.layers import LocalLowRankHead

def train(devices):
    keras.utils.set_random_seed(0)
    with tf.distribute.MirroredStrategy(devices).scope():
        head = LocalLowRankHead(2, 3, epsilon=0.1, factor_scale="closed_form", factor_initial=0.1)
        constraint = Constraint("kl", 0.05, rate=0.5, damping=2.0)
        model = make(head, [constraint])
        model.compile(keras.optimizers.SGD(1e-4))
    data = tf.data.Dataset.from_tensor_slices(images(60)).batch(12)
    model.fit(data, epochs=4, verbose=0)
    return {v.path: v.numpy().ravel().tolist() for v in model.variables}

print(json.dumps([train(["CPU:0"]), train(["CPU:0", "CPU:1"])]))
"""


@pytest.mark.long
def test_two_devices_train_what_one_does():
    done = forked.run("-c", REPLICAS, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    moved = [path for path in one if "neighbour_kernel" in path]
    assert np.abs(one[moved[0]]).max() > 1e-3
    assert one["kl/multiplier"][0] > 0.01
    for (path, a), b in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4, err_msg=path)
