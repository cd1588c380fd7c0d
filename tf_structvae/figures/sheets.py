"""Quick sheets of labelled pictures, for reports while and after training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from tf_structvae.figures.pictures import Row, colorize, grid

_INCHES = 0.9  # of one small picture


def sheet(rows: Sequence[Row], title: str, note: str = "") -> Figure:
    """Labelled rows of pictures, one column an image.

    Args:
      rows: of the same images.
      title: of the figure.
      note: below it.
    """
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
    """Titled blocks of pictures [K, H, W, C] side by side, each `columns` wide.

    Args:
      panels: (title, pictures [K, H, W, C]) of each block.
      columns: pictures in a row of a block.
      title: of the figure.

    Raises:
      ValueError: columns is less than 1.
    """
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}.")
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
