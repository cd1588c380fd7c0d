"""The units of the targets: an offset and a scale for each channel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

# A standard deviation below this share of the mean is float32's rounding of a constant.
_LEAST_SHARE = 3e-7


class Affine(NamedTuple):
    """target = offset + scale * standardised target."""

    offset: tf.Tensor
    scale: tf.Tensor


class Units(keras.layers.Layer):
    """Mean and standard deviation of each channel of the targets, as weights that no step trains.

    They start at 0 and 1, and are set once: by `adapt`, or by `adapt_once` with the first batch.

    Args:
      channels: C.
    """

    def __init__(self, channels: int, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self.channels = channels

    def build(self, input_shape=None):
        def weight(name, shape, initial):
            return self.add_weight(
                name=name,
                shape=shape,
                initializer=initial,
                trainable=False,
                aggregation="only_first_replica",  # `adapt_once` assigns the same in each
            )

        self.offset = weight("offset", (self.channels,), "zeros")
        self.scale = weight("scale", (self.channels,), "ones")
        self.adapted = weight("adapted", (), "zeros")
        super().build(input_shape)

    def read(self) -> Affine:
        """As they are now, each [C]."""
        return Affine(tf.convert_to_tensor(self.offset), tf.convert_to_tensor(self.scale))

    def adapt(self, targets: Any) -> None:
        """Sets both from data, in float64.

        Args:
          targets: an array [B, ...], or an iterable of such batches; see `NormalHead.adapt`.

        Raises:
          ValueError: no targets, other numbers than finite ones, or a size that does not fit.
        """
        if isinstance(targets, (np.ndarray, tf.Tensor, list)):
            targets = [targets]
        count, mean, squares = 0, np.zeros(self.channels), np.zeros(self.channels)
        for rows in map(self._rows, targets):
            # the parallel form of Chan, Golub and LeVeque (1983)
            step, total = rows.mean(0) - mean, count + len(rows)
            squares += rows.var(0) * len(rows) + step**2 * (count * len(rows) / total)
            mean, count = mean + step * (len(rows) / total), total
        if not count:
            raise ValueError("targets must hold at least one example, got none.")
        self._assign(mean, _scale(mean, squares / count))

    def _rows(self, targets) -> np.ndarray:
        """Finite numbers [B, ...] as [rows, C], float64."""
        if isinstance(targets, (tuple, dict)):
            raise ValueError(
                f"targets must be arrays [B, ...] alone, got a {type(targets).__name__}: of a "
                "dataset of (x, y) give `dataset.map(lambda x, y: y)`."
            )
        values = np.asarray(targets, np.float64)
        size = int(np.prod(values.shape[1:]))
        if values.ndim == 0 or not values.size or size % self.channels:
            raise ValueError(
                f"targets must be [B, ...] with the head's {self.channels} channels last, got "
                f"shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise ValueError("targets must be finite, got NaN or infinity.")
        return values.reshape(-1, self.channels)

    def adapt_once(self, targets: tf.Tensor, global_sum: Callable[[Any], Any]) -> Affine:
        """Sets both from the first batch of a training; leaves them as they are in later ones.

        Args:
          targets: [B, ...], in row-major order with the channel last.
          global_sum: the sum over replicas of tensors in any nest.

        Returns:
          What they are from now on.
        """
        adapted = self.adapted > 0.5

        def sums():
            rows = tf.reshape(tf.cast(targets, tf.float64), [-1, self.channels])
            ones = tf.fill(tf.shape(rows)[:1], tf.constant(1.0, tf.float64))
            return tf.reduce_sum(ones), tf.reduce_sum(rows, 0), tf.reduce_sum(rows**2, 0)

        def nothing():
            none = tf.zeros([self.channels], tf.float64)
            return tf.zeros([], tf.float64), none, none

        count, first, second = global_sum(tf.cond(adapted, nothing, sums))
        count = tf.maximum(count, 1.0)
        mean, old = first / count, self.read()
        scale = _scale(mean, second / count - mean**2)
        new = Affine(
            tf.where(adapted, old.offset, tf.cast(mean, old.offset.dtype)),
            tf.where(adapted, old.scale, tf.cast(scale, old.scale.dtype)),
        )
        self._assign(*new)
        return new

    def _assign(self, offset, scale):
        self.offset.assign(offset)
        self.scale.assign(scale)
        self.adapted.assign(1.0)


def _scale(mean, variance):
    """The standard deviation; 1 where all is one number."""
    constant = variance <= (_LEAST_SHARE * mean) ** 2
    return tf.sqrt(tf.where(constant, tf.ones_like(variance), variance))
