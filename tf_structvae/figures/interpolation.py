"""Pictures between four noise vectors of one distribution: Fig. 3."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tf_structvae.distributions.editing import slerp_grid
from tf_structvae.figures.page import MARK, WIDTH, Page, gap, tile, tiled_height
from tf_structvae.figures.pictures import Row, colorize, to_images

_EDGE, _BETWEEN, _HEAD, _FOOT = 0.05, 0.2, 0.2, 0.13  # inches


def interpolations(p, corners, image_shape: tuple[int, int, int], size: int = 9) -> np.ndarray:
    """mu + P omega_p, omega_p from `editing.slerp_grid` (eq. 3 with omega_d = 0; eq. 7).

    Args:
      p: a `LowRankMultivariateNormal` with batch [B] and event [H * W * C].
      corners: omega_p, [B, 4, R]: top left, top right, bottom left, bottom right.
      image_shape: (H, W, C).
      size: rows and columns of the grid.

    Returns:
      [B, size, size, H, W, C].
    """
    noise = np.moveaxis(slerp_grid(corners, size, size).numpy(), 0, 2)
    return np.moveaxis(to_images(p.sample_from_noise(noise), image_shape), 2, 0)


def interpolation_figure(
    pictures: np.ndarray, labels: Sequence[str], title: str, note: str = ""
) -> Figure:
    """One grid beside the other, their corners framed.

    Args:
      pictures: from `interpolations`.
      labels: one a grid.
      title: of the figure.
      note: below it.
    """
    count, size, _, height, width, _ = pictures.shape
    wide = (WIDTH - 2 * _EDGE - _BETWEEN * (count - 1)) / count
    high = tiled_height(wide, height, width, size, size)
    pad = gap(height, width)
    page = Page(_HEAD + high + _FOOT, title, note)
    for i, (images, label) in enumerate(zip(pictures, labels, strict=True)):
        x = _EDGE + i * (wide + _BETWEEN)
        flat = images.reshape(-1, *images.shape[2:])
        axes = page.picture(x, _HEAD, wide, tile(colorize(Row("", flat)), size))
        last = (size - 1) * (height + pad), (size - 1) * (width + pad)
        for row in (0, last[0]):
            for column in (0, last[1]):
                frame = Rectangle(
                    (column - 0.5, row - 0.5), width, height, fill=False, ec=MARK, lw=1.2
                )
                frame.set_clip_on(False)
                axes.add_patch(frame)
        page.text(x + wide / 2, _HEAD - 0.1, label, size=7.5)
        half = wide / size / 2
        for letter, at in zip("abcd", np.ndindex(2, 2), strict=True):
            y = _HEAD + high + 0.07 if at[0] else _HEAD - 0.08
            page.text(x + (wide - half if at[1] else half), y, letter, size=7, color=MARK)
    return page.figure
