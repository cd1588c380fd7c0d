"""Throughput and latency of bin/serve for many clients at once, with and without shared calls."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from tf_structvae.benchmarks import serving
from tf_structvae.utilities import markdown

CLIENTS = (1, 8, 32)
JOINED = (1, 8, 32)  # most requests of a call
_SIGNATURES = ("sample", "encode", "condition")


class _Client(threading.Thread):
    """Asks again and again, on a connection of its own, and keeps how long each answer took."""

    def __init__(self, url: str, path: str, body: bytes, start: threading.Barrier, seconds: float):
        super().__init__(daemon=True)
        self._ask = serving.poster(url, path, body)
        self._start, self._seconds = start, seconds
        self.taken: list[float] = []
        self.error: str | None = None
        self.start()

    def run(self) -> None:
        self._start.wait()
        end = time.perf_counter() + self._seconds
        while not self.taken or time.perf_counter() < end:
            start = time.perf_counter()
            try:
                self._ask()
            except RuntimeError as error:
                self.error = str(error)
                return
            self.taken.append(time.perf_counter() - start)


def load(url: str, path: str, body: bytes, clients: int, seconds: float) -> dict:
    """What some clients get that ask at once, each for one image at a time.

    Args:
      url: of the server.
      path: of the address.
      body: of every request.
      clients: their number.
      seconds: for how long.

    Returns:
      "rate", answers a second; "median" and "p99", seconds; or "error".
    """
    start = threading.Barrier(clients + 1)
    running = [_Client(url, path, body, start, seconds) for _ in range(clients)]
    start.wait()
    began = time.perf_counter()
    for client in running:
        client.join()
    whole = time.perf_counter() - began
    errors = [c.error for c in running if c.error]
    if errors:
        return {"error": errors[0]}
    taken = np.concatenate([c.taken for c in running])
    median, high = np.quantile(taken, [0.5, 0.99])
    return {"rate": len(taken) / whole, "median": float(median), "p99": float(high)}


def run(quick: bool) -> list[dict]:
    """All rows: the server anew for each number of requests that may share a call.

    Args:
      quick: one signature, and less time.
    """
    from tf_structvae.benchmarks import requests
    from tf_structvae.benchmarks.server_process import ServerProcess
    from tf_structvae.serving.signature import read

    seconds = 2.0 if quick else 5.0
    names = _SIGNATURES[:1] if quick else _SIGNATURES
    results = []
    with tempfile.TemporaryDirectory() as directory:
        version = serving.export_models(Path(directory), ["default"])["default"]
        signatures = read(version)[0]
        wanted = [(name, clients) for name in names for clients in CLIENTS]
        with tqdm(total=len(JOINED) * len(wanted), unit="load", desc="benchmark") as bar:
            for joined in JOINED:
                server = ServerProcess(f"--model=m={version.parent}", f"--joined_requests={joined}")
                try:
                    for name, clients in wanted:
                        body = requests.body(name, requests.inputs(signatures[name], 1))
                        path = "/v1/models/m:predict"
                        load(server.url, path, body, clients, seconds / 5)  # the first are slower
                        found = load(server.url, path, body, clients, seconds)
                        results.append(
                            {"signature": name, "clients": clients, "joined": joined, **found}
                        )
                        bar.update()
                finally:
                    server.end()
    return results


def table(results: list[dict]) -> str:
    """A Markdown table: rates also as ratios to the server whose calls are not shared.

    Args:
      results: from `run`.
    """
    alone = {
        (r["signature"], r["clients"]): r["rate"]
        for r in results
        if r["joined"] == 1 and "rate" in r
    }
    rows = []
    for r in sorted(results, key=lambda r: (r["signature"], r["clients"], r["joined"])):
        head = [r["signature"], r["clients"], r["joined"]]
        if "error" in r:
            rows.append([*head, r["error"]])
            continue
        base = alone.get((r["signature"], r["clients"]), float("nan"))
        rows.append(
            [
                *head,
                f"{r['rate']:.1f}",
                f"{r['rate'] / base:.2f}",
                f"{1e3 * r['median']:.0f}",
                f"{1e3 * r['p99']:.0f}",
            ]
        )
    titles = (
        "signature|clients|requests of a call, at most|images / s|to one request a call|"
        "median / ms|99th percentile / ms"
    )
    return markdown.table(titles.split("|"), rows)
