"""Reads large requests in processes of their own, where they hold nobody up.

Python runs one thread at a time, and the reader of JSON does not let others have a turn: where
31 MB hold small objects, the server would answer nobody for five seconds. A process of its own also
gives back all the memory that such a request took, a gigabyte. It needs no TensorFlow.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from tf_structvae.serving import protocol
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.protocol import Call
from tf_structvae.serving.specs import Signature

LARGE = 512 << 10  # bytes; what is smaller holds others up for 20 ms at most
_KEPT = 8 << 20  # a process that has read more ends, and with it what it did not give back
# without the working directory, in which anything may lie
_CODE = """import sys
sys.path[:] = filter(None, sys.path)
from tf_structvae.serving.readers import main
main()"""


class Readers:
    """`protocol.decode` for several threads.

    Processes are started when they are needed, one for each thread that reads at the same time,
    and kept.

    Args:
      large: bytes from which on a body is read in a process.
    """

    def __init__(self, large: int = LARGE):
        self._large = large
        self._lock = threading.Lock()
        self._idle: list[_Reader] = []
        self._closed = False
        weakref.finalize(self, _end, self._idle)

    def decode(
        self,
        body: bytes,
        signatures: Mapping[str, Signature],
        batch: int,
        read: Callable[..., Call] = protocol.decode,
    ) -> Call:
        """As `protocol.decode`.

        Args:
          body: of the request.
          signatures: name -> what it takes.
          batch: most rows.
          read: `protocol.decode`, or another function of a module, with or without more arguments.

        Raises:
          RequestError: 400, see there; 503, the process ended, which it does without memory.
        """
        if len(body) < self._large:
            return read(body, signatures, batch)
        with self._lock:
            reader = self._idle.pop() if self._idle else None
        try:
            reader = reader or _Reader()
            found = reader.ask((read, body, dict(signatures), batch))
        except (OSError, EOFError, pickle.UnpicklingError):
            if reader:
                reader.end()
            message = "the process that read the request ended: there may be too little memory."
            raise RequestError(503, message, 1) from None
        with self._lock:
            keep = len(body) <= _KEPT and not self._closed
            if keep:
                self._idle.append(reader)
        if not keep:
            reader.end()
        if isinstance(found, Call):
            return found
        raise RequestError(*found)

    def close(self) -> None:
        """Ends the processes; those that read now end after it."""
        with self._lock:
            self._closed = True
            _end(self._idle)


def _end(readers: list[_Reader]) -> None:
    while readers:
        readers.pop().end()


class _Reader:
    """A process that answers one request after the other."""

    def __init__(self):
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the server, which ends it
        )

    def ask(self, request: tuple) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(request, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def end(self) -> None:
        self._process.kill()  # it holds nothing that could be lost
        self._process.communicate()


def main() -> None:
    """Answers requests at standard input until it ends, as it does when the server has gone."""
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(EOFError, BrokenPipeError, pickle.UnpicklingError):
        while True:
            pickle.dump(_answer(*pickle.load(given)), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answer(
    read: Callable[..., Call], body: bytes, signatures: dict[str, Signature], batch: int
) -> Call | tuple:
    try:
        return read(body, signatures, batch)
    except RequestError as error:
        return error.status, str(error)
