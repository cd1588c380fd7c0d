"""Connections that wait for something are not kept for ever.

uvicorn itself waits without end for a first request, for the rest of its headers, for the rest of a
body that nobody reads, and for a client that does not take its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_SECONDS = 30.0  # until when the headers of a connection's next request must be there
UNREAD_SECONDS = 30.0  # in which a client must take some of its answer
LAST_SECONDS = 1.0  # in which a body must be there when the server ends


class Connection(H11Protocol):
    """One connection. If there are too many, the one that has waited longest for a request goes."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._idle: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._last: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def _make_room(self) -> None:
        waiting = {
            other: other._idle.when()
            for other in self.connections
            if isinstance(other, Connection) and other is not self and other._idle
        }
        if waiting:
            min(waiting, key=lambda other: waiting[other])._close()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._idle, self._unread, self._last):
            if timer:
                timer.cancel()
        self._idle = self._unread = self._last = None
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._wait_no_more()

    def on_response_complete(self) -> None:
        self._wait()  # first: the next request may be there, and is handled at once
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reading(None)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def _watch_reading(self, before: int | None) -> None:
        left = self.transport.get_write_buffer_size()
        if before is not None and left >= before:
            self.transport.abort()  # closing it would wait for the client
            return
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._watch_reading, left)

    def shutdown(self) -> None:
        if self._last is None and self._arriving():
            self._last = self.loop.call_later(LAST_SECONDS, self._end_arriving)
        super().shutdown()

    def _arriving(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY

    def _end_arriving(self) -> None:
        if self._arriving():
            self._close()

    def _wait(self) -> None:
        self._wait_no_more()
        self._idle = self.loop.call_later(IDLE_SECONDS, self._close)

    def _wait_no_more(self) -> None:
        if self._idle:
            self._idle.cancel()
            self._idle = None

    def _close(self) -> None:
        self._wait_no_more()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()
