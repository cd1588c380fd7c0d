"""Variational autoencoders whose decoder emits a low-rank multivariate normal over all pixels.

Submodules and public names are imported when they are first used, so that importing the package is
fast and the worker processes of a data set do not load TensorFlow.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = (
    "build",
    "callbacks",
    "checkpoints",
    "closed_form",
    "config",
    "constraints",
    "datasets",
    "density",
    "density_figure",
    "density_report",
    "distributions",
    "editing",
    "evaluation",
    "export",
    "figures",
    "layers",
    "linalg",
    "losses",
    "metrics",
    "networks",
    "pca",
    "plots",
    "report",
    "scores",
    "study",
    "targets",
    "training",
    "vae",
)
_NAMES = {"StructuredVAE": "vae", "Constraint": "constraints"}

__all__ = ["StructuredVAE", "Constraint", *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
