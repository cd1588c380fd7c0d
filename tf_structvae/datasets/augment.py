"""Random changes of training images, each a function of one seed for each image."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf


def _uniform(seeds: tf.Tensor, stream: int) -> tf.Tensor:
    """One number in [0, 1) for each seed [B, 2], independent between streams."""

    def draw(seed):
        return tf.random.stateless_uniform(
            [], tf.random.experimental.stateless_fold_in(seed, stream)
        )

    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)


def _check(images: tf.Tensor, seeds: tf.Tensor) -> None:
    """Refuses other shapes, as far as they are static."""
    if images.shape.rank not in (4, None):
        raise ValueError(f"images must be [B, H, W, C], got {images.shape}.")
    if seeds.shape.rank not in (2, None) or seeds.shape[-1] not in (2, None):
        raise ValueError(f"seeds must be [B, 2], got {seeds.shape}.")


def flip(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Mirrors half of the images [B, H, W, C], left to right, by seeds [B, 2].

    Raises:
      ValueError: other shapes.
    """
    _check(images, seeds)
    mirrored = _uniform(seeds, 0) < 0.5
    return tf.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def shift(pixels: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Moves images by up to `pixels` up or down and left or right; borders are reflected.

    Raises:
      ValueError: pixels is negative, or, when it is applied, not less than height and width.
    """
    if pixels < 0:
        raise ValueError(f"shift must be a number of pixels >= 0, got {pixels}.")

    def reflected(start, size):
        """Indices [B, size] of `size` pixels from `start` [B] on."""
        inside = tf.abs(start[:, None] + tf.range(size))
        return size - 1 - tf.abs(size - 1 - inside)

    def move(images, seeds):
        _check(images, seeds)
        least = min((n for n in images.shape[1:3] if n is not None), default=pixels + 1)
        if pixels >= least:
            raise ValueError(
                f"shift must be less than height and width, {tuple(images.shape[1:3])}, got "
                f"{pixels}."
            )
        height, width = tf.unstack(tf.shape(images)[1:3])
        dy, dx = (tf.cast(_uniform(seeds, k) * (2 * pixels + 1), tf.int32) - pixels for k in (1, 2))
        moved = tf.gather(images, reflected(dy, height), axis=1, batch_dims=1)
        moved = tf.gather(moved, reflected(dx, width), axis=2, batch_dims=1)
        return tf.ensure_shape(moved, images.shape)

    return move


def chain(mirror: bool, pixels: int, further: Callable | None = None) -> Callable | None:
    """`flip`, `shift` and a user's own change, one after the other; None without any.

    Raises:
      ValueError: pixels is negative.
    """
    if pixels < 0:
        raise ValueError(f"shift must be a number of pixels >= 0, got {pixels}.")
    changes: list[Callable] = [flip] * mirror + [shift(pixels)] * (pixels > 0)
    if further is not None:
        changes.append(further)
    if not changes:
        return None

    def together(images, seeds):
        for change in changes:
            images = change(images, seeds)
        return images

    return together
