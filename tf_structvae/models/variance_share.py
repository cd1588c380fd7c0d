"""The share of the data's variance that P takes, as a quantity to be constrained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

NAME = "structured_share"


class VarianceShare(keras.layers.Layer):
    """tr(P P^T) of p(x | z) over the total variance of the data.

    The paper leaves open how much of an image z should explain, and how much P (section 5); a
    constraint on this share decides it. The total variance, the trace of the images' covariance, is
    that of the first batch of the training, and is kept with the weights.
    """

    def __init__(self, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.total = self.add_weight(
            name="total_variance",
            shape=(),
            initializer="zeros",  # until the first batch
            trainable=False,
            aggregation="only_first_replica",
        )
        self.built = True

    def adapt_once(self, images: tf.Tensor, global_sum: Callable[[Any], Any]) -> None:
        """Sets the total variance by the first batch of a training; leaves it in later ones.

        Args:
          images: [B, ...].
          global_sum: the sum over replicas of tensors in any nest.
        """
        size = math.prod(images.shape[1:])

        def sums():
            rows = tf.reshape(tf.cast(images, tf.float64), [-1, size])
            count = tf.cast(tf.shape(rows)[0], tf.float64)
            return count, tf.reduce_sum(rows, 0), tf.reduce_sum(tf.square(rows))

        def nothing():
            zero = tf.zeros([], tf.float64)
            return zero, tf.zeros([size], tf.float64), zero

        count, first, second = global_sum(tf.cond(self.total > 0, nothing, sums))
        centred = second - tf.math.divide_no_nan(tf.reduce_sum(tf.square(first)), count)
        variance = tf.cast(centred / tf.maximum(count - 1.0, 1.0), tf.float32)
        fresh = tf.where(variance > 0, variance, 1.0)  # of images that are all alike
        self.total.assign(tf.where(self.total > 0, self.total, fresh))

    def share(self, p) -> tf.Tensor:
        """The share of each image, [B]; 0 before the first training.

        Args:
          p: with batch [B] and event [N].
        """
        explained = tf.reduce_sum(p.structured_variance(), -1)
        return tf.math.divide_no_nan(explained, tf.cast(self.total, explained.dtype))
