"""Ctrl-C ends a program within two seconds, with its children, whatever it is doing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

STATUS = 130  # what a shell reports for a program ended by SIGINT
# Seconds after the signal: to the end of the children that do not end by themselves, and to that
# of this process. A long call of TensorFlow or NumPy lets no exception through before it is done.
_CHILDREN, _SELF = 1.0, 1.5


class Interrupt:
    """Whether Ctrl-C was pressed; the first time raises KeyboardInterrupt, later ones nothing."""

    def __init__(self) -> None:
        self.pressed = False

    def _handle(self, number: int, frame: Any) -> None:
        if not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """From here on the signal ends the process in time. To be called in the main thread."""
        # The signal is noticed by a thread, since handlers only run between two steps of Python
        ours, written = socket.socketpair()
        written.setblocking(False)
        before = signal.signal(signal.SIGINT, self._handle)
        fd = signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=_watch, args=[ours], daemon=True).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(fd)
            signal.signal(signal.SIGINT, before)
            written.close()  # ends the thread


def end() -> None:
    """Ends the process at once with its children; what was to be cleaned up has been."""
    for child in _children():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        print("\nstopped.", file=sys.stderr, flush=True)
    os._exit(STATUS)  # the interpreter would wait for threads


def _watch(signals: socket.socket) -> None:
    with signals:
        while received := signals.recv(64):
            if signal.SIGINT in received:
                start = time.monotonic()
                for child in _children():  # only a terminal signals them itself
                    with contextlib.suppress(OSError):
                        os.kill(child, signal.SIGINT)
                time.sleep(_CHILDREN)
                for child in _children():
                    with contextlib.suppress(OSError):
                        os.kill(child, signal.SIGKILL)
                time.sleep(max(0.0, start + _SELF - time.monotonic()))
                end()


def _children() -> list[int]:
    """Processes started by this one, directly or not, that a terminal would signal with it.

    A browser that the editor opened is not among them.
    """
    import psutil

    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(OSError):
            if os.getpgid(child.pid) == os.getpgid(0):
                found.append(child.pid)
    return found
