"""Runs steps of a config and prints what they took, as JSON; a process of its own runs it."""

from __future__ import annotations

import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.evaluation.calibration import calibration
from tf_structvae.training import config as config_lib
from tf_structvae.training.from_config import build_model, build_optimizer
from tf_structvae.utilities import memory


def _peak() -> int:
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return memory.peak()


def _train(model: keras.Model, batch: tuple, steps: int, seconds: float) -> dict:
    """Steps after a first one, which traces the graph and counts only if it took far too long."""
    took: list[float] = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        model.train_on_batch(*batch)
        took.append(time.perf_counter() - start)
        if sum(took) > (seconds if len(took) > 1 else 4 * seconds):
            break
    return {"seconds": float(np.median(took[1:] or took)), "peak": _peak()}


def main(job: dict) -> None:
    """Trains on random images, then evaluates; a line of JSON for each."""
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    config = config_lib.default()
    config.update(job["config"])
    keras.config.set_dtype_policy(config.train.precision)
    keras.utils.set_random_seed(config.seed)
    shape = tuple(job["image_shape"])
    classes = job.get("classes", 0)
    model = build_model(config, shape, classes)
    model.compile(build_optimizer(config), jit_compile=config.train.jit)
    rng = np.random.default_rng(config.seed)

    def draw(count: int) -> tuple[np.ndarray, ...]:
        images = rng.integers(0, 256, (count, *shape), np.uint8) / np.float32(255)
        return (images, rng.integers(0, classes, count)) if classes else (images,)

    print(json.dumps({"program": _peak()}), flush=True)
    try:
        trained = _train(model, draw(config.train.batch_size), job["steps"], job["most_seconds"])
        print(json.dumps({"step": trained}), flush=True)
        if job["evaluate"]:
            batch = draw(config.evaluation.batch_size)
            model.test_on_batch(*batch)
            calibration(model, [batch])
            print(json.dumps({"evaluation": {"peak": _peak()}}), flush=True)
    except (tf.errors.ResourceExhaustedError, MemoryError):
        print(json.dumps({"error": "was refused memory"}), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
