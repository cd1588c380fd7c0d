"""Which names a server answers to."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY = ("*",)


class HostCheck:
    """Refuses requests under other names, and those that a page of another origin sends.

    A page may resolve its own name to 127.0.0.1 and so reach a server on the reader's machine (DNS
    rebinding); the browser then sends that name as Host. And it may send a POST to localhost, whose
    answer it cannot read; the browser then names the page as Origin.

    Args:
      app: what is guarded.
      allowed: host names without ports; "*" is all.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]):
        self._app = app
        self._allowed = {name.lower() for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            error = self._error(Headers(scope=scope))
            if error:
                body = orjson.dumps({"error": error})
                response = Response(body, 403, media_type="application/json")
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _error(self, headers: Headers) -> str | None:
        host = headers.get("host", "")
        if "*" not in self._allowed and _name(f"//{host}") not in self._allowed:
            return f"host {host!r} is none of this server's names; see --allowed_hosts."
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return f"requests of pages of {origin!r} are not answered."
        return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
