"""Runs a program as several workers on this machine: what several hosts would do, on one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from tf_structvae.programs import command
from tf_structvae.training import local_cluster

_WORKERS = flags.DEFINE_integer("workers", 2, "How many.", lower_bound=1)
_LOGS = flags.DEFINE_string(
    "logs", None, "Directory for the output of the workers after the first; default: not kept."
)
# Seconds for the others to fail by themselves after the first (which may only have lost touch with
# the one that is to blame), to end when told to (TensorFlow keeps SIGTERM to itself), and to stop
# at Ctrl-C.
_TO_FAIL, _TO_END, _TO_STOP = 2.0, 3.0, 1.0


@contextlib.contextmanager
def _processes(words: list[str], logs: Path) -> Iterator[list[subprocess.Popen]]:
    """Starts the workers, the first on this terminal; ends those that are left at the end."""
    started: list[subprocess.Popen] = []
    with contextlib.ExitStack() as stack:
        try:
            for i, environment in enumerate(local_cluster.environments(_WORKERS.value)):
                log = stack.enter_context((logs / f"worker{i}.log").open("wb")) if i else None
                # in sessions of their own: Ctrl-C reaches them through `_end` alone
                started.append(
                    subprocess.Popen(
                        words,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT if log else None,
                        start_new_session=True,
                    )
                )
            yield started
        except KeyboardInterrupt:
            _end(started, signal.SIGINT, _TO_STOP)
            raise
        finally:
            _end(started, signal.SIGTERM, _TO_END)


def _end(processes: list[subprocess.Popen], first: int, seconds: float) -> None:
    for number in (first, signal.SIGKILL):
        left = [p for p in processes if p.poll() is None]
        for p in left:
            with contextlib.suppress(OSError):  # it may just have ended
                os.killpg(p.pid, number)
        deadline = time.monotonic() + seconds
        for p in left:
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(max(0.0, deadline - time.monotonic()))


def _wait(processes: list[subprocess.Popen]) -> list[int]:
    """Numbers of the workers that failed by themselves; none if all ended well."""
    deadline = None
    while True:
        states = [p.poll() for p in processes]
        failed = [i for i, state in enumerate(states) if state]
        now = time.monotonic()
        if failed and deadline is None:
            deadline = now + _TO_FAIL
        if None not in states or (deadline and now > deadline):
            return failed
        time.sleep(0.1)


def main(words: list[str]) -> None:
    if not words:
        raise ValueError("which program? bin/local_workers --workers=2 -- bin/train ...")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        logs = Path(_LOGS.value or stack.enter_context(tempfile.TemporaryDirectory()))
        logs.mkdir(parents=True, exist_ok=True)
        with _processes(words, logs) as processes:
            failed = _wait(processes)
        for i in failed:
            status = processes[i].returncode
            print(f"\nworker {i} failed with status {status}.", file=sys.stderr)
            if i:
                tail = (logs / f"worker{i}.log").read_text(errors="replace").splitlines()[-30:]
                print("\n".join(tail), file=sys.stderr)
        if failed:
            sys.exit(1)


def run() -> None:
    command.run(main, words="COMMAND")
