"""Refusal of Keras backends other than TensorFlow, where the package is imported."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def check() -> None:
    """Refuses another backend before it is loaded, or where Keras already runs on it.

    Raises:
      ImportError: Keras runs, or would run, on another backend.
    """
    name, told_by = _backend()
    if name != "tensorflow":
        raise ImportError(
            f"tf_structvae runs on Keras with the backend 'tensorflow', but {told_by} is {name!r}; "
            "set the environment variable KERAS_BACKEND=tensorflow before Keras is first imported."
        )


def _backend() -> tuple[Any, str]:
    """The backend that Keras has or will have, and what says so; the order is Keras's own."""
    config: Any = getattr(sys.modules.get("keras"), "config", None)
    if hasattr(config, "backend"):
        return config.backend(), "the backend of Keras, which is already imported,"
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"], "the environment variable KERAS_BACKEND"
    path = _home() / "keras.json"
    try:
        return json.loads(path.read_text())["backend"], f"'backend' in {path}"
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow", "the default"


def _home() -> Path:
    """Where Keras looks for its settings."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"]).expanduser()
    home = os.path.expanduser("~")
    return Path(home if os.access(home, os.W_OK) else "/tmp", ".keras")
