"""The versions of a model in a directory, of which the highest is served."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_structvae.serving import directory as directory_lib
from tf_structvae.serving.errors import LoadError, RequestError, missing
from tf_structvae.serving.paths import NAME
from tf_structvae.serving.servable import Servable

log = logging.getLogger(__name__)
# States of ModelVersionStatus in tensorflow_serving/apis/get_model_status.proto.
LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"


def _close(servable: Servable) -> None:
    servable.close()
    gc.collect()  # its graph refers to itself


def _told(error: Exception) -> str:
    """What clients may know of an error; messages of other libraries name files of this machine."""
    if isinstance(error, LoadError):
        return error.reason
    if isinstance(error, RequestError):
        return f"a warm-up request fails: {error}"
    return f"it cannot be loaded ({type(error).__name__}); the server's log has the reason."


@dataclass
class Version:
    """What is known of a version.

    Attributes:
      error: why it could not be loaded, for the log.
      told: the same for clients.
      calls: how many requests use it now.
    """

    number: int
    stamp: tuple
    state: str = LOADING
    error: str = ""
    told: str = ""
    servable: Servable | None = None
    calls: int = 0

    def status(self) -> dict[str, Any]:
        """As in a response of TF-Serving's model status API."""
        code = "UNKNOWN" if self.error else "OK"
        status = {"error_code": code, "error_message": self.told}
        return {"version": str(self.number), "state": self.state, "status": status}


class Model:
    """A directory NAME of versions NAME/1, NAME/2, ...: TF-Serving's policy "latest".

    `poll` loads a higher version beside the served one and then takes its place; the old one is
    dropped when its last request has ended. A version that cannot be loaded is reported, and tried
    again when its files change; the served one stays.

    Raises:
      ValueError: the name is none that an address can hold, or the directory holds no version.
    """

    def __init__(self, name: str, directory: str | Path):
        if not NAME.fullmatch(name):
            raise ValueError(f"a model's name must be without '/' and ':', got {name!r}.")
        self.name = name
        self.directory = Path(directory)
        self._versions: dict[int, Version] = {}
        self._current: Version | None = None
        self._lock = threading.Lock()  # of the fields above; never held while a version loads
        self._polling = threading.Lock()
        directory_lib.check(self.directory)

    @property
    def current(self) -> int | None:
        """The number of the served version, if there is one."""
        version = self._current
        return version.number if version else None

    def poll(self) -> bool:
        """Loads what is new; returns whether the served version changed."""
        with self._polling:
            for number, stamp in sorted(
                directory_lib.versions(self.directory).items(), reverse=True
            ):
                known = self._versions.get(number)
                if known and known.stamp == stamp and known.error:
                    continue
                if known and known.state == AVAILABLE:
                    return False  # the same number is the same version, whatever its files
                if self._load(number, stamp):
                    return True
            return False

    def _load(self, number: int, stamp: tuple) -> bool:
        version = Version(number, stamp)
        with self._lock:
            self._versions[number] = version
        try:
            version.servable = Servable(self.directory / str(number))
        except Exception as error:  # whatever is wrong with its files, the served version stays
            log.error("version %d of %s cannot be loaded: %s", number, self.name, error)
            with self._lock:
                version.state, version.told = END, _told(error)
                version.error = str(error) or type(error).__name__
            return False
        with self._lock:
            old, self._current = self._current, version
            version.state = AVAILABLE
            if old:
                old.state = UNLOADING
                self._drop_if_unused(old)
        return True

    def _drop_if_unused(self, version: Version) -> None:
        if version.state == UNLOADING and not version.calls:
            assert version.servable
            threading.Thread(target=_close, args=(version.servable,), daemon=True).start()
            version.state, version.servable = END, None

    @contextmanager
    def use(self, number: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """The served version, which stays loaded for as long as the context.

        Raises:
          RequestError: 404; another version is asked for, or a label, or none is served.
        """
        with self._lock:
            version = self._current
            if label is not None:
                raise missing(f"model {self.name} has no version label {label!r}.")
            if version is None or number not in (None, version.number):
                wanted = f"Latest({self.name})" if number is None else f"{self.name}, {number}"
                raise missing(f"Servable not found for request: {wanted}")
            version.calls += 1
        try:
            assert version.servable
            yield version.servable
        finally:
            with self._lock:
                version.calls -= 1
                self._drop_if_unused(version)

    def status(self, number: int | None = None) -> dict[str, Any]:
        """All versions seen, the highest first, or one of them.

        Raises:
          RequestError: 404, there is no such version.
        """
        with self._lock:
            found = [v for n, v in sorted(self._versions.items(), reverse=True)
                     if number in (None, n)]  # fmt: skip
            if not found:
                raise missing(f"Could not find version {number} of model {self.name}")
            return {"model_version_status": [version.status() for version in found]}

    def error(self) -> str:
        """Why the highest version that failed did."""
        with self._lock:
            return next(
                (v.error for _, v in sorted(self._versions.items(), reverse=True) if v.error), ""
            )
