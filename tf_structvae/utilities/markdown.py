"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; rows that are too short end in empty cells.

    Args:
      titles: of the columns.
      rows: their cells.
    """
    filled = ([*row, *[""] * (len(titles) - len(row))] for row in rows)
    header, *lines = (
        "|" + "".join(f" {cell} |" if cell != "" else " |" for cell in row)
        for row in (titles, *filled)
    )
    return "\n".join([header, "|---" * len(titles) + "|", *lines])
