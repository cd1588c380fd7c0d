"""Class labels y of p(x | z, y), q(z | x, y): what a model takes, what its networks get."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def check_networks(encoder: keras.Model, decoder: keras.Model, classes: int) -> None:
    """Refuses networks whose inputs are not those of a model with so many classes.

    Raises:
      ValueError: classes is no number >= 0, or the inputs are others.
    """
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 0:
        raise ValueError(f"classes must be an integer >= 0 (0: no labels), got {classes!r}.")
    for name, network, first in (("encoder", encoder, "images"), ("decoder", decoder, "latents")):
        shapes = getattr(network, "input_shape", None)  # unknown of some subclasses
        if shapes is None:
            continue
        single = isinstance(shapes, tuple) and not isinstance(shapes[0], (tuple, list))
        if not classes and not single:
            raise ValueError(
                f"{name} must have one input, the {first}, where classes = 0; it takes {shapes}."
            )
        if classes and (
            single or isinstance(shapes, dict) or [*map(tuple, shapes[1:])] != [(None, classes)]
        ):
            raise ValueError(
                f"{name} must have two inputs, [{first}, one-hot labels [B, {classes}]], where "
                f"classes = {classes}; it takes {shapes}."
            )


def _allowed(classes: int) -> str:
    return f"labels must be integers [B] from 0 to {classes - 1}"


def _integers(labels: Any, classes: int) -> tf.Tensor:
    """Labels whose type and rank are right."""
    if labels is None:
        raise ValueError(f"{_allowed(classes)}, got none: this model has {classes} classes.")
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer or labels.shape.rank not in (1, None):
        raise ValueError(f"{_allowed(classes)}, got {labels.dtype.name} of shape {labels.shape}.")
    return labels


def one_hot(labels: Any, classes: int, count: int | None = None) -> tf.Tensor:
    """Labels [B] as float32 [B, classes].

    In a graph a label out of range fails when the graph runs. XLA has no such checks: there the row
    is NaN, and so is the loss.

    Args:
      labels: integers.
      classes: K.
      count: B, where it is known.

    Raises:
      ValueError: no labels; others than integers [B] from 0 to K - 1.
    """
    labels, allowed = _integers(labels, classes), _allowed(classes)
    if labels.shape.rank == 1 and None not in (count, labels.shape[0]) and labels.shape[0] != count:
        raise ValueError(f"{allowed}, B = {count}; got {labels.shape[0]}.")
    labels = tf.cast(labels, tf.int64)
    known = (labels >= 0) & (labels < classes)
    if tf.executing_eagerly():
        if not tf.reduce_all(known):
            row = int(tf.argmin(tf.cast(known, tf.int32)))
            raise ValueError(f"{allowed}, got {int(labels[row])} in row {row}.")
        return tf.one_hot(labels, classes)
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(known), [allowed, labels])]):
        return tf.where(known[:, tf.newaxis], tf.one_hot(labels, classes), float("nan"))


def refuse(labels: Any) -> None:
    """Refuses labels where a model has no classes.

    Raises:
      ValueError: there are labels.
    """
    if labels is not None:
        raise ValueError(
            "labels must not be given: this model is unconditional (classes = 0). A conditional "
            "one is StructuredVAE(..., classes=K)."
        )


def of_data(x: Any, y: Any, classes: int) -> tuple[Any, Any]:
    """Images and labels of a batch as `fit`, `evaluate` and `predict` get it; None: no labels.

    Args:
      x: images, or [images, labels] without y.
      y: labels; without classes any other target is ignored.
      classes: K.

    Raises:
      ValueError: integers [B] where there are no classes, anything else where there are some.
    """
    if classes:
        if y is None and isinstance(x, (tuple, list)) and len(x) == 2:
            x, y = x
        return x, _integers(y, classes)
    dtype, shape = getattr(y, "dtype", None), getattr(y, "shape", ())
    if dtype is not None and tf.as_dtype(dtype).is_integer and len(shape) == 1:
        refuse(y)
    return x, None


def given(labels: Any) -> dict[str, Any]:
    """{"labels": labels}, {} of None: for methods that a subclass may have without labels."""
    return {} if labels is None else {"labels": labels}


def split(batch: Any) -> tuple:
    """(images, labels) of such a batch, (images,) of images alone: what `encode` is called with."""
    return tuple(batch) if isinstance(batch, tuple) else (batch,)
