"""Files of any file system that `tf.io.gfile` knows, whole or not there."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

PARTIAL = "partial-"  # how files are called that are being written


def read(path: str) -> bytes:
    """All of a file."""
    with tf.io.gfile.GFile(path, "rb") as f:
        return f.read()


def write(path: str, data: bytes) -> None:
    """A file that is whole or not there."""

    def put(partial: str) -> None:
        with tf.io.gfile.GFile(partial, "wb") as f:
            f.write(data)

    write_whole(path, put)


def write_whole(path: str, put: Callable[[str], None]) -> None:
    """What `put` writes to the path that it is given, whole or not there.

    Two workers that make one file write the same, so that either may come last.
    """
    import uuid

    folder, _, name = path.rpartition("/")
    partial = f"{folder}/{PARTIAL}{uuid.uuid4().hex}-{name}"
    try:
        put(partial)
        tf.io.gfile.rename(partial, path, overwrite=True)
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)
