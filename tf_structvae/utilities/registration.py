"""Makes Keras find the classes of this package by name, before their modules are imported.

`keras.models.load_model` looks up what a file names among the registered classes. A class registers
itself where it is defined, but importing all of those modules takes TensorFlow, which importing the
package must not. So each name gets a stand-in that imports the class when Keras makes an object of
it. The stand-ins are registered when Keras is imported, whether before this package or after.
"""

from __future__ import annotations

import importlib
import importlib.abc
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

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
        sys.meta_path.insert(0, _Finder(action))


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Keras as the others do, and has its import end with an action."""

    def __init__(self, action: Callable[[ModuleType], None]):
        self._action = action

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "keras":
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
            execute(module)
            loader.exec_module = execute
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._action(module)

        loader.exec_module = exec_module
