"""Refusal of data that a model cannot be trained on, before it is."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_structvae import checks


def check(data: Any, image_shape: tuple[int, int, int]) -> None:
    """Refuses what are no images of a model, as far as that can be told without reading a data set.

    Any finite numbers are images: [0, 1] is what the defaults suit, not what the mathematics needs.

    Args:
      data: what `fit` takes: an array [B, H, W, C], a `tf.data.Dataset` of batches, or tuples of
        images and more. Anything else, such as a generator, is left to the first step.
      image_shape: (H, W, C).

    Raises:
      ValueError: another shape, no floating-point numbers, no image, or one that is not finite.
    """
    if isinstance(data, tf.data.Dataset):
        images = _first(data.element_spec)
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


def _first(data: Any) -> Any:
    return data[0] if isinstance(data, (tuple, list)) and len(data) else data


def _check_kind(shape: Any, dtype: str, image_shape: tuple[int, int, int]) -> None:
    checks.shape("images", shape, image_shape)
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


def with_stop(callbacks: Any) -> Any:
    """What `fit` was given as callbacks, and `StopOnNonFiniteLoss` after them."""
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    return [*keras.tree.flatten(callbacks or []), StopOnNonFiniteLoss()]


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
                "not finite, or the learning rate is too high."
            )
