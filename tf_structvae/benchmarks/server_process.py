"""bin/serve in a process of its own."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

PROGRAM = (sys.executable, "-c", "from tf_structvae.programs.serve import run; run()")
_START_SECONDS = 300  # a large model on a busy machine


class ServerProcess:
    """A server that accepts requests when the constructor returns.

    Args:
      *arguments: flags of bin/serve, --model at least.
      port: 0 is any free one.
      program: the command that they are given to.
      start: what starts it, `subprocess.Popen` or alike.

    Attributes:
      pid: of the process.
      url: such as http://127.0.0.1:8501.
      lines: a queue of what it prints after "ready".

    Raises:
      RuntimeError: it ended, or did not get ready.
    """

    def __init__(
        self,
        *arguments: str,
        port: int = 0,
        program: Sequence[str] = PROGRAM,
        start: Callable[..., Any] = subprocess.Popen,
    ):
        self._process = start(
            [*program, f"--port={port}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.pid = self._process.pid
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            line = self.lines.get(timeout=_START_SECONDS) or ""
            self.url = re.search(r"http://\S+", line)[0]  # type: ignore[index]
        except (queue.Empty, TypeError):
            self.kill()
            raise RuntimeError(f"the server with {arguments} does not get ready.") from None

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit status after a signal."""
        self._process.send_signal(number)
        return self._process.wait(60)

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        if self.alive:
            self._process.kill()
        self._process.wait()
