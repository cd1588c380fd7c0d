"""Files that come with the package: those of the checkout, or what setup.py installed in share/."""

from __future__ import annotations

import contextlib
from importlib import metadata
from pathlib import Path

_INSTALLED = "share/tf_structvae/"  # where setup.py puts them
MODELS = "saved_models"


def installed() -> dict[str, Path]:
    """The files of the installed package outside its modules, by their names in the repository."""
    found = {}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("tf_structvae") or ():
            _, here, name = file.as_posix().partition(_INSTALLED)
            if here:
                found[name] = Path(str(file.locate())).resolve()
    return found


def saved_models() -> Path:
    """The directory of exported models: of the checkout or, without one, of the installation."""
    checkout = Path(__file__).parents[2] / MODELS
    if not checkout.is_dir():
        for name, path in installed().items():
            if name.startswith(f"{MODELS}/"):
                return path.parents[len(Path(name).parts) - 2]
    return checkout


def nearest_models() -> Path:
    """Where a program looks for exported models: below the working directory, else as shipped."""
    return here if (here := Path(MODELS)).is_dir() else saved_models()
