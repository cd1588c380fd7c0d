"""Rows of several models beside each other on common scales: Figs. 1, 2 and 7."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tf_structvae.figures.page import WIDTH, Page, tile, tiled_height
from tf_structvae.figures.pictures import Row, color_map, colorize, scale_limit

# inches: a picture, between rows, between groups, on the right
_LARGEST, _GAP, _BETWEEN, _EDGE = 0.9, 0.03, 0.15, 0.05


def aligned(groups: Sequence[tuple[str, Sequence[Row]]], title: str, note: str = "") -> Figure:
    """Groups of labelled rows side by side; what is no image has one scale and a colour bar.

    Args:
      groups: headings and rows; all groups have the same labels and kinds in the same order, and
        rows of equal length.
      title: of the figure.
      note: below it.

    Raises:
      ValueError: groups that do not fit each other.
    """
    first = groups[0][1]
    described = [[(r.label, r.kind, r.images.shape[1:3]) for r in rows] for _, rows in groups]
    if any(d != described[0] for d in described):
        raise ValueError(f"groups must have the same rows, got {described}.")
    limits = {
        kind: scale_limit(*(r.images for _, rows in groups for r in rows if r.kind == kind))
        for kind in {r.kind for r in first} - {"image"}
    }
    longest = max(len(line) for r in first for line in r.label.split("\n"))
    left, right = 0.12 + 0.058 * longest, 0.5 if limits else _EDGE
    counts = [max(len(r.images) for r in rows) for _, rows in groups]
    room = WIDTH - left - right - _BETWEEN * (len(groups) - 1)
    cell = min(room / sum(counts), _LARGEST)
    height, width = first[0].images.shape[1:3]
    high = tiled_height(counts[0] * cell, height, width, counts[0])
    head = 0.18 if any(heading for heading, _ in groups) else 0.0
    used = WIDTH - room + cell * sum(counts)
    page = Page(head + len(first) * (high + _GAP), title, note, used)
    x = left
    for (heading, rows), count in zip(groups, counts, strict=True):
        page.text(x + count * cell / 2, head / 2, heading, size=7.5)
        for i, row in enumerate(rows):
            sheet = tile(colorize(row, limits.get(row.kind)), count)
            page.picture(x, head + i * (high + _GAP), count * cell, sheet)
        x += count * cell + _BETWEEN
    for i, row in enumerate(first):
        y = head + i * (high + _GAP)
        page.text(left - 0.06, y + high / 2, row.label, ha="right")
        if row.kind in limits:
            bar = page.axes(x - _BETWEEN + 0.05, y + 0.06 * high, 0.07, 0.88 * high)
            _color_bar(bar, row.kind, limits[row.kind])
    return page.figure


def _color_bar(axes: Axes, kind: str, limit: float) -> None:
    low = -limit if kind == "difference" else 0.0
    shown = ScalarMappable(Normalize(low, limit), color_map(kind))
    ticks = np.unique([low, 0.0, limit])
    bar = axes.figure.colorbar(shown, cax=axes, ticks=ticks)
    bar.ax.set_yticklabels([f"{t:.2g}" for t in ticks])
    bar.ax.tick_params(labelsize=5, length=1.5, pad=1, width=0.4)
    bar.outline.set_linewidth(0.4)
