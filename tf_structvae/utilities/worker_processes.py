"""Runs a function over many items in processes that never import the user's main module.

A process spawned by `multiprocessing` imports the main module again. A script without
`if __name__ == "__main__"` would then start itself in each of them, without end.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 4  # requests in flight for each process, so that a slow one does not make others wait
_GRACE = 0.5  # seconds in which a stopped process may remove what it has half written


def map_ordered(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, chunk: int = 1
) -> Generator[_Result]:
    """function(item) of each item, in order; its processes end with the generator.

    They are started afresh, find modules where this process does, and import no more than
    `function` needs. Ctrl-C and an early end stop them at once.

    Args:
      function: at the top of a module other than the main one, or a partial of such; it, the items
        and the results must be picklable. What it prints goes to this process's stderr.
      items: taken as they are needed.
      workers: number of processes.
      chunk: items that a process takes at a time.

    Raises:
      ChildProcessError: a process could not be started, or was killed.
      Exception: what `function` raises.
    """
    parts = _chunks(items, chunk)
    idle: SimpleQueue[_Process] = SimpleQueue()

    def call(part: list) -> list:
        process = idle.get()
        try:
            return process.ask(part)
        finally:
            idle.put(process)

    started: list[_Process] = []
    pool = ThreadPoolExecutor(workers)
    try:
        for _ in range(workers):
            started.append(_Process(function))
            idle.put(started[-1])
        pending: collections.deque[Future[list]] = collections.deque()
        for part in parts:
            pending.append(pool.submit(call, part))
            if len(pending) >= _AHEAD * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
        for process in started:
            process.finish()
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.end()
        pool.shutdown(cancel_futures=True)  # its threads waited for the processes
        for process in started:
            process.close()


def _chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, size)):
        yield part


class _Process:
    """A Python that answers one request at a time; requests and answers are pickles in pipes.

    A request is pickled twice, so that one that cannot be loaded there is taken whole all the same.
    """

    def __init__(self, function: Callable):
        self._answered = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, until `close`
        path = [os.fspath(p) for p in sys.path]
        program = f"import sys; sys.path[:] = {path!r}; import {__name__} as w; w._serve()"
        try:
            with _no_interrupts():
                self._process = subprocess.Popen(
                    [sys.executable or "python", "-c", program],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                )
        except OSError as error:
            self._errors.close()
            raise ChildProcessError(f"a worker process could not be started: {error}.") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # the first request will tell
            self._send(function)

    def _send(self, message: Any) -> None:
        self._requests.write(pickle.dumps(pickle.dumps(message)))
        self._requests.flush()

    def ask(self, part: list) -> list:
        """The results of some items; raises what the function does, or ChildProcessError."""
        try:
            self._send(part)
            results, error, told = pickle.load(self._answers)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as broken:
            raise ChildProcessError(self._why_it_ended()) from broken
        self._answered = True
        if error is not None:
            raise error from RuntimeError(f"in a worker process:\n{told}")
        return results

    def _why_it_ended(self) -> str:
        status = self._process.wait()
        if status < 0:
            return (
                f"a worker process was ended by signal {-status}, as the system does when memory "
                "runs out."
            )
        what = "ended early" if self._answered else "could not be started"
        return f"a worker process {what} (status {status}):\n{self._told()[-2000:]}"

    def _told(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    def finish(self) -> None:
        """Lets it end by itself, at rest."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._process.wait()
        if told := self._told():
            print(told, file=sys.stderr)

    def terminate(self) -> None:
        """Asks it to stop; nothing if it has ended."""
        self._process.terminate()

    def end(self) -> None:
        """Waits for that a little, then kills it."""
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Closes the pipes."""
        for file in (self._requests, self._answers, self._errors):
            with contextlib.suppress(BrokenPipeError):
                file.close()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """A process started here inherits that Ctrl-C, which reaches all, is for the first one."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve() -> None:
    """What a worker process does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints is no answer
    pickled = pickle.load(requests)
    while True:
        try:
            part = pickle.load(requests)
        except EOFError:
            return
        try:
            answers.write(_answer(pickled, part))
            answers.flush()
        except BrokenPipeError:  # nobody waits for it any more
            os._exit(1)


@functools.lru_cache
def _function(pickled: bytes) -> Callable:
    return pickle.loads(pickled)


def _answer(function: bytes, part: bytes) -> bytes:
    try:
        results = [_function(function)(item) for item in pickle.loads(part)]
        return pickle.dumps((results, None, ""))
    except Exception as error:
        return _failure(error)


def _failure(error: Exception) -> bytes:
    told = traceback.format_exc()
    try:
        answer = pickle.dumps((None, error, told))
        pickle.loads(answer)
    except Exception:
        return pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), told))
    return answer
