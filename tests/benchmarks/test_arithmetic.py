"""Operations of a training step, counted as TensorFlow's profiler does."""

import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework import ops
from tensorflow.python.profiler.internal import flops_registry  # noqa: F401

from tf_structvae.benchmarks import arithmetic
from tf_structvae.training import config as config_lib
from tf_structvae.training.from_config import build_model


def counted(network, *shape):
    """Operations of the linear maps in a forward pass of one input."""
    traced = tf.function(lambda x: tf.convert_to_tensor(network(x))).get_concrete_function(
        tf.TensorSpec([1, *shape])
    )
    nodes = [
        op.node_def
        for op in traced.graph.get_operations()
        if op.type in ("Conv2D", "Conv2DBackpropInput", "MatMul")
    ]
    assert nodes
    return sum(ops.get_stats_for_node_def(traced.graph, n, "flops").value for n in nodes)


@pytest.mark.parametrize("upsample", ["bilinear", "transposed"])
def test_operations_are_those_that_tensorflow_counts(upsample):
    c = config_lib.default()
    c.model.likelihood = "independent"
    c.model.decoder.upsample = upsample
    model = build_model(c, (16, 16, 3))
    features = keras.Model(model.decoder.inputs, model.head.input)
    head = 2 * 16 * 16 * model.head.mean_kernel.shape[0] * 3
    forward = counted(model.encoder, 16, 16, 3) + counted(features, 64) + head
    assert arithmetic.of_step(model, batch=5) == 5 * 3 * forward
