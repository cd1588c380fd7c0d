"""A batch in parts gives the step of the whole batch, in less memory."""

import functools
import json
import os
import subprocess
import sys

import forked
import keras
import numpy as np
import pytest
import tensorflow as tf
from batch_parts import BATCH, STEPS, assert_same, calibrated, normalized
from small_vae import SHAPE, EdgeVAE, images, make

from tf_structvae.layers import LowRankNormalHead
from tf_structvae.models.accumulation import Batch, sum_over_parts, weighted_sum
from tf_structvae.models.constraints import Constraint
from tf_structvae.studies.targets import entropy_floor
from tf_structvae.training import config as config_lib
from tf_structvae.training.from_config import build_model

# Two channels a group: one alone would take away the bias before it, and leave rounding errors as
# the gradient of that bias.
group_norm = functools.partial(keras.layers.GroupNormalization, 2)


def paper(**options):
    """The paper's recipe: D = 1e-5 I, constraints on KL divergence and entropy; group norm."""
    head = LowRankNormalHead(
        2,
        rank=3,
        epsilon=1e-5,
        factor_initial=1e-3,
        noise="fixed",
        mean_initial=0.5,
        factor_scale="kernel",
    )
    target = entropy_floor(SHAPE, 1e-5) + 6
    constraints = [
        Constraint("kl", 0.02, rate=25.0, damping=250.0, initial_target=0.01, ramp_updates=3),
        Constraint("entropy", target, rate=25.0, damping=250.0),
    ]
    model = normalized(group_norm, head, constraints, pretrain_steps=2, **options)
    model.compile(keras.optimizers.SGD(1e-9))
    return model


def users_own(**options):
    """A constraint on a quantity of the user's own, and one without damping."""
    plain = make()
    constraints = [
        Constraint("edge_error", 0.1, "upper_bound", rate=2.0, damping=6.0),
        Constraint("squared_error", 0.5, rate=0.3, damping=0.0, initial_multiplier=0.2),
    ]
    model = EdgeVAE(plain.encoder, plain.decoder, constraints, **options)
    model.compile(keras.optimizers.SGD(1e-3))
    return model


RECIPES = {f.__name__: f for f in (calibrated, paper, users_own)}


@functools.cache
def trained(recipe, accumulate, jit=False):
    """Logs of some steps on unlike batches, weights before, and weights after."""
    keras.backend.clear_session()  # the same names again
    model = RECIPES[recipe](accumulate=accumulate)
    model.jit_compile = jit
    before = {v.path: np.array(v) for v in model.variables}
    logs = [model.train_on_batch(images(BATCH, seed), return_dict=True) for seed in range(STEPS)]
    return logs, before, {v.path: np.array(v) for v in model.variables}


@pytest.mark.parametrize(
    ("recipe", "accumulate"),
    [
        ("calibrated", 3),
        ("paper", BATCH),
        ("users_own", 3),
        *(
            pytest.param(r, n, marks=pytest.mark.long)
            for r, n in (("calibrated", 2), ("calibrated", BATCH), ("paper", 2), ("paper", 3))
        ),
    ],
)
def test_parts_give_the_step_of_the_whole(recipe, accumulate):
    whole = trained(recipe, 1)
    moved = [p for p, v in whole[2].items() if np.any(v != whole[1][p])]
    assert len(moved) > len(whole[2]) / 2
    bound = {p: float(v) for p, v in whole[2].items() if "multiplier" in p}
    assert bound.keys() <= set(moved)
    assert all(v > 0 for v in bound.values()), bound
    assert any("mixing" in p for p in moved) == (recipe != "paper")
    assert_same(trained(recipe, accumulate), whole)


@pytest.mark.long
def test_parts_in_xla():
    """XLA draws other noise than TensorFlow, so both are compiled."""
    assert_same(trained("calibrated", 3, True), trained("calibrated", 1, True))


def test_batches_of_any_size():
    """Down to fewer images than parts, where the size is not known before the step."""
    found = []
    for accumulate in (1, 4):
        model = calibrated(accumulate=accumulate)
        data = tf.data.Dataset.from_tensor_slices(images(19)).batch(8)
        logs = model.fit(data, verbose=0).history
        found.append(([logs], {}, model.get_weights()))
    (a, _, x), (b, _, y) = found
    for name in a[0]:
        np.testing.assert_allclose(a[0][name], b[0][name], rtol=1e-5, atol=1e-6)
    for u, v in zip(x, y, strict=True):
        np.testing.assert_allclose(u, v, rtol=1e-5, atol=1e-7)


def batch_of(values, weights=None):
    values = np.asarray(values, np.float32)
    weights = np.ones(len(values), np.float32) if weights is None else weights
    shape = (len(values), 1, 1, 1)
    return Batch(
        tf.constant(values.reshape(shape)),
        tf.constant(values.reshape(shape[:3])),
        tf.constant(weights, tf.float32),
    )


@pytest.mark.parametrize("parts", range(1, 10))
def test_sum_over_parts(parts):
    values = np.arange(1.0, 8.0)
    weights = np.array([1, 1, 0, 1, 1, 1, 1], np.float32)
    sizes = []

    def function(part):
        sizes.append(len(part.images))
        sums = weighted_sum(part, {"v": part.images[:, 0, 0, 0], "n": part.noise[:, 0] ** 2})
        return sums, [None, tf.reduce_sum(part.weights)]

    (sums, (nothing, count)), updates = sum_over_parts(function, batch_of(values, weights), parts)
    assert (nothing, updates, count) == (None, [], 6)
    assert sums["v"] == (weights * values).sum()
    assert sums["n"] == (weights * values**2).sum()
    # run eagerly, so each part is seen: no larger than it must be, and no more than asked for
    assert set(sizes) == {-(-7 // parts)}
    assert len(sizes) <= parts


def test_variables_do_not_change_and_their_values_come_back():
    average, counter, idle = (keras.Variable(v, dtype=d, trainable=False) for v, d in (
        (1.0, "float32"), (5, "int32"), (2.0, "float32")
    ))  # fmt: skip

    def function(part):
        mean = tf.reduce_mean(part.images)
        average.assign(0.9 * average + 0.1 * mean)
        counter.assign(counter + 1)
        return tf.cast(counter.value, tf.float32)

    variables = [counter, idle, average]
    total, updates = sum_over_parts(function, batch_of(range(6)), 3, variables)
    assert total == 6 + 7 + 8  # the counter goes from part to part
    found = {id(v): float(value) for v, value in updates}
    assert found.keys() == {id(average), id(counter)}
    assert found[id(counter)] == 8
    np.testing.assert_allclose(found[id(average)], 0.9 + 0.1 * np.mean(range(6)), rtol=1e-6)
    assert (float(average), int(counter)) == (1.0, 5)


def test_moving_statistics_move_once_by_the_mean_over_the_parts():
    """Of the first batch norm, whose input depends on nothing but the images."""
    head = LowRankNormalHead(
        2, rank=2, epsilon=0.05, noise="fixed", mean_initial=0.5, factor_scale="kernel"
    )
    # the damping makes for a forward pass of its own, which must leave no trace
    model = normalized(
        keras.layers.BatchNormalization,
        head,
        [Constraint("entropy", 9.0, damping=1.0)],
        accumulate=2,
    )
    model.compile(keras.optimizers.SGD(0.0))
    model.encoder.get_layer("stem_norm").momentum = 0.9
    x = images(BATCH)
    stem = keras.Model(model.encoder.inputs, model.encoder.get_layer("stem").output)
    features = np.split(stem(x).numpy().astype(np.float64), 2)
    model.train_on_batch(x)
    norm = model.encoder.get_layer("stem_norm")
    mean = np.mean([f.mean((0, 1, 2)) for f in features], 0)
    variance = np.mean([f.var((0, 1, 2)) for f in features], 0)
    np.testing.assert_allclose(norm.moving_mean, 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, 0.9 + 0.1 * variance, rtol=1e-4)


def with_loss_scale(accumulate, scale):
    model = calibrated(accumulate=accumulate)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-3), scale)
    model.compile(optimizer)
    before = model.head.mean_bias.numpy(), model.encoder.get_weights()
    for seed in range(3):
        model.train_on_batch(images(BATCH, seed))
    return optimizer, before, model


def test_loss_scale():
    """A power of two leaves no trace."""
    optimizer, _, model = with_loss_scale(3, 2.0**10)
    assert int(optimizer.iterations) == 3
    _, _, whole = with_loss_scale(1, 1.0)
    for a, b in zip(model.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_loss_scale_that_overflows():
    """The optimiser makes no step, and halves the scale; the closed form goes on."""
    optimizer, (bias, encoder), model = with_loss_scale(3, 2.0**127)
    assert int(optimizer.iterations) == 0
    assert float(optimizer.dynamic_scale) == 2.0**124
    for a, b in zip(encoder, model.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(bias != model.head.mean_bias.numpy())


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    found = []
    for accumulate in (1, 2):
        head = LowRankNormalHead(
            2,
            rank=3,
            epsilon=0.05,
            noise="learned",
            factor_initial=0.1,
            mean_initial=0.5,
            factor_scale="kernel",
        )
        model = normalized(group_norm, head, [], accumulate=accumulate)
        model.compile(keras.optimizers.SGD(1e-3))
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        model.optimizer.initial_scale = 2.0**8  # the first scale by default is one too large
        for seed in range(3):
            logs = model.train_on_batch(images(BATCH, seed), return_dict=True)
        assert int(model.optimizer.iterations) == 3
        found.append(logs)
    for name in found[0]:  # half precision keeps 11 bits
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=5e-3, err_msg=name)


def run(program, *words):
    done = forked.run("-c", program, *words, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


TWO_DEVICES = """
import functools, json, sys
sys.path[:0] = ["tests", "tests/helpers"]
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from batch_parts import calibrated, normalized
from small_vae import images
from tf_structvae.training import cluster
from tf_structvae.layers import LowRankNormalHead

def train(strategy, accumulate):
    keras.backend.clear_session()  # the same names again
    with strategy.scope():
        model = calibrated(accumulate=accumulate)
    # batches of 7 and, in the end, of 1: a replica has no image
    data = tf.data.Dataset.from_tensor_slices(images(15)).batch(7)
    logs = model.fit(data, verbose=0).history
    return {k: float(np.mean(v)) for k, v in logs.items()}, {
        v.path: np.asarray(v).tolist() for v in model.variables
    }

strategies = [cluster.build_strategy(name) for name in ("none", "mirrored")]
found = [train(strategies[0], 1), train(strategies[1], 3)]
try:
    with strategies[1].scope():
        norm = functools.partial(keras.layers.BatchNormalization, synchronized=True)
        normalized(norm, LowRankNormalHead(2), [], accumulate=2)
except ValueError as error:
    print(json.dumps([*found, str(error)]))
"""


@pytest.mark.long
def test_two_devices():
    (logs, weights), (part_logs, part_weights), error = run(TWO_DEVICES)
    assert logs.keys() == part_logs.keys()
    for name in logs:
        np.testing.assert_allclose(part_logs[name], logs[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert weights.keys() == part_weights.keys()
    (multiplier,) = (v for path, v in weights.items() if path.endswith("multiplier"))
    assert multiplier > 0.5  # where it starts: the constraint binds
    for path in weights:
        np.testing.assert_allclose(part_weights[path], weights[path], atol=1e-5, err_msg=path)
    assert "accumulate = 2 on 2 replicas: the layer 'stem_norm' is batch normalisation" in error


MEMORY = """
import json, sys
sys.path[:0] = ["tests", "tests/helpers"]
import keras, numpy as np, tensorflow as tf
from tf_structvae import Constraint, StructuredVAE
from tf_structvae.utilities import memory
from tf_structvae.layers import LowRankNormalHead

def convolutions(x):
    for _ in range(4):
        x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    return x

image, latent = keras.Input((64, 64, 3)), keras.Input((4,))
pooled = keras.layers.GlobalAveragePooling2D()(convolutions(image))
encoder = keras.Model(image, keras.layers.Dense(8)(pooled))
features = keras.layers.Reshape((64, 64, 1))(keras.layers.Dense(64 * 64)(latent))
decoder = keras.Model(latent, LowRankNormalHead(3, rank=25, noise="fixed")(convolutions(features)))
constraints = [Constraint("kl", 5.0), Constraint("squared_error", 9.0)]
x = np.random.default_rng(0).uniform(size=(96, 64, 64, 3)).astype(np.float32)
spec = tf.TensorSpec([None, 64, 64, 3])

def peak(model, count):
    data = tf.data.Dataset.from_generator(lambda: [x[:count]], output_signature=spec)
    model.fit(data, verbose=0)
    return memory.peak() / 2**20

rises = []
for accumulate in (8, 1):  # the peak of the first must not hide that of the second
    model = StructuredVAE(encoder, decoder, constraints, accumulate=accumulate)
    model.compile("adam")
    small = peak(model, 8)  # what the program and the graph take
    rises.append(peak(model, 96) - small)
print(json.dumps(rises))
"""


@pytest.mark.long
def test_memory():
    """From 8 images to 96: an eighth of the activations; a third, to leave the allocator room."""
    # glibc keeps what is freed for each of its arenas; with one, what is held is what is used
    environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parts, whole = json.loads(done.stdout.splitlines()[-1])
    print(f"from 8 images to 96: {whole:.0f} MB more in one part, {parts:.0f} MB in 8")
    assert whole > 150
    assert parts < whole / 3


def test_accumulate_is_kept(tmp_path):
    model = calibrated(accumulate=3)
    model.save(tmp_path / "m.keras")
    assert keras.models.load_model(tmp_path / "m.keras").accumulate == 3
    c = config_lib.default()
    assert build_model(c, (16, 16, 3)).accumulate == 1
    c.train.accumulate = 4
    assert build_model(c, (16, 16, 3)).accumulate == 4


def test_bad_numbers_of_parts():
    with pytest.raises(ValueError, match="accumulate must be a positive integer, got 0"):
        make(accumulate=0)
    c = config_lib.default()
    c.train.batch_size = c.train.accumulate = 4
    config_lib.validate(c)
    for value, allowed in ((5, "at most train.batch_size = 4, one part an image"),
                           (0, "a positive integer")):  # fmt: skip
        c.train.accumulate = value
        with pytest.raises(ValueError, match=f"train.accumulate = {value}: must be {allowed}"):
            config_lib.validate(c)
