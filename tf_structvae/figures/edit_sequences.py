"""Painted pixels, and the pictures that follow from them: Figs. 5 and 10 to 13."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from tf_structvae.distributions.editing import Edit, Step
from tf_structvae.figures.page import MARK, WIDTH, Page, gap, tile, tiled_height
from tf_structvae.figures.pictures import Row, colorize

_LEFT, _RIGHT, _HEAD, _GAP, _LARGEST = 0.62, 0.05, 0.36, 0.05, 1.15  # inches


def edits_figure(
    prediction: np.ndarray, steps: Sequence[Step], title: str, note: str = ""
) -> Figure:
    """Prediction, first edit in a circle, conditional mean, second edit, ...; a row a latent code.

    Args:
      prediction: the pictures before the first edit, [B, H, W, C].
      steps: from `editing.edit_sequence`.
      title: of the figure.
      note: below it.
    """
    columns: list[tuple[str, np.ndarray, Edit | None]] = [("prediction", prediction, None)]
    for i, step in enumerate(steps):
        columns.append((f"edit {i + 1}\n{step.edit.name}".strip(), step.painted, step.edit))
        given = f"edit {i + 1}" if i == 0 else f"edits 1-{i + 1}"
        columns.append((f"mean given\n{given}", step.mean, None))
    height, width = prediction.shape[1:3]
    pad = gap(height, width)
    cell = min((WIDTH - _LEFT - _RIGHT) / len(columns), _LARGEST)
    wide = cell * len(columns)
    high = tiled_height(wide, height, width, len(columns))
    page_width = max(_LEFT + wide + _RIGHT, 4.2)
    left = page_width - wide - _RIGHT
    body = _HEAD + len(prediction) * (high + _GAP)
    page = Page(body, title, note, page_width)
    for j, (label, _, _) in enumerate(columns):
        page.text(left + (j + 0.5) * cell, _HEAD - 0.09, label, 6.5, va="bottom")
    for i in range(len(prediction)):
        y = _HEAD + i * (high + _GAP)
        images = np.stack([pictures[i] for _, pictures, _ in columns])
        axes = page.picture(left, y, wide, tile(colorize(Row("", images)), len(columns)))
        for j, (_, _, edit) in enumerate(columns):
            if edit is not None:
                _circle(axes, edit, j * (width + pad), max(height, width) / 32)
        page.text(left - 0.06, y + high / 2, f"latent {i + 1}", size=6.5, ha="right")
    return page.figure


def _circle(axes, edit: Edit, offset: float, margin: float) -> None:
    """A ring around the disc, light outside so that it is seen on any colour."""
    center = (edit.pixel[1] + offset, edit.pixel[0])
    radius = edit.brush + 1.5 + margin
    for color, line in (("white", 1.8), (MARK, 1.0)):
        ring = Circle(center, radius, fill=False, ec=color, lw=line)
        ring.set_clip_on(False)
        axes.add_patch(ring)
