"""Does something around the first import of a module that others import, too."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any


def around(name: str, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Has the first import of a module run within a context.

    Args:
      name: of a module that is not imported yet.
      context: makes a context manager. What it yields, if not None, is called with the module at
        the end.
    """
    sys.meta_path.insert(0, _Finder(name, context))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module as the others do, and changes how it is executed."""

    def __init__(self, name: str, context: Callable[[], AbstractContextManager[Any]]):
        self._name, self._context = name, context

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self._name:
            return None
        others = [f for f in sys.meta_path if f is not self and hasattr(f, "find_spec")]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((s for s in found if s is not None), None)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader)
        return spec

    def _follow(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            with self._context() as last:
                execute(module)
                loader.exec_module = execute
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                if last is not None:
                    last(module)

        loader.exec_module = exec_module
