"""Files that are whole or not there, whatever ends the program while it writes."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = tuple(map(os.strerror, _FULL))


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
    except OSError as error:
        if error.errno in _FULL and error.filename is None:  # as `write` raises it
            error.filename = str(path)
        raise
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
      path: its suffix determines the format.
      **options: of `Figure.savefig`.

    Returns:
      The path.
    """
    with whole(path) as partial:
        figure.savefig(partial, **options)
    return path


def check_writable(name: str, directory: str | Path) -> None:
    """Refuses a directory in which no file could be made, without making it.

    Args:
      name: of the argument that gives it, for the message.
      directory: it may be there or not.

    Raises:
      OSError: see above.
    """
    directory = Path(directory)
    # in what exists of the path, so that several workers may ask at once
    found = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=found) as f:
            f.write(b"\0" * 4096)
    except OSError as error:
        raise OSError(f"{name} {directory} cannot be written: {error.strerror or error}") from error


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a full disk, also by way of others and of TensorFlow's."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if any(text in str(error) for text in _FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False
