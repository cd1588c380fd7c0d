"""Which names a server answers to."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tf_structvae.serving.errors import RequestError, invalid
from tf_structvae.serving.responses import as_error

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
            try:
                self._check(Headers(scope=scope))
            except RequestError as error:
                await as_error(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if "*" not in self._allowed and _name(host) not in self._allowed:
            raise RequestError(
                403, f"host {host!r} is none of this server's names; see --allowed_hosts."
            )
        origin = headers.get("origin")
        if origin is None:
            return
        try:
            place = urlsplit(origin).netloc
        except ValueError as error:
            raise invalid(f"the header Origin, {origin!r}, is no address: {error}.") from None
        if place != host:
            raise RequestError(403, f"requests of pages of {origin!r} are not answered.")


def _name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
