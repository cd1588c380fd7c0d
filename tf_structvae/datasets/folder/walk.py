"""The names, sizes and times in a folder, local or anywhere that `tf.io.gfile` reads."""

from __future__ import annotations

import collections
import os
import stat
from pathlib import PurePosixPath
from typing import NamedTuple

from tf_structvae.datasets.folder.image_files import SUFFIXES, in_threads

LAYOUTS = "ROOT/*.png, ROOT/label/*.png, ROOT/{train,validation,test}/[label/]*.png"
_DEPTH = 2  # of folders below the root: split and label
_NO_FILE = (-2, 0)  # in place of the size and time of a pipe, socket or device


class Found(NamedTuple):
    """What lies below a root; all paths are relative to it, with "/"."""

    images: list[tuple[str, int, int]]  # path, bytes, time of change in ns
    folders: list[str]
    others: collections.Counter  # other files by suffix
    refused: list[tuple[str, str]]  # images and folders that cannot be used: as shown, and why


def is_remote(path: str) -> bool:
    """Whether a path is a URL, such as a bucket's."""
    return "://" in path


def check_root(root: str) -> str:
    """The absolute path of a folder.

    Raises:
      ValueError, FileNotFoundError: it is none.
    """
    import tensorflow as tf

    root = os.fspath(root or "")
    if not root:
        raise ValueError("manual_dir must name a folder of images, got nothing.")
    root = root.rstrip("/") if is_remote(root) else os.path.abspath(os.path.expanduser(root))
    try:
        there, folder = tf.io.gfile.exists(root), tf.io.gfile.isdir(root)
    except tf.errors.OpError as error:
        raise ValueError(f"manual_dir {root!r} cannot be opened: {error}") from error
    if not there:
        raise FileNotFoundError(f"manual_dir {root!r} does not exist.")
    if not folder:
        raise ValueError(f"manual_dir must be a folder, {root!r} is a file.")
    return root


def walk(root: str) -> Found:
    """Lists all below `root`, but for names that start with a dot, and `__MACOSX`.

    Raises:
      ValueError: folders deeper than the layouts.
      PermissionError: some folder cannot be read.
    """
    found = Found([], [], collections.Counter(), [])
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        paths = [f"{folder}/{name}" if folder else name for name in _names(root, folder)]
        for path, status in _statuses(root, paths):
            suffix = PurePosixPath(shown(path)).suffix.lower()
            if status is not None and suffix not in SUFFIXES:
                found.others[suffix] += 1
            elif shown(path) != path:
                found.refused.append((shown(path), "name is not UTF-8"))
            elif status == _NO_FILE:
                found.refused.append((path, "pipe, socket or device"))
            elif status is None:
                found.folders.append(path)
                waiting.append(path)
            else:
                found.images.append((path, *status))
    return found


def shown(path: str) -> str:
    r"""A path as it may be printed and stored: bytes that are not UTF-8 become "\xe9"."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _names(root: str, folder: str) -> list[str]:
    import tensorflow as tf

    if folder.count("/") >= _DEPTH:
        raise ValueError(
            f"manual_dir {root!r}: folder {folder!r} lies too deep for the layouts {LAYOUTS}."
        )
    path = f"{root}/{folder}" if folder else root
    try:
        # gfile refuses a whole folder for one name that is not UTF-8
        names = tf.io.gfile.listdir(path) if is_remote(root) else os.listdir(path)
    except (OSError, tf.errors.OpError) as error:
        raise PermissionError(
            f"manual_dir {root!r}: folder {path!r} cannot be read: {error}"
        ) from error
    names = [n.rstrip("/") for n in names]  # buckets mark folders with it
    return sorted(n for n in names if n and not n.startswith(".") and n != "__MACOSX")


def _statuses(root: str, paths: list[str]):
    """(path, status) of each; in threads where an answer takes its time."""

    def status(path: str) -> tuple[int, int] | None:
        return _status(f"{root}/{path}")

    return in_threads(status, paths) if is_remote(root) else ((p, status(p)) for p in paths)


def _status(path: str) -> tuple[int, int] | None:
    """(size, mtime in ns) of a file, (-1, 0) if unknown; None for a folder; _NO_FILE."""
    import tensorflow as tf

    try:
        if is_remote(path):
            s = tf.io.gfile.stat(path)
            return None if s.is_directory else (s.length, s.mtime_nsec)
        t = os.stat(path)  # gfile gives local times in whole seconds only
        if stat.S_ISDIR(t.st_mode):
            return None
        # opening a pipe would wait for somebody to write
        return (t.st_size, t.st_mtime_ns) if stat.S_ISREG(t.st_mode) else _NO_FILE
    except (OSError, tf.errors.OpError):
        return -1, 0
