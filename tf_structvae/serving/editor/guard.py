"""What keeps other pages away from the editor, and the editor's page from other hosts."""

from __future__ import annotations

import orjson
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",  # after an upgrade, no file of the old page
}
_ELSEWHERE = ("cross-site", "same-site")  # another port of this host is another program


class Guard:
    """Adds `HEADERS` to every answer, and refuses what a page of another origin sends.

    Browsers tell in Sec-Fetch-Site whether a request comes from a page of another origin; one may
    link to the editor, and nothing else. Origin and Host are looked at by `serving.hosts`.

    Args:
      app: what is guarded.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        link = scope["method"] == "GET" and mode == "navigate"
        if site in _ELSEWHERE and not link:
            body = orjson.dumps({"error": "requests of pages of another origin are not answered."})
            response = Response(body, 403, media_type="application/json")
            await response(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)
