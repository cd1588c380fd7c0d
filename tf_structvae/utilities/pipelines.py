"""Work in pieces that do not depend on each other, by Apache Beam."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tqdm.auto import tqdm

logging.disable(logging.WARNING)  # Beam tells of clients of Google's that are not there
try:
    import apache_beam as beam
except ImportError as error:
    raise ImportError(
        "work in bulk needs Apache Beam: pip install 'tf_structvae[bulk]'."
    ) from error
finally:
    logging.disable(logging.NOTSET)

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

LOCAL = "local"
"""Beam's own runner, in processes of this machine."""
_Piece = TypeVar("_Piece")
_SECONDS = 0.5  # between two looks at what is done


class _Do(beam.DoFn, Generic[_Piece]):
    def __init__(self, work: Callable[[_Piece], None]):
        self._work = work

    def setup(self) -> None:
        # Several threads would share a sum in another way: results shall not depend on the machine.
        os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
        import tensorflow as tf

        with contextlib.suppress(RuntimeError):  # it is at work already
            tf.config.threading.set_intra_op_parallelism_threads(1)

    def process(self, piece: _Piece) -> Iterator[_Piece]:
        self._work(piece)
        yield piece


def options(runner: str, workers: int, flags: Sequence[str]) -> PipelineOptions:
    """Beam's options.

    Args:
      runner: `LOCAL`, or the name of one of Beam's runners, such as "FlinkRunner".
      workers: processes of `LOCAL`; 0 for one a core.
      flags: further options, as "--name=value"; what they mean is for Beam and its runner to say.

    Raises:
      ValueError: a flag of another form.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    for flag in flags:
        if not flag.startswith("--"):
            raise ValueError(f"an option of the runner must be '--name=value', got {flag!r}.")
    own = [f"--runner={runner}"]
    if runner == LOCAL:
        own = [
            "--runner=DirectRunner",
            "--direct_running_mode=multi_processing",
            f"--direct_num_workers={workers or os.cpu_count()}",
            "--default_sdk_harness_log_level=ERROR",
        ]
    return PipelineOptions([*own, *flags])


def run(
    work: Callable[[_Piece], None],
    pieces: Sequence[_Piece],
    runner: str = LOCAL,
    workers: int = 0,
    flags: Sequence[str] = (),
    done: Callable[[], int] = lambda: 0,
    total: int = 0,
    label: str = "",
    unit: str = "image",
) -> None:
    """Does all pieces, in any order, and waits for the end; with a progress bar.

    Args:
      work: does a piece; it must be picklable, and leave what it makes in files.
      pieces: JSON.
      runner: see `options`.
      workers: see `options`.
      flags: see `options`.
      done: how much there is already; asked every half second.
      total: of what `done` counts.
      label: of the progress bar.
      unit: of what `done` counts.

    Raises:
      RuntimeError: a piece failed, or the runner did.
      ValueError: as `options`.
    """
    if not pieces:
        return
    chosen = options(runner, workers, flags)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # of the workers, each of which would say the same
    with _watched(done, total, label, unit):
        try:
            pipeline = beam.Pipeline(options=chosen)
            _ = (
                pipeline
                | "pieces" >> beam.Create(list(pieces))
                | "deal out" >> beam.Reshuffle()
                | "work" >> beam.ParDo(_Do(work))
            )
            pipeline.run().wait_until_finish()
        except Exception as error:
            raise RuntimeError(f"{runner} failed: {_reason(error)}") from error


@contextlib.contextmanager
def _watched(done: Callable[[], int], total: int, label: str, unit: str) -> Iterator[None]:
    """A progress bar, moved by a thread, since the runner keeps this one."""
    begun = done()
    bar: Any = tqdm(total=total, initial=begun, desc=label, unit=unit, dynamic_ncols=True)
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(_SECONDS):
            with contextlib.suppress(OSError):
                bar.update(done() - bar.n)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    with bar:
        try:
            yield
        finally:
            stop.set()
            thread.join()
        bar.update(done() - bar.n)


def _reason(error: Exception) -> str:
    """The last line that says something, of a message that holds tracebacks of the workers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line.partition(":")[0]]
    return (told or lines or [type(error).__name__])[-1]
