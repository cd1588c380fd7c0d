"""Targets and sample weights as losses and metrics need them beside a predicted distribution."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.layers.emitted import MeanAsTensor
from tf_structvae.models import replicas


def as_event(y_true, p, name: str = "y_pred") -> tf.Tensor:
    """Targets as values of the event of p, [B, N].

    Args:
      y_true: [B, ...] with N numbers an example, flat or as an image, in row-major order.
      p: a distribution with batch [B] and event [N].
      name: what wants it, for the errors.

    Raises:
      ValueError: p is no such distribution, or y_true has other than N numbers an example.
      tf.errors.InvalidArgumentError: the same where sizes are known only at run time.
    """
    if not isinstance(p, tfp.distributions.Distribution):
        raise ValueError(
            f"{name} needs a model whose output is a distribution, as LowRankNormalHead and "
            f"IndependentNormalHead emit; y_pred is {type(p).__name__}."
        )
    if p.event_shape.rank != 1 or p.batch_shape.rank != 1:
        raise ValueError(
            f"{name} needs a distribution with batch [B] and event [N]; y_pred has batch "
            f"{p.batch_shape} and event {p.event_shape}."
        )
    y_true = tf.cast(y_true, p.dtype)
    shape, wanted = y_true.shape, p.event_shape[0]
    if shape.rank == 0:
        raise ValueError(f"{name} needs targets [B, ...]; y_true is a scalar.")
    if shape.rank is not None and not p.batch_shape.is_compatible_with(shape[:1]):
        raise ValueError(
            f"y_true {shape} has {shape[0]} examples, but y_pred has batch {p.batch_shape}."
        )
    message = (
        f"y_true {shape} must have as many numbers an example as the head's output has entries "
        "(pixels times channels)"
    )
    if wanted is not None and shape.rank is not None and None not in shape[1:]:
        if math.prod(shape[1:]) != wanted:
            raise ValueError(f"{message}: it has {math.prod(shape[1:])}, the output {wanted}.")
        return tf.reshape(y_true, [-1, wanted])
    size = tf.reduce_prod(tf.shape(y_true)[1:])
    same = tf.debugging.assert_equal(size, p.event_shape_tensor()[0], message + ".")
    with tf.control_dependencies([] if same is None else [same]):
        flat = tf.reshape(y_true, [tf.shape(y_true)[0], size])
    return tf.ensure_shape(flat, p.batch_shape + p.event_shape)


def show(y_true, p, name: str) -> tf.Tensor:
    """Targets as values of the event, [B, N], after p has taken from them what it needs.

    The first targets of a training set the units of a head that standardises them, and metrics of
    Keras, which get the same p after the loss, see its mean in the form of the targets.

    Args:
      y_true: as in `as_event`.
      p: as in `as_event`.
      name: as in `as_event`.

    Raises:
      ValueError: as `as_event`.
    """
    value = as_event(y_true, p, name)
    adapt_once = getattr(p, "adapt_once", None)
    if adapt_once is not None:
        adapt_once(value, replicas.global_sum)
    if isinstance(p, MeanAsTensor):
        p.form_of = tf.convert_to_tensor(y_true)
    return value


def as_weights(sample_weight, count: tf.Tensor) -> tf.Tensor | None:
    """Sample weights as one number an example, [B].

    Args:
      sample_weight: [B], [B, 1] or None.
      count: something [B].

    Raises:
      ValueError: more than one weight an example: its entries have one density.
    """
    if sample_weight is None:
        return None
    sample_weight = tf.convert_to_tensor(sample_weight)
    shape = sample_weight.shape
    if shape.rank == 0 or any(n not in (1, None) for n in shape[1:]):
        raise ValueError(
            f"sample_weight must be one number an example, [B]; its shape is {shape}. The entries "
            "of an example have one joint density, so they cannot be weighted one by one."
        )
    flat = tf.reshape(sample_weight, [-1])
    if not flat.shape.is_compatible_with(count.shape):
        raise ValueError(
            f"sample_weight {shape} must be one number for each of the {count.shape[0]} examples."
        )
    return flat
