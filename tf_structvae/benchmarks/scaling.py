"""One worker on one core beside two on two: training, and generation in bulk."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tf_structvae.training import local_cluster
from tf_structvae.utilities import markdown

_SHAPE = (64, 64, 3)
_BATCH = 64
_REPEATS = 3  # epochs that count
_TURNS = 2
_ROOM = 600  # seconds for a job, which takes a tenth of them


def payload(model: Any) -> dict[str, int]:
    """Bytes that a replica puts into the all-reduces of a training step, in float32.

    Args:
      model: a `StructuredVAE`.
    """
    rank, latent = getattr(model.head, "rank", 0), model.latent_dim
    learned = getattr(model.prior, "rate", 0)
    norms = [
        layer
        for network in (model.encoder, model.decoder)
        for layer in network._flatten_layers()
        if getattr(layer, "synchronized", False)
    ]
    return {
        "gradients": 4 * sum(math.prod(v.shape) for v in model.trainable_variables),
        # sums of each constrained quantity, which the loss needs, and again beside what is logged
        "constraints": 4 * 2 * len(model.constraints),
        "noise moments": 4 * (rank + rank**2) if model.closed_form else 0,
        "prior moments": 4 * (latent + latent**2) if learned else 0,
        # sum and squares of each channel and a count, and their gradients
        "batch normalisation": sum(4 * 2 * (2 * n.moving_mean.shape[0] + 1) for n in norms),
    }


def _model():
    from tf_structvae.training import config as config_lib
    from tf_structvae.training.from_config import build_model, build_optimizer

    c = config_lib.default()
    c.objective.pretrain_steps = 0
    return build_model(c, _SHAPE), build_optimizer(c)


def measure(problem: dict) -> dict:
    """Trains as one of the workers that TF_CONFIG names, or alone.

    Args:
      problem: "workers", "steps" of each of some epochs.

    Returns:
      "images_per_second", the median of the epochs but for the first, and "bytes" of `payload`.
    """
    import keras
    import tensorflow as tf

    from tf_structvae.training import cluster

    workers, steps = problem["workers"], problem["steps"]
    strategy = cluster.build_strategy("multi_worker" if workers > 1 else "none")
    with strategy.scope():
        model, optimizer = _model()
        model.compile(optimizer)
    images = np.random.default_rng(0).uniform(size=(_BATCH // workers, *_SHAPE)).astype("f4")

    def batches(_) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensors(images).repeat()

    seconds: list[float] = []
    start = [0.0]
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: start.__setitem__(0, time.perf_counter()),
        on_epoch_end=lambda *_: seconds.append(time.perf_counter() - start[0]),
    )
    model.fit(
        cluster.distribute(strategy, batches),
        steps_per_epoch=steps,
        epochs=1 + _REPEATS,
        callbacks=[clock],
        verbose=0,
    )
    rate = steps * _BATCH / float(np.median(seconds[1:]))
    return {"images_per_second": rate, "bytes": payload(model)}


def _pinned(core: int) -> None:
    os.sched_setaffinity(0, {core})


def _cores(count: int) -> list[int]:
    """
    Raises:
      ValueError: this machine has fewer, or cannot pin a process to one.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise ValueError("--suite=scaling pins workers to cores, which needs Linux.")
    found = sorted(os.sched_getaffinity(0))
    if len(found) < count:
        raise ValueError(f"--suite=scaling needs {count} cores, this process may use {len(found)}.")
    return found[:count]


def _train(workers: int, steps: int) -> dict:
    job = {"suite": "scaling", "problem": {"workers": workers, "steps": steps}}
    command = [sys.executable, "-m", "tf_structvae.benchmarks.worker", json.dumps(job)]
    one_thread = {
        "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1",
    }  # fmt: skip
    started = [
        subprocess.Popen(
            command,
            env={**environment, **one_thread},
            preexec_fn=functools.partial(_pinned, core),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for environment, core in zip(
            local_cluster.environments(workers), _cores(workers), strict=True
        )
    ]
    try:
        printed = [p.communicate(timeout=_ROOM)[0] for p in started]
    finally:
        for p in started:
            p.kill()
    if any(p.returncode for p in started):
        return {"error": f"a worker ended with status {max(p.returncode for p in started)}"}
    return json.loads(printed[0].splitlines()[-1])


def _generate(workers: int, counts: Sequence[int]) -> dict:
    """From what more pictures take longer: without the start of the workers."""
    cores = _cores(workers)
    root = Path(__file__).parents[2]
    seconds = []
    for count in counts:
        with tempfile.TemporaryDirectory() as output:
            start = time.perf_counter()
            done = subprocess.run(
                [
                    sys.executable, "-m", "tf_structvae", "generate", f"--count={count}",
                    f"--workers={workers}", f"--output={output}/pictures", "--shard_size=64",
                    "--format=numpy",
                ],
                cwd=root,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
                capture_output=True,
                timeout=_ROOM,
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
        if done.returncode:
            return {"error": done.stderr.decode(errors="replace").strip().splitlines()[-1]}
    rate = (counts[1] - counts[0]) / (seconds[1] - seconds[0])
    return {"images_per_second": rate, "start": seconds[0] - counts[0] / rate}


def run(quick: bool) -> list[dict]:
    """All rows, one worker and two by turns.

    Args:
      quick: fewer steps and pictures.

    Raises:
      ValueError: fewer than two cores.
    """
    _cores(2)
    steps, counts = (4, (256, 1024)) if quick else (12, (512, 4608))
    turns = 1 if quick else _TURNS
    jobs = [
        (what, workers, turn)
        for what in ("training", "generation")
        for turn in range(turns)
        for workers in (1, 2)
    ]
    results = []
    for what, workers, turn in tqdm(jobs, unit="job", desc="benchmark"):
        found = _train(workers, steps) if what == "training" else _generate(workers, counts)
        results.append({"what": what, "workers": workers, "turn": turn, **found})
    return results


def table(results: list[dict]) -> str:
    """A Markdown table of the medians of the turns and their ratios, and one of `payload`.

    Args:
      results: from `run`.
    """
    rows = []
    for what in ("training", "generation"):
        rates = {
            w: [
                r["images_per_second"]
                for r in results
                if (r["what"], r["workers"]) == (what, w) and "images_per_second" in r
            ]
            for w in (1, 2)
        }
        errors = [r["error"] for r in results if r["what"] == what and "error" in r]
        if errors or not all(rates.values()):
            rows.append([what, *(errors or ["not measured"])[:1]])
            continue
        ratios = [b / a for a, b in zip(rates[1], rates[2], strict=True)]
        rows.append(
            [
                what,
                *(f"{np.median(rates[w]):.1f}" for w in (1, 2)),
                f"{np.median(ratios):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            ]
        )
    titles = "|1 worker, images / s|2 workers, images / s|ratio|of all turns"
    text = markdown.table(titles.split("|"), rows)
    found = next((r["bytes"] for r in reversed(results) if "bytes" in r), None)
    if found is not None:
        text += "\n\nA replica's bytes in the all-reduces of a step of training:\n\n"
        cells = [[name, f"{value:,}"] for name, value in found.items()]
        text += markdown.table(["of", "bytes"], cells)
    return text
