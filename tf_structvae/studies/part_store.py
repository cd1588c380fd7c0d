"""Results of a model part by part in one JSON file, so that nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from tf_structvae.studies.feature_cache import fingerprint
from tf_structvae.utilities.files import write_whole


class PartStore:
    """Each part has the settings it was made with; asked for with others, it is made again."""

    def __init__(self, path: Path, force: bool = False, tell: Callable[[str], None] = print):
        """
        Args:
          path: of the JSON file; made by the first part.
          force: make every part again.
          tell: takes one line about a file that cannot be read.
        """
        self._path = path
        self._force = force
        self._parts = {} if force else self._read(tell)

    def _read(self, tell: Callable[[str], None]) -> dict[str, dict[str, Any]]:
        if not self._path.exists():
            return {}
        try:
            found = json.loads(self._path.read_text())["parts"]
            return {k: {n: v[n] for n in ("settings", "result")} for k, v in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            tell(f"{self._path} cannot be used ({type(error).__name__}); it is made again.")
            return {}

    def has(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether a part is there, made with these settings."""
        return name in self._parts and (
            fingerprint(self._parts[name]["settings"]) == fingerprint(settings)
        )

    def result(self, name: str) -> Any:
        """Of a part that is there."""
        return self._parts[name]["result"]

    def put(self, name: str, settings: Mapping[str, Any], result: Any) -> None:
        """Keeps a part, on disk too, beside what other processes have put there meanwhile.

        Raises:
          OSError: the file cannot be written.
        """
        made = {name: {"settings": dict(settings), "result": result}}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_name(f".{self._path.name}.lock")):
            others = {} if self._force else self._read(lambda _: None)
            self._parts = {**self._parts, **others, **made}
            write_whole(self._path, json.dumps({"parts": self._parts}, indent=1) + "\n")

    def get(self, name: str, settings: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """A part's result, made if need be."""
        if not self.has(name, settings):
            self.put(name, settings, make())
        return self.result(name)
