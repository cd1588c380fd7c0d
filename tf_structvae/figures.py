"""Arrays and distributions in, figures out. Nothing here shows or saves a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tf_structvae.distributions import LowRankMultivariateNormal

_INCHES = 0.9  # of one small picture


class Row(NamedTuple):
    """One labelled row of pictures [K, H, W, C]; `kind` decides how numbers become colours."""

    label: str
    images: np.ndarray
    kind: str = "image"  # image | difference | variance | covariance


def to_images(flat, image_shape: tuple[int, int, int]) -> np.ndarray:
    """[..., H * W * C] -> [..., H, W, C]."""
    flat = np.asarray(flat)
    return flat.reshape(*flat.shape[:-1], *image_shape)


def sample_picture(p, seed: int | Sequence[int], pixel_noise: bool | None = None) -> np.ndarray:
    """A sample of p as a picture, [B, N].

    By default a low-rank normal is drawn as eq. 3 with omega_d = 0, so that its structure is seen
    and not the noise of its pixels; an independent normal has nothing else to show.
    """
    if not isinstance(p, LowRankMultivariateNormal):
        return p.sample(seed=tf.constant(np.resize(seed, 2), tf.int32)).numpy()
    rng = np.random.default_rng(seed)
    batch: list = p.batch_shape.as_list()
    noise = rng.standard_normal([*batch, p.rank]).astype(np.float32)
    diagonal = rng.standard_normal([*batch, p.event_shape[0]]).astype(np.float32)
    return p.sample_from_noise(noise, diagonal if pixel_noise else None).numpy()


def covariance_to_pixel(p, image_shape: tuple[int, int, int], pixel: tuple[int, int]) -> np.ndarray:
    """Covariance of each pixel to one, averaged over both pixels' channels, [B, H, W, 1]."""
    h, w, c = image_shape
    first = (pixel[0] * w + pixel[1]) * c
    if isinstance(p, LowRankMultivariateNormal):
        rows = np.mean([p.covariance_row(first + k) for k in range(c)], axis=0)
    else:
        variance = p.variance().numpy()
        rows = np.zeros_like(variance)
        rows[:, first : first + c] = variance[:, first : first + c] / c
    return to_images(rows, (h, w, c)).mean(-1, keepdims=True)


def observation_rows(
    p,
    image_shape: tuple[int, int, int],
    pixel: tuple[int, int] | None = None,
    seed: int = 0,
) -> list[Row]:
    """The six rows of Fig. 2 of p(x | z): mean, sample, difference, variance, covariances.

    Args:
      p: batch [K], event [H * W * C].
      image_shape: (H, W, C).
      pixel: (row, column) of the pixel for the covariances; None is the centre, as in the paper.
      seed: of the sample.
    """
    pixel = pixel or (image_shape[0] // 2, image_shape[1] // 2)
    mean = to_images(p.mean(), image_shape)
    sample = to_images(sample_picture(p, seed), image_shape)
    variance = to_images(p.variance(), image_shape).mean(-1, keepdims=True)
    covariance = covariance_to_pixel(p, image_shape, pixel)
    return [
        Row("mean", mean),
        Row("sample", sample),
        Row("sample - mean", sample - mean, "difference"),
        Row("variance", variance, "variance"),
        Row("covariance > 0", np.maximum(covariance, 0), "covariance"),
        Row("covariance < 0", np.maximum(-covariance, 0), "covariance"),
    ]


def colorize(row: Row) -> np.ndarray:
    """RGB pictures in [0, 1], [K, H, W, 3]; one scale for all pictures of the row."""
    x = row.images
    if row.kind == "image":
        shown = np.clip(x, 0, 1)
    elif row.kind == "difference":
        shown = np.clip(0.5 + 0.5 * x / max(np.quantile(np.abs(x), 0.998), 1e-12), 0, 1)
    else:
        scaled = np.clip(x[..., 0] / max(np.quantile(x, 0.998), 1e-12), 0, 1)
        name = "viridis" if row.kind == "variance" else "cividis"
        return matplotlib.colormaps[name](scaled)[..., :3]
    # anything but RGB is shown as grey
    return shown if shown.shape[-1] == 3 else np.repeat(shown.mean(-1, keepdims=True), 3, -1)


def grid(images: np.ndarray, columns: int, pad: int = 1) -> np.ndarray:
    """[K, H, W, 3] -> [rows * (H + pad), columns * (W + pad), 3], with white gaps."""
    k, h, w, c = images.shape
    rows = -(-k // columns)
    sheet = np.ones([rows * columns, h + pad, w + pad, c], images.dtype)
    sheet[:k, :h, :w] = images
    sheet = sheet.reshape(rows, columns, h + pad, w + pad, c)
    return sheet.swapaxes(1, 2).reshape(rows * (h + pad), columns * (w + pad), c)


def sheet(rows: Sequence[Row], title: str, note: str = "") -> Figure:
    """Labelled rows of pictures, one column an image."""
    columns = max(len(r.images) for r in rows)
    aspect = rows[0].images.shape[1] / rows[0].images.shape[2]
    height = len(rows) * _INCHES * aspect
    bottom = 0.3 if note else 0.05
    total = height + 0.45 + bottom
    # 0.075 inches a letter of the longest line
    left = max(1.35, 0.2 + 0.075 * max(len(t) for r in rows for t in r.label.split("\n")))
    width = columns * _INCHES + left + 0.05
    figure = Figure(figsize=(width, total), dpi=150)
    axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(
        left=left / width, right=0.995, top=1 - 0.4 / total, bottom=bottom / total, hspace=0.02
    )
    for axis, row in zip(axes, rows, strict=True):
        axis.imshow(grid(colorize(row), columns), interpolation="nearest", aspect="auto")
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
        axis.set_ylabel(row.label, rotation=0, ha="right", va="center", fontsize=9)
    figure.suptitle(title, fontsize=11, y=1 - 0.12 / total, va="top")
    if note:
        figure.text(0.5, 0.06 / total, note, ha="center", fontsize=7.5, color="0.35")
    return figure


def panels(panels: Sequence[tuple[str, np.ndarray]], columns: int, title: str) -> Figure:
    """Titled blocks of pictures [K, H, W, C] side by side, each `columns` wide."""
    rows = -(-len(panels[0][1]) // columns)
    aspect = panels[0][1].shape[1] / panels[0][1].shape[2]
    wide, high = columns * _INCHES * 0.75, rows * _INCHES * 0.75 * aspect
    figure = Figure(figsize=(len(panels) * (wide + 0.15), high + 0.65), dpi=150)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (label, images) in zip(axes, panels, strict=True):
        axis.imshow(grid(colorize(Row(label, images)), columns), interpolation="nearest")
        axis.set_axis_off()
        axis.set_title(label, fontsize=9)
    figure.suptitle(title, fontsize=11, y=1 - 0.08 / (high + 0.65), va="top")
    figure.subplots_adjust(0.005, 0.01, 0.995, high / (high + 0.62), wspace=0.15 / wide)
    return figure


def reconstruction_sheet(model, images: tf.Tensor, seed: int) -> np.ndarray:
    """Data, reconstruction mean and sample, prior sample: a uint8 picture [rows, columns, 3].

    Args:
      model: anything with `__call__` and `decode` that return p(x | z), and a `latent_dim`.
      images: [K, H, W, C].
      seed: of all noise.
    """
    shape = tuple(images.shape[1:])
    p = model(images, training=False)
    z = np.random.default_rng(seed).standard_normal([len(images), model.latent_dim])
    prior = model.decode(tf.constant(z, tf.float32))
    rows = [images, p.mean(), sample_picture(p, seed), sample_picture(prior, seed)]
    pictures = [colorize(Row("", to_images(np.reshape(r, [len(images), -1]), shape))) for r in rows]
    return np.rint(255 * grid(np.concatenate(pictures), len(images))).astype(np.uint8)
