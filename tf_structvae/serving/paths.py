"""The addresses of TF-Serving's REST API."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tf_structvae.serving.errors import invalid

NAME = re.compile(r"[^/:]+")
_ADDRESS = re.compile(
    r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19})|/labels/(?P<label>[^/:]+))?"
    r"(?P<verb>:predict|:classify|:regress|/metadata|/card)?"
)


@dataclass(frozen=True)
class Target:
    """What a request is for: `verb` is predict, metadata, card or status."""

    model: str
    version: int | None
    label: str | None
    verb: str


def parse(method: str, path: str) -> Target:
    """The target of a request such as POST /v1/models/NAME/versions/3:predict.

    Raises:
      RequestError: 400, as TF-Serving answers whatever it does not know below /v1/.
    """
    found = _ADDRESS.fullmatch(path)
    if not found:
        raise invalid(f"Malformed request: {method} {path}")
    verb = (found["verb"] or "/status")[1:]
    if method != ("POST" if (found["verb"] or "").startswith(":") else "GET"):
        raise invalid(f"Malformed request: {method} {path}")
    if verb in ("classify", "regress"):
        raise invalid(f"{verb} takes tf.train.Examples, which this server does not: use predict.")
    version = None if found["version"] is None else int(found["version"])
    return Target(found["model"], version, found["label"], verb)
