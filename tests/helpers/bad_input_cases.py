"""The table of bad input: what is called, the exception, and a pattern of its message.

A message names the argument, the value that was given and what is allowed. The rows are in
bad_input_models.py, bad_input_data.py and bad_input_tools.py; a call is made when its test runs,
and what several share is made once a process.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

NAN = float("nan")
V = ValueError


class Case(NamedTuple):
    """A row: `call` takes an empty folder."""

    name: str
    call: Callable[[Path], object]
    error: type[BaseException] | tuple[type[BaseException], ...]
    pattern: str


class Table(list[Case]):
    """Rows, added as `add(name, call, error, pattern)`."""

    def add(self, name: str, call: Callable, error, pattern: str) -> None:
        """A row; a call that names its first argument `folder` gets an empty one."""
        names = call.__code__.co_varnames[: call.__code__.co_argcount]
        with_folder = names[:1] == ("folder",)
        self.append(Case(name, call if with_folder else lambda _: call(), error, pattern))
