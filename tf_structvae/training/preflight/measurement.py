"""Runs steps of a config in a process of its own, and ends it when it takes too much memory."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys

from ml_collections import ConfigDict

from tf_structvae.utilities import memory

_EVERY = 0.1  # seconds between two looks at the process


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What steps took; None where the process did not come so far."""

    program: int | None  # peak before the first step: TensorFlow and the network, bytes
    seconds: float | None  # of a step
    images_per_second: float | None
    step: int | None  # peak of the training steps, bytes
    evaluation: int | None  # peak of training and evaluation, bytes
    failure: str = ""  # why the process ended early, if it did

    def step_fits(self, limit: int) -> bool:
        """Whether training steps stayed within `limit` bytes."""
        return self.step is not None and self.step <= limit

    def fits(self, limit: int) -> bool:
        """Whether all that was tried did."""
        evaluated = self.evaluation is None or self.evaluation <= limit
        return not self.failure and self.step_fits(limit) and evaluated


def measure(
    config: ConfigDict,
    image_shape: tuple[int, int, int],
    steps: int = 3,
    budget: int | None = None,
    replicas: int = 1,
    seconds: float = 60.0,
    evaluate: bool = False,
    classes: int = 0,
) -> Measurement:
    """Trains the model of a config on random images in a fresh process; one replica's share.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      steps: how many to time, after one that counts only if it is the only one.
      budget: bytes; a process that holds more is ended. None does not watch.
      replicas: how many share a batch.
      seconds: no third step is begun after so many, and no second after four times as many.
      evaluate: whether to evaluate a batch, too.
      classes: of the labels of a conditional model.

    Raises:
      RuntimeError: the process failed for another reason than memory.
    """
    share = config.copy_and_resolve_references()
    share.train.batch_size = -(-config.train.batch_size // replicas)
    job = {
        "config": json.loads(share.to_json()),
        "image_shape": image_shape,
        "steps": steps,
        "most_seconds": seconds,
        "evaluate": evaluate,
        "classes": classes,
    }
    output, errors, status, killed = _run(job, budget)
    lines = [json.loads(x) for x in output.splitlines() if x.startswith("{")]
    found = {k: v for line in lines for k, v in line.items()}
    if status > 0:
        raise RuntimeError(f"the preflight's process failed:\n{errors[-2000:]}")
    failure = found.get("error", "")
    if killed:
        failure = f"was ended when it held more than {memory.gigabytes(budget or 0)}"
    elif status < 0:
        failure = f"was ended by signal {-status}, as the system does when memory runs out"
    step = found.get("step", {})
    took = step.get("seconds")
    return Measurement(
        found.get("program"),
        took,
        config.train.batch_size / took if took else None,
        step.get("peak"),
        found.get("evaluation", {}).get("peak"),
        failure,
    )


def _run(job: dict, limit: int | None) -> tuple[str, str, int, bool]:
    """Output, errors and status of a worker, and whether it was killed for its memory."""
    killed = False
    child = subprocess.Popen(
        [sys.executable, "-m", "tf_structvae.training.preflight.worker", json.dumps(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    with child:
        try:
            while True:
                try:
                    output, errors = child.communicate(timeout=_EVERY)
                    return output, errors, child.returncode, killed
                except subprocess.TimeoutExpired:
                    if limit is not None and (memory.resident(child.pid) or 0) > limit:
                        child.kill()
                        killed = True
        finally:
            child.kill()  # also at Ctrl-C; nothing if it has ended
