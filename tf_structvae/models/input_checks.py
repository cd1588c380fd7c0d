"""Refusal of data that a model cannot be trained on, before it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.utilities import checks

# Far above numbers in [0, 1], [-1, 1] or of variance one, far below bytes.
_LARGEST = 20.0
_SCALE = (
    "images must be numbers of order one, usually in [0, 1], and none beyond "
    f"{_LARGEST:g} in size; divide bytes by 255"
)


def check(data: Any, image_shape: tuple[int, int, int], classes: int = 0) -> None:
    """Refuses what are no images of a model, as far as that is known without reading a data set.

    The numbers of a data set are looked at batch after batch, by `in_range`.

    Args:
      data: what `fit` takes: an array [B, H, W, C], a `tf.data.Dataset` of batches, or tuples of
        images and more. Anything else, such as a generator, is left to the first step.
      image_shape: (H, W, C).
      classes: K of a conditional model, whose images may come as a pair with labels.

    Raises:
      ValueError: nothing, another shape, no floating-point numbers, no image, one that is not
        finite, or numbers that are not of order one.
    """
    if data is None:
        raise ValueError(
            f"x must be images {_wanted(image_shape)}, or a tf.data.Dataset of them, got None."
        )
    if isinstance(data, (tuple, list, dict)):
        check_single(data, classes)
    if isinstance(data, tf.data.Dataset):
        x = data.element_spec[0] if isinstance(data.element_spec, tuple) else data.element_spec
        check_single(x, classes)
        images = _first(x)
        _check_kind(images.shape, images.dtype.name, image_shape)
        if int(data.cardinality()) == 0:
            raise ValueError("images must be a data set of at least one batch, got an empty one.")
        return
    images = _first(data)
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        return
    _check_kind(images.shape, keras.backend.standardize_dtype(images.dtype), image_shape)
    if isinstance(images, np.ndarray) or tf.is_tensor(images):
        _check_numbers(np.asarray(images))


def _wanted(image_shape: tuple[int, int, int]) -> str:
    return f"[{', '.join(['B', *map(str, image_shape)])}]"


def check_single(x: Any, classes: int) -> None:
    """Refuses several things where images alone are wanted.

    Args:
      x: images, or of a conditional model a pair of images and labels.
      classes: K.

    Raises:
      ValueError: x has another structure.
    """
    if isinstance(x, dict) or (isinstance(x, (tuple, list)) and not (classes and len(x) == 2)):
        kinds = ", ".join(
            type(part).__name__ for part in (x.values() if isinstance(x, dict) else x)
        )
        pair = " or a pair (images, labels)" if classes else ""
        raise ValueError(
            f"x must be one array of images{pair}, got a {type(x).__name__} of {len(x)} ({kinds})."
        )


def in_range(images: tf.Tensor) -> tf.Tensor:
    """Images, refused where some number is not of order one, as bytes are not.

    Outside of graphs by a ValueError, in a graph when it runs (see `told_plainly`), and under XLA,
    which knows no errors, by NaN, so that the loss is NaN.

    Args:
      images: [B, H, W, C].

    Raises:
      ValueError: a number beyond that, or no floating-point numbers.
    """
    _check_dtype(images.dtype.name)
    wild = tf.reduce_any(tf.abs(images) > _LARGEST)
    if tf.executing_eagerly():
        if wild:
            raise ValueError(f"{_SCALE}; got {float(tf.reduce_max(tf.abs(images))):g}.")
        return images
    with tf.control_dependencies([tf.debugging.Assert(~wild, [_SCALE])]):
        return tf.where(wild, tf.constant(float("nan"), images.dtype), images)


@contextlib.contextmanager
def told_plainly() -> Iterator[None]:
    """Makes what `in_range` refuses in a graph a ValueError of one sentence."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if _SCALE not in str(error):
            raise
        raise ValueError(f"{_SCALE}; a batch has numbers beyond.") from None


def _first(data: Any) -> Any:
    return data[0] if isinstance(data, (tuple, list)) and len(data) else data


def _check_kind(shape: Any, dtype: str, image_shape: tuple[int, int, int]) -> None:
    checks.shape("images", shape, image_shape)
    _check_dtype(dtype)


def _check_dtype(dtype: str) -> None:
    if "float" not in dtype:
        raise ValueError(
            f"images must be floating-point numbers, usually in [0, 1], got {dtype}; divide bytes "
            "by 255."
        )


def _check_numbers(images: np.ndarray) -> None:
    if not len(images):
        raise ValueError(f"images must be [B, H, W, C] with at least one, got {images.shape}.")
    for start in range(0, len(images), 256):  # in parts, which need little memory
        part = images[start : start + 256]
        bad = ~np.isfinite(part.reshape(len(part), -1).sum(axis=1, dtype=np.float64))
        if bad.any():
            raise ValueError(
                f"images must be finite, image {start + int(bad.argmax())} (from 0) holds NaN or "
                "infinity."
            )
        largest = np.abs(part).reshape(len(part), -1).max(axis=1)
        if largest.max() > _LARGEST:
            row = int((largest > _LARGEST).argmax())
            raise ValueError(f"{_SCALE}; image {start + row} (from 0) has {largest[row]:g}.")


def with_stop(callbacks: Any) -> Any:
    """What `fit` was given as callbacks, and `StopOnNonFiniteLoss` after them if none is there."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    given = keras.tree.flatten(callbacks or [])
    there = any(isinstance(c, StopOnNonFiniteLoss) for c in given)
    return given if there else [*given, StopOnNonFiniteLoss()]


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends `fit` after the first step, or the first epoch, whose loss is not finite.

    Looking at every step would make each wait for the one before.

    Raises:
      FloatingPointError: with the likely reasons.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen = False

    def on_train_batch_end(self, batch, logs=None):
        if not self._seen:
            self._seen = True
            self._check("step", batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._check("epoch", epoch, logs)

    def _check(self, unit: str, number: int, logs: Any) -> None:
        loss = np.mean(np.asarray((logs or {}).get("loss", 0.0)))
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} after {unit} {number}: either images hold numbers that are "
                "not finite or, as bytes, not of order one, or the learning rate is too high."
            )
