"""What a distribution over all pixels gives, as pictures [..., H, W, C]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_structvae.distributions.local.distribution import LocalLowRankNormal
from tf_structvae.distributions.summary import StructuredNormal, rank_of


def to_images(flat, image_shape: tuple[int, int, int]) -> np.ndarray:
    """[..., H * W * C] -> [..., H, W, C].

    Args:
      flat: [..., H * W * C].
      image_shape: (H, W, C).

    Raises:
      ValueError: other numbers of entries.
    """
    flat = np.asarray(flat)
    if not flat.ndim or flat.shape[-1] != math.prod(image_shape):
        raise ValueError(
            f"image_shape must have as many entries as flat, {flat.shape} [..., N], got "
            f"{tuple(image_shape)}."
        )
    return flat.reshape(*flat.shape[:-1], *image_shape)


def sample_picture(p, seed: int | Sequence[int], pixel_noise: bool | None = None) -> np.ndarray:
    """A sample of p as a picture, [B, N].

    By default a low-rank normal is drawn as eq. 3 with omega_d = 0, so that its structure is seen
    and not the noise of its pixels; an independent normal has nothing else to show, and the noise
    of a local one has structure of its own.

    Args:
      p: batch [B], event [N].
      seed: of all noise.
      pixel_noise: whether omega_d is drawn too; see above.
    """
    rank = rank_of(p)
    if not isinstance(p, StructuredNormal):
        return p.sample(seed=tf.constant(np.resize(seed, 2), tf.int32)).numpy()
    # a stream of its own, lest the noise repeat latents drawn from the same seed
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    batch: list = p.batch_shape.as_list()
    noise = rng.standard_normal([*batch, rank]).astype(np.float32)
    diagonal = rng.standard_normal([*batch, p.event_shape[0]]).astype(np.float32)
    with_noise = (
        isinstance(p, LocalLowRankNormal) if pixel_noise is None else pixel_noise or not rank
    )
    return p.sample_from_noise(noise, diagonal if with_noise else None).numpy()


def variances(p) -> np.ndarray:
    """Of every entry, [B, N]; of a large local normal estimates from 100 draws, 14% each.

    Args:
      p: batch [B], event [N].
    """
    try:
        return p.variance().numpy()
    except NotImplementedError:
        return p.estimate_variance(100)[0].numpy()


def covariance_to_pixel(p, image_shape: tuple[int, int, int], pixel: tuple[int, int]) -> np.ndarray:
    """Covariance of each pixel to one, averaged over both pixels' channels, [B, H, W, 1].

    Args:
      p: batch [B], event [H * W * C].
      image_shape: (H, W, C).
      pixel: (row, column).

    Raises:
      ValueError: the pixel is outside the image.
    """
    h, w, c = image_shape
    if not (0 <= pixel[0] < h and 0 <= pixel[1] < w):
        raise ValueError(f"pixel must be inside the image of {h}x{w}, got {tuple(pixel)}.")
    first = (pixel[0] * w + pixel[1]) * c
    if isinstance(p, StructuredNormal):
        rows = np.mean([p.covariance_row(first + k) for k in range(c)], axis=0)
    else:
        variance = p.variance().numpy()
        rows = np.zeros_like(variance)
        rows[:, first : first + c] = variance[:, first : first + c] / c
    return to_images(rows, (h, w, c)).mean(-1, keepdims=True)
