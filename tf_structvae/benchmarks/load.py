"""A server at full load: valid and invalid requests from several threads, versions that change.

What is checked: a valid request gets its result, one at fault 4xx, the server does not end, and its
memory does not grow.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import threading
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import orjson
from tqdm.auto import tqdm

from tf_structvae.benchmarks import load_requests
from tf_structvae.benchmarks.load_requests import Request
from tf_structvae.benchmarks.server_process import ServerProcess
from tf_structvae.serving.directory import versions
from tf_structvae.serving.servable import Servable
from tf_structvae.utilities import markdown, memory

NAME = "load"
REQUEST_MB = 4
GROWTH = 0.1  # of the memory after warm-up: what counts as growing
_LATER = (429, 503)
_PATIENCE = 120.0  # seconds that a client tries again
_SHARES = (0.65, 0.3, 0.05)  # valid, invalid, disturbed connections


@dataclass
class Tally:
    """What the clients saw. Times are of requests that were answered, seconds."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    turned_away: int = 0
    tried_again: int = 0
    disturbed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """Sends random requests until it is stopped.

    Args:
      url: of the server.
      valid, invalid: what to choose from.
      tally: counts every answer.
      stop: when to end.
      seed: of the choices.
      retry: whether a new connection that is lost is tried again, rather than an error.
    """

    def __init__(self, url, valid, invalid, tally: Tally, stop, seed: int, retry: bool):
        self._address = urlsplit(url)
        self._valid, self._invalid = valid, invalid
        self._tally, self._stop, self._retry = tally, stop, retry
        self._random = random.Random(seed)
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0
        self._reused = False

    def run(self) -> None:
        """Until `stop`."""
        while not self._stop.is_set():
            kind = self._random.choices(("valid", "invalid", "disturb"), _SHARES)[0]
            if kind == "disturb":
                self._disturb()
            else:
                self._send(self._random.choice(self._valid if kind == "valid" else self._invalid))

    def _disturb(self) -> None:
        address = (self._address.hostname or "", self._address.port or 0)
        with suppress(OSError):  # the server may well hang up
            load_requests.disturb(address, NAME, self._random.randrange(4))
        with self._tally.lock:
            self._tally.disturbed += 1

    def _send(self, request: Request) -> None:
        """Sends it until it is answered."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            start = time.monotonic()
            try:
                status, content = self._ask(request)
            except (OSError, http.client.HTTPException) as error:
                reused, self._connection = self._reused, None
                # the server closes idle connections, maybe just as the next request goes out
                if not (self._retry or reused):
                    self._note(request, f"no answer: {error!r}")
                    return
                with self._tally.lock:
                    self._tally.tried_again += 1
                time.sleep(0.1)
                continue
            if status in _LATER:
                with self._tally.lock:
                    self._tally.turned_away += 1
                time.sleep(0.05)
                continue
            seconds = time.monotonic() - start
            right = request.is_right(status, content)
            self._note(request, None if right else f"{status} {content[:200]!r}", seconds)
            return
        self._note(request, f"not answered in {_PATIENCE:g} s")

    def _ask(self, request: Request) -> tuple[int, bytes]:
        if self._connection is None or time.monotonic() - self._used > 2:  # it may be closed soon
            self._connection = http.client.HTTPConnection(self._address.netloc, timeout=_PATIENCE)
            self._reused = False
        body = request.body() if callable(request.body) else request.body
        path = f"/v1/models/{NAME}{request.path}"
        self._connection.request(request.method, path, body, dict(request.headers))
        answer = self._connection.getresponse()
        content = answer.read()
        self._used, self._reused = time.monotonic(), True
        return answer.status, content

    def _note(self, request: Request, wrong: str | None, seconds: float | None = None) -> None:
        with self._tally.lock:
            if wrong is not None:
                self._tally.wrong.append(f"{request.kind}: {wrong}")
            if seconds is not None:
                side = "valid" if request.outputs is not None else "invalid"
                self._tally.seconds[f"{side}: {request.kind}"].append(seconds)


@dataclass
class Options:
    """How to load. `publish` and `kill` are seconds between new versions, and between kills; 0 is
    never."""

    minutes: float = 1.0
    clients: int = 4
    publish: float = 20.0
    kill: float = 0.0


def run(version: Path, directory: Path, options: Options) -> tuple[str, bool]:
    """A Markdown report, and whether all went well.

    Args:
      version: of an exported model.
      directory: an empty one, for the versions that are published.
      options: how to load.
    """
    _publish(version, directory, 1)
    servable = Servable(version)
    valid = load_requests.valid(servable)
    invalid = load_requests.invalid(servable, REQUEST_MB << 20)
    del servable
    server = _start(directory)
    tally, stop = Tally(), threading.Event()
    clients = [
        Client(server.url, valid, invalid, tally, stop, i, options.kill > 0)
        for i in range(options.clients)
    ]
    threads = [threading.Thread(target=client.run) for client in clients]
    held: list[tuple[float, int]] = []
    for thread in threads:
        thread.start()
    try:
        server, events = _supervise(server, version, directory, options, tally, held)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    events["ended by SIGTERM with status"] = status = server.end()
    grown = _growth(held)
    well = not tally.wrong and status == 0 and not events["crashes"]
    well = well and (options.kill > 0 or grown <= GROWTH)
    return _report(tally, held, events, options), well


def _start(directory: Path, port: int = 0) -> ServerProcess:
    return ServerProcess(
        f"--model={NAME}={directory}",
        f"--max_request_mb={REQUEST_MB}",
        "--poll_seconds=1",
        port=port,
    )


def _publish(version: Path, directory: Path, number: int) -> None:
    """Adds a version as an exporter does, all at once, and removes those nobody serves."""
    directory.mkdir(parents=True, exist_ok=True)
    temporary = directory / f".{number}"
    shutil.copytree(version, temporary)
    os.rename(temporary, directory / str(number))
    for old in sorted(versions(directory))[:-3]:
        shutil.rmtree(directory / str(old))


def _supervise(server, version, directory, options, tally, held) -> tuple[ServerProcess, dict]:
    """Publishes, kills and weighs until the time is over."""
    events = {"versions published": 1, "kills": 0, "crashes": 0}
    port = urlsplit(server.url).port
    begin = time.monotonic()
    length = 60 * options.minutes
    next_publish = begin + (options.publish or np.inf)
    next_kill = begin + (options.kill or np.inf)
    every = min(60.0, length / 10)
    with tqdm(total=round(length), unit="s", desc="load") as bar:
        while (elapsed := time.monotonic() - begin) < length:
            time.sleep(0.2)
            bar.update(int(elapsed) - bar.n)
            if not server.alive:
                events["crashes"] += 1
                server = _start(directory, port)
            if elapsed >= every * len(held):
                held.append((elapsed, memory.resident(server.pid) or 0))
            if time.monotonic() >= next_publish:
                events["versions published"] += 1
                _publish(version, directory, events["versions published"])
                next_publish = time.monotonic() + options.publish
            if time.monotonic() >= next_kill:
                server.kill()
                events["kills"] += 1
                server = _start(directory, port)
                next_kill = time.monotonic() + options.kill
    held.append((length, memory.resident(server.pid) or 0))
    events["last version served"] = _served(server.url)
    return server, events


def _served(url: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", "/readyz")
    return orjson.loads(connection.getresponse().read())[NAME]


def _growth(held: list[tuple[float, int]]) -> float:
    """From the first fifth of the time, when all has run once, to the end; a share."""
    first = next(size for at, size in held if at >= 0.2 * held[-1][0])
    return held[-1][1] / max(first, 1) - 1


def _report(tally: Tally, held, events: dict, options: Options) -> str:
    rows = []
    for kind, seconds in sorted(tally.seconds.items(), reverse=True):
        median, high = 1e3 * np.quantile(seconds, [0.5, 0.99])
        rows.append((kind, len(seconds), f"{median:.1f}", f"{high:.1f}"))
    count = sum(map(len, tally.seconds.values()))
    titles = ("requests", "count", "median / ms", "99th percentile / ms")
    lines = [
        markdown.table(titles, rows),
        "",
        f"{options.clients} clients for {options.minutes:g} minutes, {count} answers "
        f"({count / (60 * options.minutes):.0f} a second); wrong or none: {len(tally.wrong)}; "
        f"turned away by 429 or 503 and sent again: {tally.turned_away}; connections lost and "
        f"tried again: {tally.tried_again}; disturbed connections: {tally.disturbed}.",
        "; ".join(f"{name}: {value}" for name, value in events.items()) + ".",
        "",
        "Memory of the server: "
        + ", ".join(f"{at:.0f} s {size / 2**20:.0f} MB" for at, size in held)
        + f"; from the first fifth to the end {_growth(held):+.1%}.",
    ]
    return "\n".join([*lines, *(f"* WRONG {text}" for text in tally.wrong[:20])])
