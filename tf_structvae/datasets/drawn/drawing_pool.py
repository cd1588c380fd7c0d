"""Draws the examples of a split on all cores; the workers do not import TensorFlow."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator

import numpy as np

from tf_structvae.utilities import worker_processes

Draw = Callable[[int, str, int, int, int], tuple[np.ndarray, dict]]

_CHUNK = 32  # examples a worker draws before it reports
_SHARE = 128  # examples a worker has at least: its start takes as long as drawing about so many


def draw_split(
    draw: Draw, seed: int, split: str, count: int, height: int, width: int
) -> Iterator[tuple[int, bytes, dict]]:
    """Index, PNG and attributes of each example in order.

    Args:
      draw: a function at the top of a module, of seed, split, index, height and width; returns
        the uint8 image and its attributes.
      seed, split: handed to `draw`.
      count: number of examples.
      height, width: of the images, in pixels.

    Raises:
      ChildProcessError: a process could not be started, or was killed.
    """
    render = functools.partial(_render, draw, seed, split, height, width)
    workers = min(os.cpu_count() or 1, count // _SHARE)
    if workers < 2:
        yield from map(render, range(count))
        return
    yield from worker_processes.map_ordered(render, range(count), workers, _CHUNK)


def _render(
    draw: Draw, seed: int, split: str, height: int, width: int, index: int
) -> tuple[int, bytes, dict]:
    from PIL import Image

    image, attributes = draw(seed, split, index, height, width)
    png = io.BytesIO()
    Image.fromarray(image).save(png, format="PNG")
    return index, png.getvalue(), attributes
