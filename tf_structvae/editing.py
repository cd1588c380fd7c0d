"""Interpolation of noise and latents: pure functions of arrays."""

from __future__ import annotations

import tensorflow as tf


def slerp(a, b, t) -> tf.Tensor:
    """Spherical interpolation sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b (eq. 7).

    w is the angle between a and b. Where the great circle is not unique or has no length, the limit
    is taken: parallel or zero vectors are interpolated linearly; between opposite ones the path
    goes through a direction orthogonal to both.

    Args:
      a: [..., R].
      b: [..., R].
      t: [...] or scalar; 0 gives a, 1 gives b.

    Returns:
      [..., R].
    """
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    t = tf.convert_to_tensor(t, a.dtype)[..., tf.newaxis]
    norm_a, norm_b = (tf.norm(v, axis=-1, keepdims=True) for v in (a, b))
    unit_a = tf.math.divide_no_nan(a, norm_a)
    unit_b = tf.math.divide_no_nan(b, norm_b)
    # by half-angles: exact where the cosine is flat
    apart, together = (
        tf.norm(v, axis=-1, keepdims=True) for v in (unit_a - unit_b, unit_a + unit_b)
    )
    omega = 2.0 * tf.math.atan2(apart, together)
    tiny = tf.constant(1e-4, a.dtype)
    linear = (omega < tiny) | (norm_a == 0.0) | (norm_b == 0.0)
    opposite = ~linear & (together < tiny)
    sine = tf.where(linear | opposite, 1.0, tf.sin(omega))
    first = tf.where(linear, 1.0 - t, tf.sin((1.0 - t) * omega) / sine)
    second = tf.where(linear, t, tf.sin(t * omega) / sine)
    path = first * a + second * b
    radius = (1.0 - t) * norm_a + t * norm_b
    angle = t * omega
    around = radius * (tf.cos(angle) * unit_a + tf.sin(angle) * _orthogonal(unit_a))
    return tf.where(opposite, around, path)


def _orthogonal(unit: tf.Tensor) -> tf.Tensor:
    """A unit vector orthogonal to `unit` [..., R], the same for the same vector; R >= 2."""
    axis = tf.one_hot(tf.argmin(tf.abs(unit), axis=-1), tf.shape(unit)[-1], dtype=unit.dtype)
    rest = axis - tf.reduce_sum(axis * unit, axis=-1, keepdims=True) * unit
    return tf.math.divide_no_nan(rest, tf.norm(rest, axis=-1, keepdims=True))
