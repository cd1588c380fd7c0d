"""Distributions as rows of pictures, and numbers as colours."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib
import numpy as np
import tensorflow as tf

from tf_structvae import priors
from tf_structvae.distributions.pictures import (
    covariance_to_pixel,
    sample_picture,
    to_images,
    variances,
)


class Row(NamedTuple):
    """One labelled row of pictures [K, H, W, C]; `kind` decides how numbers become colours."""

    label: str
    images: np.ndarray
    kind: str = "image"  # image | difference | variance | covariance


def observation_rows(
    p,
    image_shape: tuple[int, int, int],
    pixel: tuple[int, int] | None = None,
    seed: int = 0,
    pixel_noise: bool | None = None,
) -> list[Row]:
    """The six rows of Fig. 2 of p(x | z): mean, sample, difference, variance, covariances.

    Args:
      p: batch [K], event [H * W * C].
      image_shape: (H, W, C).
      pixel: (row, column) of the pixel for the covariances; None is the centre, as in the paper.
      seed: of the sample.
      pixel_noise: see `sample_picture`.
    """
    pixel = pixel or (image_shape[0] // 2, image_shape[1] // 2)
    mean = to_images(p.mean(), image_shape)
    sample = to_images(sample_picture(p, seed, pixel_noise), image_shape)
    variance = to_images(variances(p), image_shape).mean(-1, keepdims=True)
    covariance = covariance_to_pixel(p, image_shape, pixel)
    return [
        Row("mean", mean),
        Row("sample", sample),
        Row("sample - mean", sample - mean, "difference"),
        Row("variance", variance, "variance"),
        Row("covariance > 0", np.maximum(covariance, 0), "covariance"),
        Row("covariance < 0", np.maximum(-covariance, 0), "covariance"),
    ]


def scale_limit(*images: np.ndarray) -> float:
    """The largest size of numbers that a shared scale shows; 0.2% may lie beyond it."""
    sizes = np.concatenate([np.abs(x).ravel() for x in images])
    # of a picture with one pixel that is not zero a quantile knows nothing
    return float(np.quantile(sizes, 0.998) or sizes.max() or 1e-12)


def color_map(kind: str) -> str:
    """Of matplotlib, all safe for the colour-blind, for the numbers of a kind of row."""
    return {"difference": "gray", "variance": "viridis", "covariance": "cividis"}[kind]


def colorize(row: Row, limit: float | None = None) -> np.ndarray:
    """RGB pictures in [0, 1], [K, H, W, 3]; one scale for all pictures of the row.

    Args:
      row: of "image"s, shown as they are, "difference"s around a grey zero, or maps from zero.
      limit: end of the scale of differences and maps; None fits it to the row.
    """
    x = row.images
    if row.kind == "image":
        shown = np.clip(x, 0, 1)
    else:
        scaled = x / (limit or scale_limit(x))
        if row.kind != "difference":
            return matplotlib.colormaps[color_map(row.kind)](np.clip(scaled[..., 0], 0, 1))[..., :3]
        shown = np.clip(0.5 + 0.5 * scaled, 0, 1)
    # anything but RGB is shown as grey
    return shown if shown.shape[-1] == 3 else np.repeat(shown.mean(-1, keepdims=True), 3, -1)


def grid(images: np.ndarray, columns: int, pad: int = 1) -> np.ndarray:
    """[K, H, W, 3] -> [rows * (H + pad), columns * (W + pad), 3], with white gaps.

    Args:
      images: [K, H, W, 3], floats in [0, 1] or uint8.
      columns: pictures in a row.
      pad: pixels between them.

    Raises:
      ValueError: columns is less than 1.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> sv.figures.grid(np.zeros([5, 8, 8, 3]), columns=3).shape
      (18, 27, 3)
    """
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}.")
    k, h, w, c = images.shape
    rows = -(-k // columns)
    white = 255 if images.dtype == np.uint8 else 1
    sheet = np.full([rows * columns, h + pad, w + pad, c], white, images.dtype)
    sheet[:k, :h, :w] = images
    sheet = sheet.reshape(rows, columns, h + pad, w + pad, c)
    return sheet.swapaxes(1, 2).reshape(rows * (h + pad), columns * (w + pad), c)


def reconstruction_rows(model, images: tf.Tensor, seed: int, labels=()) -> list[Row]:
    """Data, reconstruction mean and sample, prior sample, as labelled rows.

    Args:
      model: anything with `__call__` and `decode` that return p(x | z), and a `latent_dim`.
      images: [K, H, W, C].
      seed: of all noise.
      labels: (labels [K],) of a conditional model; those of the prior samples, too.
    """
    shape = tuple(images.shape[1:])
    p = model(images, *labels, training=False)
    prior = model.decode(priors.of(model).sample(len(images), seed, *labels), *labels)
    rows = {
        "data": images,
        "reconstruction mean": p.mean(),
        "reconstruction sample": sample_picture(p, seed),
        "prior sample": sample_picture(prior, seed),
    }
    return [Row(k, to_images(np.reshape(r, [len(images), -1]), shape)) for k, r in rows.items()]


def reconstruction_sheet(model, images: tf.Tensor, seed: int, labels=()) -> np.ndarray:
    """The rows of `reconstruction_rows` as one uint8 picture [rows, columns, 3].

    Args:
      model: see `reconstruction_rows`, as the others.
      images: [K, H, W, C].
      seed: of all noise.
      labels: (labels [K],) of a conditional model.
    """
    pictures = [colorize(row) for row in reconstruction_rows(model, images, seed, labels)]
    return np.rint(255 * grid(np.concatenate(pictures), len(images))).astype(np.uint8)
