"""What `ServerProcess` does, in a thread of this process: it is there at once."""

import asyncio
import contextlib
import os
import threading

from tf_structvae.serving import server, sockets
from tf_structvae.serving.app import create_app
from tf_structvae.serving.limits import Limits


class ServerThread:
    """A server of one model. `kill` cuts its connections first, as the end of a process does."""

    def __init__(self, *arguments, port=0):
        given = dict(word.removeprefix("--").split("=", 1) for word in arguments)
        name, directory = given.pop("model").split("=", 1)
        limits = Limits(
            request_bytes=int(float(given.pop("max_request_mb", 32)) * 2**20),
            seconds=float(given.pop("timeout", 60)),
        )
        app = create_app(
            {name: directory}, limits, poll_seconds=float(given.pop("poll_seconds", 2))
        )
        assert not given
        bound = sockets.bind("127.0.0.1", port)
        config = server.configured(app, limits.seconds)
        config.log_level = "error"
        ready = threading.Event()

        def started():
            self._loop = asyncio.get_running_loop()
            ready.set()

        self.pid, self.url = os.getpid(), sockets.address(bound)
        self._server = server._Server(config, started)
        self._thread = threading.Thread(target=self._server.run, args=[[bound]], daemon=True)
        self._thread.start()
        assert ready.wait(60)

    @property
    def alive(self):
        return self._thread.is_alive()

    def end(self):
        self._server.should_exit = True
        self._thread.join(60)
        return 1 if self.alive else 0

    def kill(self):
        while self.alive:  # connections that were just accepted appear later
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._cut)
            self._thread.join(0.05)

    def _cut(self):
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
