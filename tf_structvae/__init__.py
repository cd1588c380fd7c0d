"""Variational autoencoders whose decoder emits a low-rank multivariate normal over all pixels.

Submodules and public names are imported when they are first used, so that importing the package is
fast and the worker processes of a data set do not load TensorFlow. What Keras must know of them, so
that `keras.models.load_model` finds their classes, it is told when it is imported itself.
"""

import importlib
from typing import Any

from tf_structvae import backend, registration

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


def _set_up(keras: Any) -> None:
    backend.check()
    registration.register(keras)


backend.check()
registration.when_keras_is_imported(_set_up)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
