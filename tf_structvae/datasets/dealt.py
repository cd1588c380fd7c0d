"""The part of a preparation that takes long, one item at a time, and who does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_structvae.utilities.pipelines import Runner

Deal = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[Any, Any]]]
"""(function, items) -> (item, function(item)) in the order of the items."""


def by_runner(runner: Runner, folder: str) -> Deal:
    """Work that is dealt out by Apache Beam.

    Args:
      runner: who does it.
      folder: where results wait, of a file system that all workers see.
    """
    from tf_structvae.utilities import pipelines

    def deal(function: Callable, items: Sequence) -> Iterator[tuple[Any, Any]]:
        return pipelines.map_ordered(
            function, items, folder, runner, label="preparing", unit="item"
        )

    return deal
