"""`python -m tf_structvae.benchmarks.worker JSON`: measures one operation, prints JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from tf_structvae.benchmarks import (
    annotators,
    covariance,
    data,
    implementations,
    posterior,
    prior,
    profile,
    scaling,
    serving,
    train_step,
)
from tf_structvae.benchmarks.problem import Problem
from tf_structvae.utilities import memory


def _wait(result) -> None:
    """Brings one number of a result to the host, so that the work is done."""
    while isinstance(result, (list, tuple)):
        result = result[0]
    np.asarray(result.detach() if hasattr(result, "detach") else result)


def _build(job: dict) -> tuple[Callable | None, dict]:
    """What is measured, and what is known of it."""
    if job.get("suite") == "train":
        run, operations = train_step.build(job["implementation"], job["problem"])
        return run, {"operations": operations}
    if job.get("suite") == "priors":
        return prior.build(job["operation"], job["problem"]), {}
    build = implementations.IMPLEMENTATIONS[job["implementation"]]
    return build(Problem(**job["problem"]), job["operation"], job["through_features"]), {}


def measure(job: dict) -> dict:
    """Median seconds and peak memory (MB) of a job, or why it could not be run."""
    try:
        if job.get("suite") == "data":
            return data.measure(job["problem"])
        fitted = {"covariance": covariance, "posterior": posterior, "segmentation": annotators}
        if job.get("suite") in fitted:
            return fitted[job["suite"]].measure(job["problem"])
        if job.get("suite") == "scaling":
            return scaling.measure(job["problem"])
        if job.get("suite") == "serving":
            return serving.measure(job)
        run, known = _build(job)
    except ImportError as error:
        return {"error": f"{error.name} is not installed"}
    if run is None:
        return {"error": "has no such operation"}
    if job.get("profile"):
        return {**known, **profile.measure(run)}
    try:
        for _ in range(job["warm_up"]):
            _wait(run())
        seconds = []
        for _ in range(job["repeats"]):
            start = time.perf_counter()
            _wait(run())
            seconds.append(time.perf_counter() - start)
    except Exception as error:  # an implementation that fails on these numbers is a result
        return {"error": type(error).__name__}
    return {**known, "seconds": float(np.median(seconds)), "peak_mb": memory.peak() / 2**20}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
