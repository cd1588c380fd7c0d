"""Variational autoencoders whose decoder emits a low-rank multivariate normal over all pixels.

Submodules and public names are imported when they are first used, so that importing the package is
fast and the worker processes of a data set do not load TensorFlow. When Keras is imported, the
classes are registered with it, so that `keras.models.load_model` finds them.
"""

import importlib
from typing import Any

from tf_structvae.utilities import backend, places, registration

__version__ = "0.1.0"

_ROOMS = (
    "datasets",
    "distributions",
    "evaluation",
    "export",
    "figures",
    "layers",
    "priors",
    "training",
)
_NAMES = {
    "StructuredVAE": "models.vae",
    "Constraint": "models.constraints",
    "load": "export.loading",
    "wrap": "models.wrapped",
}

__all__ = ["StructuredVAE", "Constraint", "load", "wrap", *sorted([*_ROOMS, *places.SHORT])]


def _set_up(keras: Any) -> None:
    backend.check()
    registration.register(keras)


backend.check()
registration.when_keras_is_imported(_set_up)
places.install()


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_NAMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in places.SHORT:
        return places.find(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
