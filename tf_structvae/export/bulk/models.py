"""The model of a job: opened once in each process, and known by its files."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from tf_structvae.export.loading.model import LoadedModel
from tf_structvae.export.loading.opening import find, load


@functools.lru_cache(maxsize=1)
def opened(path: str) -> LoadedModel:
    """The model at a path."""
    return load(path)


def path(given: str) -> str:
    """Where a model is, for processes that may work in another directory.

    Args:
      given: see `load`.

    Raises:
      FileNotFoundError: there is none.
    """
    return str(find(Path(given)).absolute())


def digest(path: str) -> str:
    """Of the files of a model: the same for the same weights and signatures.

    Args:
      path: of one that is there.
    """
    found = Path(path)
    files = [found] if found.is_file() else sorted(p for p in found.rglob("*") if p.is_file())
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as f:
            while block := f.read(1 << 20):
                total.update(block)
    return total.hexdigest()[:16]
