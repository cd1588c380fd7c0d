"""Batch normalisation of several replicas, beside Keras's own, in a process with two devices."""

import json

import forked
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_structvae.models.blocks import BatchNormalization

SCRIPT = """
import json, sys
import keras, numpy as np, tensorflow as tf
from tf_structvae.models.blocks import BatchNormalization

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
rng = np.random.default_rng(0)
channels_last = rng.normal(3.0, 2.0, (5, 4, 3, 2)).astype("f4")  # three images and two
weights_last = rng.normal(size=channels_last.shape).astype("f4")
sizes = []
context = tf.distribute.ReplicaContext
before = context.all_reduce


def all_reduce(self, op, value, *args, **kwargs):
    sizes.append([int(np.prod(v.shape)) for v in tf.nest.flatten(value)])
    return before(self, op, value, *args, **kwargs)


context.all_reduce = all_reduce


def run(kind, axis=-1):
    x = np.moveaxis(channels_last, -1, axis).copy()
    weights = np.moveaxis(weights_last, -1, axis).copy()
    with strategy.scope():
        layer = kind(momentum=0.5, synchronized=True, axis=axis)
        layer.build(x.shape)
        layer.gamma.assign([0.5, 2.0])
        layer.moving_mean.assign([2.5, -1.0])

    def own(a):
        parts = [tf.constant(v) for v in np.split(a, [3])]
        return strategy.experimental_distribute_values_from_function(
            lambda c: parts[c.replica_id_in_sync_group]
        )

    @tf.function
    def step(images, weight):
        with tf.GradientTape() as tape:
            tape.watch(images)
            y = layer(images, training=True)
            loss = tf.reduce_sum(weight * tf.square(y))
        gradients = tape.gradient(loss, [images, *layer.trainable_variables])
        return y, *[tf.convert_to_tensor(g) for g in gradients]

    del sizes[:]
    results = strategy.run(step, (own(x), own(weights)))
    local = [strategy.experimental_local_results(r) for r in results]
    joined = [np.concatenate(r).tolist() for r in local[:2]]
    summed = [np.sum(r, 0).tolist() for r in local[2:]]
    moving = [np.asarray(v).tolist() for v in (layer.moving_mean, layer.moving_variance)]
    return [*joined, *summed, *moving], list(sizes)


kinds = (BatchNormalization, keras.layers.BatchNormalization)
print(json.dumps([[run(kind, axis) for kind in kinds] for axis in (-1, 1)]))
"""


@pytest.fixture(scope="module")
def both():
    done = forked.run("-c", SCRIPT)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", [0, 1])
def test_results_gradients_and_moving_statistics_are_those_of_keras(both, case):
    """With channels last, and first."""
    (ours, _), (keras_own, _) = both[case]
    for a, b in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_one_tensor_is_exchanged_forth_and_one_back(both):
    (_, ours), (_, keras_own) = both[0]
    # of both replicas: a sum and a sum of squares of two channels, and the count
    assert ours == [[5]] * 2 * 2
    assert len(keras_own) > 4


def one_step(layer, x, weights):
    """Results, gradients and moving statistics of a step of training, and its operations."""
    layer.build(x.shape)
    if layer.scale:
        layer.gamma.assign([0.5, 2.0])
    layer.moving_mean.assign([2.5, -1.0])

    @tf.function
    def step(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            y = layer(images, training=True)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2 * weights)
        return y, *tape.gradient(loss, [images, *layer.trainable_variables])

    images = tf.constant(x)
    kinds = {op.type for op in step.get_concrete_function(images).graph.get_operations()}
    values = [*step(images), *layer.non_trainable_variables, layer(images, training=False)]
    return [np.asarray(v) for v in values], "FusedBatchNormV3" in kinds


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    ("policy", "atol"), [("float32", 1e-4), ("mixed_bfloat16", 0.1), ("mixed_float16", 0.01)]
)
def test_fused_kernel_does_what_keras_does(count, policy, atol):
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 2.0, (count, 4, 3, 2)).astype("f4")
    # on one replica there is nothing to be synchronised
    options = {"momentum": 0.5, "synchronized": True, "dtype": policy}
    weights = rng.normal(size=x.shape)
    ours, fused = one_step(BatchNormalization(**options), x, weights)
    theirs, _ = one_step(keras.layers.BatchNormalization(**options), x, weights)
    assert fused
    assert [a.dtype for a in ours] == [b.dtype for b in theirs]
    for a, b in zip(ours, theirs, strict=True):
        a, b = a.astype("f4"), b.astype("f4")
        np.testing.assert_allclose(a, b, rtol=atol, atol=atol * max(1, abs(b).max()))


@pytest.mark.parametrize(
    ("options", "dtype"),
    [({}, "float64"), ({"scale": False}, "float32"), ({"axis": 1}, "float32")],
)
def test_what_the_kernel_cannot_do_is_done_by_keras(options, dtype):
    x = np.random.default_rng(0).normal(3.0, 2.0, (3, 2, 3, 2)).astype(dtype)
    kinds = (BatchNormalization, keras.layers.BatchNormalization)
    options = {**options, "dtype": "float64" if dtype == "float64" else "float32"}
    (ours, fused), (theirs, _) = (
        one_step(kind(autocast=False, **options), x, 1.0) for kind in kinds
    )
    assert not fused
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_layer_does_not_learn():
    layer = BatchNormalization()
    layer.build((None, 2, 2, 1))
    layer.trainable = False
    y = layer(np.full((1, 2, 2, 1), 3.0, "f4"), training=True)
    np.testing.assert_allclose(y, 3.0 / np.sqrt(1.001), rtol=1e-6)
    assert float(layer.moving_mean[0]) == 0.0
