"""Runs an application until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import signal
import socket
from collections.abc import Callable

import h11
import uvicorn
from fastapi import FastAPI

from tf_structvae.serving import connections
from tf_structvae.serving.connections import Connection

CONNECTIONS = 512  # open at once; beyond, idle ones are closed, and without such it answers 503
_TELL_SECONDS = 0.5  # in which the request of a new connection arrives


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]):
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn tells connections to end once; one that is accepted at that moment is not among
        # them, and its client could keep the server until the last request's time is over
        telling = asyncio.create_task(self._tell_all())
        try:
            await super().shutdown(sockets)
        finally:
            telling.cancel()

    async def _tell_all(self) -> None:
        while True:
            await asyncio.sleep(_TELL_SECONDS)
            for connection in list(self.server_state.connections):
                with contextlib.suppress(h11.LocalProtocolError):  # it is on its way out
                    connection.shutdown()


def keep_imports() -> None:
    """To be called before models are loaded: what is imported by then is no garbage, ever.

    Looking through TensorFlow for some stops all requests for a quarter of a second.
    """
    gc.collect()
    gc.freeze()


def configured(app: FastAPI, seconds: float) -> uvicorn.Config:
    """How an application is served.

    Args:
      app: of `create_app`.
      seconds: that the last requests may take.
    """
    return uvicorn.Config(
        app,
        http=Connection,
        loop="asyncio",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=math.ceil(connections.IDLE_SECONDS),
        timeout_graceful_shutdown=max(int(seconds), 1),
    )


def run(app: FastAPI, bound: socket.socket, ready: Callable[[], None], seconds: float) -> bool:
    """Serves until SIGTERM or SIGINT; then finishes the requests it has.

    After SIGINT, Ctrl-C, `programs.command` gives them less than two seconds.

    Args:
      app: of `create_app`.
      bound: of `sockets.bind`.
      ready: is called when requests are accepted.
      seconds: that the last requests may take.

    Returns:
      Whether all of them, and all calls of models, have ended.

    Raises:
      KeyboardInterrupt: at the end, if it was SIGINT.
    """
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal once more when it is done, to whoever would have had it
        signal.signal(number, lambda n, _: received.append(n))
    _Server(configured(app, seconds), ready).run([bound])
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    return app.state.gate.running == 0
