"""One sample with its principal components scaled one by one: Figs. 4, 8 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tf_structvae.figures.page import MARK, WIDTH, Page, gap, tile, tiled_height
from tf_structvae.figures.pictures import Row, colorize, to_images

FACTORS = tuple(np.arange(-5, 5.25, 0.5).tolist())
_LEFT, _RIGHT, _HEAD, _GAP = 1.15, 0.05, 0.2, 0.02  # inches


class ScaledComponents(NamedTuple):
    """Pictures of one sample, [K, A, H, W, C]: component k times factor a, the others as they are.

    Attributes:
      images: see above.
      factors: [A].
      shares: of the variance of P that each component holds, [K].
      noise: v_k^T omega_p, what the sample drew of each component, [K].
    """

    images: np.ndarray
    factors: np.ndarray
    shares: np.ndarray
    noise: np.ndarray


def scaled_components(
    p,
    noise,
    image_shape: tuple[int, int, int],
    count: int | None = None,
    factors: Sequence[float] = FACTORS,
) -> ScaledComponents:
    """mu + U S A V^T omega_p for a fixed omega_p, one entry of A changed at a time (eq. 4).

    Args:
      p: a `LowRankMultivariateNormal` with batch [1] and event [H * W * C].
      noise: omega_p, [R].
      image_shape: (H, W, C).
      count: how many components, the strongest first; None and more than R: all of them.
      factors: what each is multiplied by.

    Raises:
      ValueError: another number of components.
    """
    _, strength, rotation = (v.numpy()[0].astype(np.float64) for v in p.principal_components())
    noise, used = np.asarray(noise), np.asarray(factors, np.float64)
    rank = strength.shape[0]
    if noise.shape != (rank,):
        raise ValueError(f"noise must be [{rank}], a number for each component, got {noise.shape}.")
    count = min(count or rank, rank)
    drawn = np.broadcast_to(noise, [len(used), rank])
    images = []
    for k in range(count):
        scales = np.ones([len(used), rank])
        scales[:, k] = used
        scaled = p.scale_components(scales.astype(p.dtype.as_numpy_dtype))
        images.append(to_images(scaled.sample_from_noise(drawn), image_shape))
    shares = strength**2 / max(np.sum(strength**2), 1e-30)
    return ScaledComponents(np.stack(images), used, shares[:count], (rotation.T @ noise)[:count])


def scaling_figure(found: ScaledComponents, title: str, note: str = "") -> Figure:
    """A row a component, a column a factor; the sample itself is framed.

    Args:
      found: from `scaled_components`.
      title: of the figure.
      note: below it.
    """
    count, columns, height, width, _ = found.images.shape
    cell = (WIDTH - _LEFT - _RIGHT) / columns
    high = tiled_height(columns * cell, height, width, columns)
    pad = gap(height, width)
    body = count * (high + _GAP)
    page = Page(_HEAD + body, title, note)
    for x, text in ((0.12, "k"), (0.48, "share"), (0.9, "noise")):
        page.text(x, _HEAD / 2, text, size=6, color="0.3")
    for a, factor in enumerate(found.factors):
        weight = "bold" if factor == 1 else "normal"
        color = MARK if factor == 1 else "black"
        page.text(
            _LEFT + (a + 0.5) * cell, _HEAD / 2, f"{factor:g}", 6, fontweight=weight, color=color
        )
    for k, images in enumerate(found.images):
        y = _HEAD + k * (high + _GAP)
        axes = page.picture(_LEFT, y, columns * cell, tile(colorize(Row("", images)), columns))
        for own in np.flatnonzero(found.factors == 1):
            corner = (own * (width + pad) - 0.5, -0.5)
            frame = Rectangle(corner, width, height, fill=False, ec=MARK, lw=0.7)
            frame.set_clip_on(False)
            axes.add_patch(frame)
        words = str(k + 1), _percent(found.shares[k]), f"{found.noise[k]:+.2f}"
        for x, text in zip((0.12, 0.48, 0.9), words, strict=True):
            page.text(x, y + high / 2, text, size=6)
    return page.figure


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"
