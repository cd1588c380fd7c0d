"""Runs jobs in processes of their own, one after the other, and tables their results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable

import numpy as np
from tqdm.auto import tqdm

from tf_structvae.benchmarks.problem import Problem
from tf_structvae.utilities import markdown


def run_job(job: dict) -> dict:
    """A job and its result; the process is a fresh one, so its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tf_structvae.benchmarks.worker", json.dumps(job)],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        return {**job, "error": f"process ended with status {done.returncode}"}
    return {**job, **json.loads(done.stdout.splitlines()[-1])}


def run(jobs: Iterable[dict]) -> list[dict]:
    """All results, in the order of the jobs."""
    return [run_job(job) for job in tqdm(list(jobs), unit="job", desc="benchmark")]


def memory_bandwidth(megabytes: int = 256, repeats: int = 7) -> float:
    """Bytes a second that a copy reads and writes, the best of some."""
    source = np.ones(megabytes << 18, np.float32)
    target = np.empty_like(source)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)


def machine() -> str:
    """Cores, processor and versions, in one line."""
    import keras
    import tensorflow as tf
    import tensorflow_probability as tfp

    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"TensorFlow {tf.__version__}, Keras {keras.__version__}, TFP {tfp.__version__}"
    )


def distribution_jobs(quick: bool) -> list[dict]:
    """Every implementation and operation against rank, image size and batch."""
    repeats = {"warm_up": 2, "repeats": 3 if quick else 9}
    jobs = []

    def add(operation, implementations, through, **problem):
        for name in implementations:
            jobs.append(
                {
                    "implementation": name,
                    "operation": operation,
                    "through_features": through,
                    "problem": problem,
                    **repeats,
                }
            )

    everyone = ("ours", "tfp_covariance", "torch")
    for through in (False, True):
        for rank, batch in ((25, 8), (25, 4), (100, 4)):
            add("gradients", everyone, through, rank=rank, batch=batch)
    add("gradients", ("ours",), True, rank=200, batch=4)
    if not quick:
        for height, width in ((64, 64), (128, 128)):
            for through in (False, True):
                add("gradients", everyone, through, height=height, width=width, batch=8)
    for height, width in ((64, 64), (218, 178)):
        both, size = ("ours", "low rank and local"), {"height": height, "width": width}
        for operation in ("gradients", "sample", "condition"):
            add(operation, both, True, batch=1, features=32, patch=60, **size)
    for through in (False, True):
        add("sample", everyone, through, batch=8)
        add("condition", ("ours",), through, batch=1, patch=60)
        add("condition", ("ours",), through, batch=1, patch=30)
        add("pixel_influence", ("ours",), through, batch=1)
    jobs.append(
        {
            "implementation": "dense_formula",
            "operation": "condition",
            "through_features": False,
            "problem": {"batch": 1, "patch": 30},
            "warm_up": 0,
            "repeats": 1,
        }
    )
    return jobs


def table(results: list[dict], bandwidth: float) -> str:
    """A Markdown table: time, ratio to ours on the same problem, memory, share of the bandwidth."""
    own = {
        _key(r): r["seconds"] for r in results if r["implementation"] == "ours" and "seconds" in r
    }
    rows = []
    for r in results:
        p = Problem(**r["problem"])
        factor = "features" if r["through_features"] else "dense"
        operation = r["operation"] + (
            f" {p.patch}x{p.patch}" if r["operation"] == "condition" else ""
        )
        size = f"{p.height}x{p.width}x{p.channels}"
        head = [operation, size, p.rank, p.batch, factor, r["implementation"]]
        if "error" in r:
            rows.append([*head, r["error"]])
            continue
        ratio = r["seconds"] / own[_key(r)] if _key(r) in own else float("nan")
        share = p.least_bytes(r["operation"], r["through_features"]) / bandwidth / r["seconds"]
        time = f"{1e3 * r['seconds']:.1f}"
        rows.append([*head, time, f"{ratio:.1f}", f"{r['peak_mb']:.0f}", f"{share:.0%}"])
    titles = (
        "operation|image|rank|batch|factor|by|time / ms|time / ours|peak / MB|"
        "share of memory bandwidth"
    )
    return markdown.table(titles.split("|"), rows)


def _key(result: dict):
    return result["operation"], result["through_features"], json.dumps(result["problem"])
