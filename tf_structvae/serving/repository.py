"""All models of a server, looked after in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tf_structvae.serving.errors import missing
from tf_structvae.serving.metrics import Metrics
from tf_structvae.serving.models import Model

log = logging.getLogger(__name__)


class Repository:
    """Models by name.

    Args:
      directories: name -> directory of versions.
      metrics: count loads.

    Raises:
      ValueError: none given; or of a model no version can be loaded.
    """

    def __init__(self, directories: Mapping[str, str | Path], metrics: Metrics):
        if not directories:
            raise ValueError("models must name at least one model.")
        self._metrics = metrics
        self._models = {name: Model(name, path) for name, path in directories.items()}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        for model in self._models.values():
            self._poll(model)
            if model.current is None:
                raise ValueError(f"no version in {model.directory} can be loaded: {model.error()}")

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __contains__(self, name: str) -> bool:
        return name in self._models

    def __getitem__(self, name: str) -> Model:
        """A model.

        Raises:
          RequestError: 404, there is none of this name.
        """
        if name not in self._models:
            raise missing(f"Servable not found for request: Latest({name})")
        return self._models[name]

    def start(self, seconds: float) -> None:
        """Looks for new versions every so many seconds, until `stop`."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(seconds,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Looks no more. Does not wait for a version that is being loaded."""
        self._stop.set()

    def _run(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            for model in self._models.values():
                try:
                    self._poll(model)
                except Exception:  # the next look may succeed
                    log.exception("the versions of %s cannot be read", model.name)

    def _poll(self, model: Model) -> None:
        model.poll()
        self._metrics.version(model.name, model.current)
