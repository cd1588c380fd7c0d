"""Reads the body of a request, of which no more is held than allowed."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.limits import Limits

_DISCARD = 8  # times the largest body that is still read, and dropped


class Body:
    """The parts of a body as they come in.

    Args:
      request: whose body nobody else reads.
      limits: its size is kept to.
      deadline: until when all of it must be there; of the loop's clock, seconds.
    """

    def __init__(self, request: Request, limits: Limits, deadline: float):
        self._request = request
        self._most = limits.request_bytes
        self._deadline = deadline
        self._ended = False

    async def read(self) -> bytes:
        """All of it.

        Raises:
          RequestError: 413, it is too large; 408, it took too long; 415, it is compressed.
          ClientDisconnect: the client left.
        """
        headers = self._request.headers
        if headers.get("content-encoding", "identity") != "identity":
            await self.discard()
            raise RequestError(415, "a request must not be compressed.")
        parts: list[bytes] = []
        size = 0
        told = _number(headers.get("content-length", "0"))
        while max(size, told) <= self._most and not self._ended:
            parts.append(await self._next())
            size += len(parts[-1])
        if max(size, told) > self._most:
            parts.clear()
            await self.discard()
            raise RequestError(413, f"the request is larger than {self._most} bytes.")
        return b"".join(parts)

    async def discard(self) -> None:
        """Drops the rest, up to a bound: many clients listen only after they have sent all."""
        if "expect" in self._request.headers:
            return  # it waits for permission to send
        left = _DISCARD * self._most
        while left > 0 and not self._ended:
            left -= len(await self._next())

    async def _next(self) -> bytes:
        loop = asyncio.get_running_loop()
        try:
            message = await asyncio.wait_for(self._request.receive(), self._deadline - loop.time())
        except asyncio.TimeoutError:
            raise RequestError(408, "the request did not arrive in time.") from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self._ended = not message.get("more_body", False)
        return message.get("body", b"")


def _number(text: str) -> int:
    """Of a Content-Length; 0 if it is none, which only other servers than uvicorn let pass."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
