"""One run: its config, its preparation, its training, and what it leaves in a directory."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tf_structvae.training.experiment import Experiment

__all__ = ["Experiment"]


def __getattr__(name: str) -> Any:
    if name == "Experiment":  # on demand: configs are read by processes without TensorFlow
        from tf_structvae.training.experiment import Experiment

        return Experiment
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
