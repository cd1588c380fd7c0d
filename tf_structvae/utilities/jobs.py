"""Programs in processes of their own, several at a time, each on its share of the cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from tqdm.auto import tqdm


class Job(NamedTuple):
    """A program of this package, its arguments, and the file that takes what it prints."""

    program: str  # as in tf_structvae.programs
    arguments: Sequence[str]
    output: Path

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "tf_structvae", self.program, *self.arguments]


def run(job: Job, cores: set[int] | None = None) -> str | None:
    """Runs a job to its end.

    Args:
      job: what.
      cores: that it may use; None for all.

    Returns:
      None if it ended well, and else all that it printed.
    """
    job.output.parent.mkdir(parents=True, exist_ok=True)
    with job.output.open("w") as output:
        done = subprocess.run(
            job.command,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
    return job.output.read_text() if done.returncode else None


def fail(job: Job, text: str) -> None:
    """
    Raises:
      RuntimeError: with the command and the end of what it printed.
    """
    raise RuntimeError(f"{' '.join(job.command)} failed:\n{text[-2000:]}")


def run_all(
    jobs: Sequence[Job],
    at_a_time: int,
    label: str,
    done: int = 0,
    on_failure: Callable[[Job, str], None] = fail,
) -> None:
    """Runs jobs, with a progress bar.

    Args:
      jobs: in the order in which they start.
      at_a_time: how many.
      label: of the progress bar.
      done: how many more were there before.
      on_failure: takes a job that failed and what it printed; what it raises ends all.
    """
    cores: SimpleQueue[set[int]] = SimpleQueue()
    for share in _shares(at_a_time):
        cores.put(share)

    def work(job: Job) -> None:
        share = cores.get()
        try:
            text = run(job, share)
        finally:
            cores.put(share)
        if text is not None:
            on_failure(job, text)

    bar = tqdm(total=done + len(jobs), initial=done, desc=label, unit="run", dynamic_ncols=True)
    with bar, ThreadPoolExecutor(at_a_time) as pool:
        started = [pool.submit(work, job) for job in jobs]
        try:
            for future in started:
                future.result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _shares(count: int) -> list[set[int]]:
    if not hasattr(os, "sched_getaffinity"):
        return [set()] * count
    cores = sorted(os.sched_getaffinity(0))
    return [{*cores[i::count]} or {cores[i % len(cores)]} for i in range(count)]
