"""A figure as wide as a printed page, on which pictures are placed in inches."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_structvae.figures.pictures import grid

WIDTH = 7.2  # inches, the text of a page
DPI = 300
MARK = "#D55E00"  # Okabe and Ito's vermilion, which the colour-blind see as well
_TITLE, _LINE, _MARGIN = 0.32, 0.115, 0.06  # inches
_LETTERS = 19.5  # of a note, an inch


class Page:
    """A title, a body of so many inches, and a note below; distances count from the body's top."""

    def __init__(self, body: float, title: str, note: str, width: float = WIDTH):
        """
        Args:
          body: its height in inches.
          title: one line.
          note: wrapped to the width.
          width: of the page in inches.
        """
        titles = textwrap.wrap(title, int(0.62 * _LETTERS * width))
        lines = textwrap.wrap(note, int(_LETTERS * width))
        self.width = width
        self._top = _TITLE + 0.16 * (len(titles) - 1)
        self._height = self._top + body + _LINE * len(lines) + 2 * _MARGIN
        self.figure = Figure(figsize=(width, self._height), dpi=DPI)
        self.text(width / 2, -self._top + _MARGIN, "\n".join(titles), size=9, va="top")
        below = body + _MARGIN
        self.text(width / 2, below, "\n".join(lines), size=6, va="top", color="0.3")

    def text(self, x: float, y: float, text: str, size: float = 7, **kwargs) -> None:
        """Text at x inches from the left and y from the top of the body, centred by default."""
        kwargs = {"ha": "center", "va": "center", **kwargs}
        self.figure.text(
            x / self.width, 1 - (self._top + y) / self._height, text, fontsize=size, **kwargs
        )

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes whose upper left corner is at (x, y)."""
        bottom = 1 - (self._top + y + height) / self._height
        return self.figure.add_axes(
            (x / self.width, bottom, width / self.width, height / self._height)
        )

    def picture(self, x: float, y: float, width: float, image: np.ndarray) -> Axes:
        """A picture [H, W, 3] so many inches wide; its axes count its pixels."""
        axes = self.axes(x, y, width, width * image.shape[0] / image.shape[1])
        # Own pixels go to the file as they are, unless there are more than can be printed.
        fine = image.shape[1] > DPI * width
        axes.imshow(image, interpolation="antialiased" if fine else "none", aspect="auto")
        axes.set_axis_off()
        return axes


def gap(height: int, width: int) -> int:
    """Pixels between two pictures of a sheet."""
    return max(1, round(min(height, width) / 32))


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Pictures [K, H, W, 3] as uint8 in rows of `columns`, white gaps between them.

    Returns:
      [rows * (H + gap) - gap, columns * (W + gap) - gap, 3].
    """
    pad = gap(*images.shape[1:3])
    return grid(np.rint(255 * images).astype(np.uint8), columns, pad)[:-pad, :-pad]


def tiled_height(inches: float, height: int, width: int, columns: int, rows: int = 1) -> float:
    """Of a sheet from `tile` that is so many inches wide."""
    pad = gap(height, width)
    return inches * (rows * (height + pad) - pad) / (columns * (width + pad) - pad)
