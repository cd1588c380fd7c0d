"""Work in pieces that do not depend on each other, by Apache Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tqdm.auto import tqdm

logging.disable(logging.WARNING)  # Beam warns of clients of Google's that are not installed
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
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_SECONDS = 0.5  # between two looks at what is done


class _Do(beam.DoFn, Generic[_Piece]):
    def __init__(self, work: Callable[[_Piece], Any]):
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


@dataclasses.dataclass(frozen=True)
class Runner:
    """Who does the work.

    Attributes:
      name: `LOCAL`, or that of one of Beam's runners, such as "FlinkRunner".
      workers: processes of `LOCAL`; 0 for one a core.
      flags: further options, as "--name=value"; what they mean is for Beam and its runner to say.
    """

    name: str = LOCAL
    workers: int = 0
    flags: tuple[str, ...] = ()

    def __post_init__(self):
        """
        Raises:
          ValueError: a flag of another form.
        """
        for flag in self.flags:
            if not flag.startswith("--"):
                raise ValueError(f"an option of the runner must be '--name=value', got {flag!r}.")

    def options(self) -> PipelineOptions:
        """Beam's options."""
        from apache_beam.options.pipeline_options import PipelineOptions

        own = [f"--runner={self.name}"]
        if self.name == LOCAL:
            own = [
                "--runner=DirectRunner",
                "--direct_running_mode=multi_processing",
                f"--direct_num_workers={self.workers or os.cpu_count()}",
                "--default_sdk_harness_log_level=ERROR",
            ]
        return PipelineOptions([*own, *self.flags])


def run(
    work: Callable[[_Piece], Any],
    pieces: Sequence[_Piece],
    runner: Runner = Runner(),
    done: Callable[[], int] = lambda: 0,
    total: int = 0,
    label: str = "",
    unit: str = "image",
) -> None:
    """Does all pieces, in any order, and waits for the end; with a progress bar.

    Args:
      work: does a piece; it must be picklable, and leave what it makes in files.
      pieces: what Beam can encode.
      runner: who does them.
      done: how much there is already; asked every half second.
      total: of what `done` counts.
      label: of the progress bar.
      unit: of what `done` counts.

    Raises:
      RuntimeError: a piece failed, or the runner did.
    """
    if not pieces:
        return
    chosen = runner.options()
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
            raise RuntimeError(f"{runner.name} failed: {_reason(error)}") from error


class _Keep(Generic[_Item]):
    """Puts the results of some items into a file."""

    def __init__(self, function: Callable[[_Item], Any]):
        self._function = function

    def __call__(self, piece: tuple[str, list[_Item]]) -> None:
        from tf_structvae.utilities import remote_files

        path, items = piece
        remote_files.write(path, pickle.dumps([self._function(item) for item in items]))


def map_ordered(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    folder: str,
    runner: Runner,
    chunk: int = 64,
    label: str = "",
    unit: str = "image",
) -> Iterator[tuple[_Item, _Result]]:
    """(item, function(item)) in the order of `items`, once all of them are done.

    Results wait in `folder`, a file for each chunk, so that work that was stopped goes on; the
    caller removes it.

    Args:
      function: what is done; it and its results must be picklable.
      items: distinguished by their `repr`.
      folder: of a file system that all workers see.
      runner: who does it.
      chunk: items of one piece of work.
      label: of the progress bar.
      unit: what an item is called.

    Raises:
      RuntimeError: see `run`.
    """
    import tensorflow as tf

    from tf_structvae.utilities import remote_files

    chunks = [list(items[i : i + chunk]) for i in range(0, len(items), chunk)]
    names = [f"{hashlib.sha256(repr(c).encode()).hexdigest()[:32]}.pickle" for c in chunks]
    sizes = {name: len(c) for name, c in zip(names, chunks, strict=True)}
    tf.io.gfile.makedirs(folder)

    def there() -> set[str]:
        return sizes.keys() & tf.io.gfile.listdir(folder)

    found = there()
    missing = [
        (f"{folder}/{name}", c) for name, c in zip(names, chunks, strict=True) if name not in found
    ]
    work: Any = _Keep(function)
    run(
        work, missing, runner, lambda: sum(sizes[name] for name in there()), len(items), label, unit
    )
    for name, c in zip(names, chunks, strict=True):
        yield from zip(c, pickle.loads(remote_files.read(f"{folder}/{name}")), strict=True)


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
