"""Leaves out the lines that TensorFlow writes at its start, whatever level of log is asked for."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tf_structvae.utilities import import_hooks

_DRIVER = Path("/dev/nvidiactl")  # without it a failed start of CUDA is no news
_START = (
    rb"WARNING: All log messages before absl::InitializeLog\(\)|I0000 |"
    rb"To enable the following instructions: "
)
_NO_GPU = rb"|E0000 [^\n]*cuInit"


def install() -> None:
    """Has TensorFlow start quietly in this process, when it is imported.

    `TF_CPP_MIN_LOG_LEVEL=0` shows its lines. All others are written when it has started.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0" and "tensorflow" not in sys.modules:
        import_hooks.around("tensorflow", _held_back)


@contextmanager
def _held_back() -> Iterator[Callable[[ModuleType], object]]:
    """Holds back what is written to standard error, by C++ too, and then writes what is news."""
    try:
        before = os.dup(2)
    except OSError:  # closed, as under some services
        yield lambda tf: None
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield lambda tf: tf.config.list_physical_devices()  # looks for GPUs, and logs it
        finally:
            os.dup2(before, 2)
            os.close(before)
            held.seek(0)
            os.write(2, news(held.read()))


def news(text: bytes) -> bytes:
    """The lines that are not written at every start.

    Args:
      text: of standard error.
    """
    start = re.compile(_START if _DRIVER.exists() else _START + _NO_GPU)
    return b"".join(line for line in text.splitlines(keepends=True) if not start.match(line))
