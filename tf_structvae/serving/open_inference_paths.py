"""The addresses of the Open Inference Protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tf_structvae.serving.errors import missing

_ADDRESS = re.compile(
    r"/v2/models/(?P<model>[^/:]+)(?:/versions/(?P<version>[0-9]{1,19}))?(?P<verb>/ready|/infer)?"
)
_SERVER = {"/v2": "server", "/v2/health/live": "live", "/v2/health/ready": "ready"}


@dataclass(frozen=True)
class Target:
    """What a request is for: `verb` is server, live, ready, metadata or infer."""

    verb: str
    model: str | None = None
    version: int | None = None


def parse(method: str, path: str) -> Target:
    """The target of a request such as POST /v2/models/NAME/infer.

    Raises:
      RequestError: 404, there is no such address for that method.
    """
    if method == "GET" and path in _SERVER:
        return Target(_SERVER[path])
    found = _ADDRESS.fullmatch(path)
    verb = (found["verb"] or "/metadata")[1:] if found else ""
    if not found or method != ("POST" if verb == "infer" else "GET"):
        raise missing(f"there is no {method} {path}.")
    version = None if found["version"] is None else int(found["version"])
    return Target(verb, found["model"], version)
