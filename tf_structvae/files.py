"""Files that are whole or not there, whatever ends the program while it writes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A hidden name beside `path`, of the same suffix, to write to; it is renamed at the end.

    If the block raises, also by Ctrl-C, the file is removed and one that was there before stays.
    """
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Writes a text file so that a killed process leaves the old one or the new one."""
    with whole(path) as partial:
        partial.write_text(text)


def save_figure(figure: Any, path: Path, **options: Any) -> Path:
    """Saves a figure of Matplotlib, whole or not at all.

    Args:
      figure: a `matplotlib.figure.Figure`.
      path: its suffix tells the format.
      **options: of `Figure.savefig`.

    Returns:
      The path.
    """
    with whole(path) as partial:
        figure.savefig(partial, **options)
    return path
