"""The flags of programs that deal work out by Apache Beam."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from absl import flags

from tf_structvae.programs import command

if TYPE_CHECKING:
    from tf_structvae.utilities.pipelines import Runner

flags.disclaim_key_flags()  # they are those of the program that makes them


class RunnerFlags:
    """Made once, where a program is imported."""

    def __init__(self) -> None:
        self._runner = flags.DEFINE_string(
            "runner",
            None,
            "Of Apache Beam, which deals the work out: local (processes of this machine), or "
            "FlinkRunner, SparkRunner, DataflowRunner.",
        )
        self._options = flags.DEFINE_multi_string(
            "runner_option", [], "'--name=value' for the runner; give it several times."
        )
        self._workers = flags.DEFINE_integer(
            "workers", 0, "Processes of --runner=local; 0: one a core.", lower_bound=0
        )

    def given(self) -> Runner | None:
        """The runner that --runner names; None without it.

        Raises:
          ImportError: Apache Beam is not installed.
          ValueError: an option that is none, or options without --runner.
        """
        if self._runner.value is None:
            if self._options.value or self._workers.value:
                raise ValueError("--runner must be given with --runner_option and --workers.")
            return None
        return self.runner()

    def runner(self) -> Runner:
        """The runner that --runner names; the local one without it.

        Raises:
          ImportError, ValueError: as `given`.
        """
        from tf_structvae.utilities import pipelines

        name = pipelines.LOCAL if self._runner.value is None else self._runner.value
        return pipelines.Runner(name, self._workers.value, tuple(self._options.value))


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Ends the program with one message where a runner fails, whose own is of many pages."""
    try:
        yield
    except RuntimeError as error:
        command.fail(f"{error}\nWhat is done stays; the same command goes on with the rest.")
