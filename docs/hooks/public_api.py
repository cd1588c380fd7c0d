"""Which names are public, read from the source: nothing is imported.

Public are the modules of `tf_structvae.__all__` and what the pages of docs/reference name besides.
Of a package that lists names in `__all__` those are public; of a module, all without a leading
underscore that are defined there.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGE = "tf_structvae"
_DIRECTIVE = re.compile(r"^::: (\S+)", re.M)


def directives() -> list[str]:
    """What the pages of the reference name, in their order."""
    pages = sorted((ROOT / "docs/reference").glob("*.md"))
    return [name for page in pages for name in _DIRECTIVE.findall(page.read_text())]


def source(name: str) -> Path | None:
    """The file of a module; None where the name is none."""
    path = ROOT.joinpath(*name.split("."))
    found = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return found if found.exists() else None


@functools.cache
def tree(name: str) -> ast.Module:
    """The source of a module, parsed."""
    return ast.parse(source(name).read_text())


def listed(name: str) -> list[str]:
    """`__all__` of a module, empty where it has none."""
    for node in tree(name).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [e.value for e in node.value.elts if isinstance(e, ast.Constant)]
    return []


def constant(name: str, module: str = PACKAGE) -> Any:
    """The value of a literal of a module."""
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            return ast.literal_eval(node.value)
    raise ValueError(f"{module} has no {name}.")


def places() -> dict[str, str]:
    """Where the modules are that have short names."""
    return constant("SHORT", f"{PACKAGE}.utilities.places")


def top_modules() -> list[str]:
    """The modules of `tf_structvae.__all__`."""
    return [f"{PACKAGE}.{name}" for name in (*constant("_ROOMS"), *places().values())]


def modules() -> list[str]:
    """All public modules."""
    return sorted({*top_modules(), *(d for d in directives() if source(d))})


def definitions(module: str) -> Iterator[tuple[str, ast.FunctionDef | ast.ClassDef]]:
    """Public functions and classes that a module defines, with their full names.

    A package's are looked up where they are defined.
    """
    for name in members(module):
        found = find(f"{module}.{name}")
        if found:
            yield f"{module}.{name}", found


def members(module: str) -> list[str]:
    """The public names of a module: those it lists, or the functions and classes it defines."""
    defined = {
        node.name: not node.name.startswith("_")
        for node in tree(module).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    return listed(module) or [name for name, public in defined.items() if public]


def _statements(module: str) -> Iterator[ast.stmt]:
    """Those of a module, and those for type checkers: what it imports on demand."""
    for node in tree(module).body:
        yield from node.body if isinstance(node, ast.If) else [node]


def find(name: str) -> ast.FunctionDef | ast.ClassDef | None:
    """The definition of a function or class, through the imports of its package."""
    module, _, short = name.rpartition(".")
    if not source(module):
        return None
    for node in _statements(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == short:
            return node
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == short:
                    return find(f"{node.module}.{alias.name}")
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == short:
            return find(f"{module}.{ast.unparse(node.value)}")
    return None


def names() -> set[str]:
    """All public modules and names."""
    short = {f"{PACKAGE}.{module}.{name}" for name, module in constant("_NAMES").items()}
    own = {
        f"{module}.{name}" for module in modules() if module != PACKAGE for name in members(module)
    }
    return {*modules(), *short, *own}
