"""The splits of every data set, and where drawing by a hash puts an example."""

from collections.abc import Sequence

SPLITS = ("train", "validation", "test")


def at(position: float, fractions: Sequence[float]) -> str:
    """The split that a position belongs to.

    Args:
      position: in [0, 1), such as a hash over its range.
      fractions: of `SPLITS`, that sum to 1.
    """
    if position < fractions[0]:
        return "train"
    return "validation" if position < fractions[0] + fractions[1] else "test"
