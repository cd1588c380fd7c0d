"""Lists the public API, one name and signature a line: `python tests/api_listing.py` rewrites it.

Public are the names in `tf_structvae.__all__` and, of each module there, the names in its `__all__`
or, where it has none, those that it defines without a leading underscore; a package without names
of its own counts through its modules. Of a class its own methods and properties count, too.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

FILE = Path(__file__).with_name("public_api.txt")
_EMPTY = inspect.Parameter.empty


def _initializer(kind: type) -> Any:
    """The `__init__` that counts: Python 3.10 would take Keras's `__new__` before one inherited."""
    for base in kind.__mro__:
        if inspect.isfunction(vars(base).get("__init__")):
            return vars(base)["__init__"]
        if "__new__" in vars(base):
            break
    return None


def signature(function: Any) -> str:
    """Parameters and defaults, without annotations: they are the same on every Python."""
    initializer = _initializer(function) if inspect.isclass(function) else None
    found = inspect.signature(initializer or function)
    kept = list(found.parameters.values())[1 if initializer else 0 :]
    bare = [p.replace(annotation=_EMPTY) for p in kept]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return re.sub(r" at 0x[0-9a-f]+", "", text)  # of a function that is a default


def _members(name: str, kind: type) -> list[str]:
    lines = []
    for member, value in sorted(vars(kind).items()):
        if member.startswith("_"):
            continue
        if isinstance(value, (classmethod, staticmethod)):
            value = value.__func__
        full = f"{name}.{member}"
        if inspect.isfunction(value):
            lines.append(full + signature(value))
        elif isinstance(value, property) or not callable(value):
            lines.append(full)
    return lines


def _described(name: str, value: Any) -> list[str]:
    if inspect.isclass(value) and not isinstance(value, GenericAlias):  # one in Python 3.10
        plain = issubclass(value, (enum.Enum, BaseException))
        return [name + ("" if plain else signature(value)), *_members(name, value)]
    return [name + signature(value) if inspect.isfunction(value) else name]


def _names(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    if hasattr(module, "__path__"):
        from tf_structvae.utilities import places

        moved = (name.rpartition(".") for name in places.OLD)
        return [
            *(m.name for m in pkgutil.iter_modules(module.__path__)),
            *(name for room, _, name in moved if f"tf_structvae.{room}" == module.__name__),
        ]

    def own(value: Any) -> bool:
        # constants have no module; they are written in capitals
        return getattr(value, "__module__", None) == module.__name__

    return [
        n
        for n, v in vars(module).items()
        if not n.startswith("_") and not inspect.ismodule(v) and (own(v) or n.isupper())
    ]


def listing(module: ModuleType, called: str = "") -> list[str]:
    """The lines of a module's names and of the modules among them, sorted.

    Args:
      module: any.
      called: the name by which it is reached, where that is not its own.
    """
    called = called or module.__name__
    lines: list[str] = []
    for name in _names(module):
        try:
            value = getattr(module, name)
        except AttributeError:
            value = importlib.import_module(f"{module.__name__}.{name}")
        full = f"{called}.{name}"
        if inspect.ismodule(value):
            lines += listing(value, full)
        else:
            lines += _described(full, value)
    return sorted(set(lines))


def current() -> list[str]:
    """The API of the package as it is."""
    return listing(importlib.import_module("tf_structvae"))


if __name__ == "__main__":
    sys.path.insert(0, str(FILE.parents[1]))  # of this checkout, whatever is installed
    FILE.write_text("\n".join(current()) + "\n")
    print(f"{FILE} lists {len(current())} names")
