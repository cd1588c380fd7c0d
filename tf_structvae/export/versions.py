"""Versions of a model on disk: whole or not there, never written twice."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

# Where a version is written before it is renamed: host, process and what makes it unique.
_PARTIAL = re.compile(r"\.export-(?P<host>.*)-(?P<pid>\d+)-[^-]*")


def next_version(directory: str | Path) -> int:
    """One more than the highest numbered version in a model's directory.

    Args:
      directory: of all versions of a model.
    """
    directory = Path(directory)
    names = [p.name for p in directory.iterdir()] if directory.is_dir() else []
    return 1 + max((int(n) for n in names if n.isdecimal()), default=0)


def choose_version(directory: Path, version: int | None) -> int:
    """The version that an export writes.

    Raises:
      NotADirectoryError: the directory is a file.
      ValueError: it is no positive number.
      FileExistsError: it exists.
    """
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(f"directory {directory} must hold versions, but is a file.")
    version = next_version(directory) if version is None else version
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"version must be a positive number, got {version!r}.")
    _refuse_existing(directory / str(version))
    return version


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(f"version {path} exists; a version is never overwritten.")


def write_version(directory: Path, version: int, write: Callable[[Path], None]) -> Path:
    """Writes `directory`/`version` so that it appears at once, whole and on the disk.

    Killed at any time, an export leaves the version or a hidden directory, which the next one
    removes.

    Args:
      directory: of all versions.
      version: from `choose_version`.
      write: fills an empty directory.

    Returns:
      The path of the version.

    Raises:
      FileExistsError: another export has written the version meanwhile.
    """
    final = directory / str(version)
    directory.mkdir(parents=True, exist_ok=True)
    remove_leftovers(directory)
    prefix = f".export-{_host()}-{os.getpid()}-"
    partial = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    try:
        inner = partial / "model"  # mkdtemp's own directory is closed to other users
        inner.mkdir()
        write(inner)
        _sync(inner)
        _refuse_existing(final)
        try:
            os.rename(inner, final)
        except OSError:
            _refuse_existing(final)
            raise
        _sync_one(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def remove_leftovers(directory: Path) -> None:
    """Removes what killed exports of this machine left in a model's directory."""
    for path in directory.glob(".export-*"):
        match = _PARTIAL.fullmatch(path.name)
        if match and match["host"] == _host() and not _lives(int(match["pid"])):
            shutil.rmtree(path, ignore_errors=True)


def _host() -> str:
    return re.sub(r"[^\w.]", "_", socket.gethostname())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _sync(directory: Path) -> None:
    """Has everything in a directory written to the disk."""
    for folder, _, files in os.walk(directory, topdown=False):
        for name in files:
            _sync_one(Path(folder) / name)
        _sync_one(Path(folder))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot sync a directory
            os.fsync(handle)
    finally:
        os.close(handle)
