"""Latency of every signature of exported models: the call alone, and through bin/serve."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from tf_structvae.utilities import markdown, memory

SIZES = {"default": (64, 64, 3), "paper": (218, 178, 3)}  # network -> images
# rows of a request; eight of the paper's size are a minute of `log_prob`
BATCHES = {"default": (1, 8), "paper": (1,)}
MOST_CALLS = 100


def export_models(directory: Path, networks: list[str]) -> dict[str, Path]:
    """Network -> exported version of a model with untrained weights, which cost as much."""
    from tf_structvae.export import export

    return {name: export(_model(name), directory / name) for name in networks}


def _model(network: str):
    from tf_structvae.training import config as config_lib
    from tf_structvae.training.from_config import build_model

    c = config_lib.paper(45.0, 0.0) if network == "paper" else config_lib.default()
    return build_model(c, SIZES[network])


def time_calls(call: Callable[[], object], seconds: float) -> dict[str, float]:
    """Median and 99th percentile, seconds, of as many calls as fit into the time; at least 3."""
    call()  # the first is slower: it compiles, or opens the connection
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < 3 or (len(taken) < MOST_CALLS and time.perf_counter() < end):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    median, high = np.quantile(taken, [0.5, 0.99])
    return {"median": float(median), "p99": float(high), "calls": len(taken)}


def measure(job: dict) -> dict:
    """What a job of `jobs` asks for: the call of a signature in this process alone."""
    from tf_structvae.benchmarks import requests
    from tf_structvae.serving.servable import Servable

    servable = Servable(Path(job["path"]))
    if job["signature"] == "condition - decode":
        return _condition_over_decode(job, servable)
    values = requests.inputs(servable.signature(job["signature"]), job["batch"])
    found = time_calls(lambda: servable.run(job["signature"], values), job["seconds"])
    return {**found, "peak_mb": memory.peak() / 2**20}


def _condition_over_decode(job: dict, servable) -> dict:
    """Median difference of calls in turn, so that what disturbs one disturbs the other."""
    from tf_structvae.benchmarks import requests

    values = requests.inputs(servable.signature("condition"), 1)
    latents = {"latents": values["latents"]}
    if "decode" in servable.signatures:
        decode: Callable = lambda: servable.run("decode", latents)  # noqa: E731
    else:
        decode = _decoder(job["network"], values["latents"])
    decode(), servable.run("condition", values)
    differences: list[float] = []
    end = time.perf_counter() + job["seconds"]
    while len(differences) < 3 or (len(differences) < MOST_CALLS and time.perf_counter() < end):
        a = time.perf_counter()
        decode()
        b = time.perf_counter()
        servable.run("condition", values)
        differences.append((time.perf_counter() - b) - (b - a))
    median, high = np.quantile(differences, [0.5, 0.99])
    calls = len(differences)
    return {"median": float(median), "p99": float(high), "calls": calls, "peak_mb": np.nan}


def _decoder(network: str, latents: np.ndarray) -> Callable[[], object]:
    """Means and variances of an export that has no `decode`."""
    import tensorflow as tf

    model = _model(network)

    @tf.function
    def decode(z):
        p = model.decode(z)
        return p.mean(), p.variance()

    return lambda: [a.numpy() for a in decode(tf.constant(latents))]


def jobs(paths: dict[str, Path], quick: bool) -> list[dict]:
    """Every signature of every model, at batch 1 and 8; and what conditioning adds to decoding."""
    from tf_structvae.serving.signature import read

    found = []
    seconds = 2.0 if quick else 5.0
    for network, path in paths.items():
        job = {"suite": "serving", "network": network, "path": str(path), "seconds": seconds}
        names = sorted(set(read(path)[0]) - {"serving_default"})
        found += [
            {**job, "signature": name, "batch": batch}
            for name in names
            for batch in ((1,) if quick else BATCHES[network])
        ]
        if "condition" in names:
            found.append({**job, "signature": "condition - decode", "batch": 1})
    return found


def measure_http(wanted: list[dict]) -> list[dict]:
    """The same jobs through a server on loopback: until the whole answer is there.

    The client has the body ready and does not decode the answer; the server does both. What the
    server refuses, such as too large an answer, is the "error" of its result.
    """
    from tf_structvae.benchmarks import requests
    from tf_structvae.benchmarks.server_process import ServerProcess
    from tf_structvae.serving.signature import read

    results = []
    for network in dict.fromkeys(job["network"] for job in wanted):
        own = [j for j in wanted if j["network"] == network and " - " not in j["signature"]]
        version = Path(own[0]["path"])
        signatures = read(version)[0]
        server = ServerProcess(
            f"--model={network}={version.parent}", "--max_request_mb=1024", "--timeout=600"
        )
        try:
            for job in own:
                values = requests.inputs(signatures[job["signature"]], job["batch"])
                body = requests.body(job["signature"], values)
                call = poster(server.url, f"/v1/models/{network}:predict", body)
                try:
                    found = time_calls(call, job["seconds"])
                except RuntimeError as error:
                    results.append({**job, "error": str(error)})
                    continue
                held = memory.resident(server.pid)
                results.append({**job, **found, "server_mb": held and held / 2**20})
        finally:
            server.end()
    return results


def poster(url: str, path: str, body: bytes) -> Callable[[], bytes]:
    """What posts a body, on one connection, and returns the content of the answer.

    Args:
      url: of the server.
      path: of the address.
      body: of every request.

    Raises:
      RuntimeError: of the result, if the status is not 200.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=600)

    def post() -> bytes:
        connection.request("POST", path, body)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {content[:300]!r}")
        return content

    return post


def table(results: list[dict], over_http: list[dict]) -> str:
    """A Markdown table of both."""
    rows = []
    served = {(r["network"], r["signature"], r["batch"]): r for r in over_http}
    for r in results:
        height, width, channels = SIZES[r["network"]]
        cells = [r["signature"], f"{height}x{width}x{channels}", str(r["batch"])]
        other = served.get((r["network"], r["signature"], r["batch"]), {})
        cells += _cells(r, "peak_mb")
        cells += _cells(other, "server_mb") if other else [""] * 4
        rows.append(cells)
    titles = (
        "signature|image|batch|call: median / ms|99th percentile / ms|images / s|peak / MB|"
        "HTTP: median / ms|99th percentile / ms|images / s|server / MB"
    )
    return markdown.table(titles.split("|"), rows)


def _cells(r: dict, held: str) -> list[str]:
    """Latencies, images a second and memory; a difference of times has no images a second."""
    if "error" in r:
        return [r["error"], "", "", ""]
    is_difference = " - " in r["signature"]
    rate = "" if is_difference else f"{r['batch'] / r['median']:.1f}"
    size = r[held]
    has_size = size is not None and np.isfinite(size)
    return [
        f"{1e3 * r['median']:.1f}",
        f"{1e3 * r['p99']:.1f}",
        rate,
        f"{size:.0f}" if has_size else "",
    ]
