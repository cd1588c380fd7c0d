"""Makes Keras find the classes of this package by name, before their modules are imported.

`keras.models.load_model` looks up what a file names among the registered classes. A class registers
itself where it is defined, but importing all of those modules takes TensorFlow, which importing the
package must not. So each name gets a stand-in that imports the class when Keras makes an object of
it. The stand-ins are registered when Keras is imported, whether before this package or after.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from tf_structvae.utilities import import_hooks

CLASSES = {
    "models.blocks": ("BatchNormalization", "Conv2D"),
    "models.component_loss": ("PosteriorComponents",),
    "models.constraints": ("Constraint",),
    "models.density": ("LowRankDensity",),
    "layers": (
        "IndependentNormalHead",
        "LocalLowRankHead",
        "LowRankNormalHead",
        "LowRankSegmentationHead",
        "StockLowRankNormalHead",
    ),
    "models.losses": ("NegativeLogLikelihood",),
    "models.metrics": (
        "Entropy",
        "LogProb",
        "MahalanobisDistance",
        "NoiseSquare",
        "RootMeanSquaredError",
    ),
    "models.segmentation_loss": ("SegmentationLogLikelihood",),
    "models.vae": ("StructuredVAE",),
    "models.wrapped": ("WrappedPredictor",),
    "priors": ("Conditional", "Flow", "Mixture", "Normal", "StandardNormal", "VampPrior"),
}
"""All that can be in a saved model, by the module that has it."""


class StandIn:
    """A class that is imported when it is used; its import registers the class in its place."""

    def __init__(self, module: str, name: str):
        self._module = module
        self._name = name

    def _load(self) -> Any:
        return getattr(importlib.import_module(f"tf_structvae.{self._module}"), self._name)

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):  # what copying asks for
            raise AttributeError(attribute)
        return getattr(self._load(), attribute)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._load()(*args, **kwargs)


def register(keras: ModuleType) -> None:
    """Registers a stand-in for each class that has not registered itself."""
    known = keras.saving.get_custom_objects()
    for module, names in CLASSES.items():
        for name in names:
            known.setdefault(f"tf_structvae>{name}", StandIn(module, name))


def when_keras_is_imported(action: Callable[[ModuleType], None]) -> None:
    """Calls `action(keras)` now, or at the end of the first import of Keras."""
    keras = sys.modules.get("keras")
    if keras is not None and hasattr(keras, "saving"):
        action(keras)
    else:
        import_hooks.around("keras", lambda: contextlib.nullcontext(action))
