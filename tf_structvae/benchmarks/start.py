"""What a user waits for before the first step and the first answer."""

from __future__ import annotations

import functools
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from tf_structvae.utilities import markdown

_IMPORTS = ("tensorflow", "keras", "tensorflow_probability", "tf_structvae.models.vae")
_PROGRAM = (
    "import json; from tf_structvae.benchmarks import start; print(json.dumps(start.measure()))"
)
_PROBLEM = {"network": "default", "height": 64, "width": 64, "batch": 32, "rank": 25}


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure() -> dict[str, float]:
    """Seconds of each stage from an empty process to the second step of training, in order.

    A module that an earlier one has imported is not in the time of the later. To be called before
    any of them is imported.
    """
    found = {}
    for name in _IMPORTS:
        found[f"import {name}"], _ = _timed(functools.partial(importlib.import_module, name))
    from tf_structvae.benchmarks import train_step

    found["model and optimiser"], (run, _) = _timed(lambda: train_step.build("ours", _PROBLEM))
    found["first step: tracing"], _ = _timed(run)
    found["second step"], _ = _timed(run)
    return found


def _train() -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return json.loads(done.stdout.splitlines()[-1])


def _serve(version: Path) -> dict[str, float]:
    """Seconds until a server is ready, and of its first and second answer."""
    from tf_structvae.benchmarks import requests, serving
    from tf_structvae.benchmarks.server_process import ServerProcess
    from tf_structvae.serving.signature import read

    body = requests.body("condition", requests.inputs(read(version)[0]["condition"], 1))
    ready, server = _timed(lambda: ServerProcess(f"--model=m={version.parent}"))
    try:
        ask = serving.poster(server.url, "/v1/models/m:predict", body)
        return {
            "bin/serve until ready": ready,
            "its first edit": _timed(ask)[0],
            "its second edit": _timed(ask)[0],
        }
    finally:
        server.end()


def run(quick: bool) -> list[dict]:
    """Every stage of some fresh processes, one after the other.

    Args:
      quick: one process in the place of three.
    """
    from tf_structvae.benchmarks import serving

    turns = 1 if quick else 3
    times: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as directory:
        version = serving.export_models(Path(directory), ["default"])["default"]
        for _ in tqdm(range(turns), unit="start", desc="benchmark"):
            times.append({**_train(), **_serve(version)})
    return [{"stage": stage, "seconds": [t[stage] for t in times]} for stage in times[0]]


def table(results: list[dict]) -> str:
    """A Markdown table of medians.

    Args:
      results: from `run`.
    """
    rows = [
        [r["stage"], f"{statistics.median(r['seconds']):.2f}", f"{max(r['seconds']):.2f}"]
        for r in results
    ]
    return markdown.table(["stage", "median / s", "longest / s"], rows)
