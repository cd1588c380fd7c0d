"""The oldest releases that setup.py allows, as tests/constraints-oldest.txt pins them.

`make constraints-oldest` rewrites the file; it asks the package index, and needs uv.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from unittest import mock

import setuptools

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests/constraints-oldest.txt"


def requirements() -> list[str]:
    """What setup.py declares: always, and for the tests."""
    with mock.patch.object(setuptools, "setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    declared = setup.call_args.kwargs
    return [*declared["install_requires"], *declared["extras_require"]["test"]]


def normalized(name: str) -> str:
    """As package indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lower_bounds() -> dict[str, str]:
    """The oldest release allowed of each package, by normalized name."""
    found = {}
    for requirement in requirements():
        match = re.fullmatch(r"([\w.-]+)>=([\d.]+)(?:,<[\d.]+)?", requirement)
        assert match, f"{requirement}: must be NAME>=LOWEST,<FIRST_NOT_ALLOWED"
        found[normalized(match[1])] = match[2]
    return found


def pinned() -> dict[str, str]:
    """The releases in the file, by normalized name."""
    lines = FILE.read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {normalized(name): version for name, version in pairs}
