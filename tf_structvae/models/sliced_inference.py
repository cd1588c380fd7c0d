"""Networks applied to many images at once, within bounded memory."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

# Keras keeps the outputs of all layers until a network's end where it runs eagerly; a graph frees
# each as soon as it is used. Images of more pixels than these together go one slice after another.
_PIXELS_AT_ONCE = 64 * 64 * 64


class Slices:
    """A network as it is in inference: a graph, applied to slices of a batch.

    Args:
      network: [B, ...], or a list of such inputs, -> [B, ...].
      image_shape: (H, W, C) of what it takes or makes.
    """

    def __init__(self, network: keras.Model, image_shape: tuple[int, int, int]):
        self._size = max(1, _PIXELS_AT_ONCE // math.prod(image_shape[:2]))
        self._run = tf.function(
            lambda x: network(x, training=False), autograph=False, reduce_retracing=True
        )

    def __call__(self, x) -> tf.Tensor:
        """The same as `network(x)` up to float32 rounding."""
        x = tf.nest.map_structure(tf.convert_to_tensor, x)
        count = len(tf.nest.flatten(x)[0])
        if count <= self._size:
            return self._run(x)
        parts = []
        for i in range(0, count, self._size):
            end = i + self._size
            parts.append(self._run(tf.nest.map_structure(lambda t, i=i, end=end: t[i:end], x)))
        return tf.concat(parts, axis=0)


def before(head: keras.layers.Layer, network: keras.Model) -> keras.Model | None:
    """All of a functional network but its last layer, `head`; None of any other network."""
    inputs = getattr(network, "inputs", None)
    if not inputs or len(inputs) > 2 or network.layers[-1] is not head:
        return None
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, head.input)
