"""The preflight of a run: measures steps if need be, reports, and refuses what does not fit."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable

import tensorflow as tf
from ml_collections import ConfigDict

from tf_structvae.training.preflight import report, search, size
from tf_structvae.training.preflight.measurement import Measurement, measure
from tf_structvae.utilities import memory
from tf_structvae.utilities.memory import gigabytes

# A run that takes roughly less of the budget is not measured.
MEASURED_FROM = 1 / 3

WHEN = ("always", "if_large")


def pipeline_rate(batches: Iterable, seconds: float = 3.0) -> float:
    """How many images a second a data set of batches delivers, after its first batch."""
    iterator = iter(batches)
    next(iterator)
    start, count = time.perf_counter(), 0
    for batch in iterator:
        count += len(batch)
        if time.perf_counter() - start > seconds:
            break
    return count / (time.perf_counter() - start)


def _share_gpus(devices: list) -> None:
    """Keeps TensorFlow from taking all of a GPU, of which the measured process needs a part."""
    for device in devices:
        with contextlib.suppress(RuntimeError):  # it is at work already
            tf.config.experimental.set_memory_growth(device, True)


def _budget(asked: float, gpu: bool) -> tuple[int, str]:
    """Bytes, and where they come from."""
    if asked:
        return int(asked * memory.GIGABYTE), "--memory_budget"
    if gpu:
        return min(memory.free_of_gpus()), "free on the GPU"
    return memory.available(), "available"


def check(
    config: ConfigDict,
    image_shape: tuple[int, int, int],
    replicas: int = 1,
    images: int = 0,
    budget_gb: float = 0.0,
    when: str = "if_large",
    rate: float | None = None,
    output: Callable[[str], None] = print,
    classes: int = 0,
) -> None:
    """Measures some steps of a run, unless it is small, and refuses what does not fit.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      replicas: how many share a batch, each with memory of its own.
      images: how many the training set has; 0 leaves it out.
      budget_gb: what the run may take, in GB of 2^30 bytes; 0: what is available.
      when: to measure "always", or "if_large": it takes roughly a third of the budget or more.
      rate: images a second of the data pipeline, to be printed.
      output: takes the lines.
      classes: of the labels of a conditional model.

    Raises:
      ValueError: the run does not fit into the budget; says what to change.
    """
    if when not in WHEN:
        raise ValueError(f"when must be one of {WHEN}, got {when!r}.")
    devices = tf.config.list_physical_devices("GPU")
    _share_gpus(devices)
    gpu = bool(devices) and (budget_gb > 0 or bool(memory.free_of_gpus()))
    network = size.of_network(config, image_shape, classes)
    held = 0 if gpu else size.of_data(images, image_shape)
    budget, source = _budget(budget_gb, gpu)
    limit = f"{gigabytes(budget)} {source}"
    part = -(-config.train.batch_size // (replicas * config.train.accumulate))
    roughly = network.step(max(part, config.evaluation.batch_size)) + held
    if when == "if_large" and roughly <= MEASURED_FROM * budget:
        count = f"{sum(network.parameters.values()):,} parameters"
        output(f"preflight: {count}, roughly {gigabytes(roughly)} of {limit}; not measured")
        return
    left = budget - held  # the measured process reads no data
    trial = functools.partial(
        measure,
        image_shape=image_shape,
        budget=None if gpu else left,
        replicas=replicas,
        evaluate=True,
        classes=classes,
    )
    output("preflight: measuring some steps in a process of their own")
    measured = trial(config)
    device = f"{len(devices)} GPU" if gpu else "CPU"
    output(
        report.table(config, image_shape, network, measured, held, limit, device, replicas, rate)
    )
    if measured.fits(left):
        return
    why = _shortage(measured, left, limit)
    advice = search.changes(config, replicas, measured, left, trial, output)
    raise ValueError(
        f"{config.name} does not fit into memory: {why}\n{advice}\n"
        "--nopreflight trains all the same."
    )


def _shortage(measured: Measurement, left: int, limit: str) -> str:
    step = not measured.step_fits(left)
    part = "a training step" if step else "the evaluation"
    if measured.failure:
        return f"the process of {part} {measured.failure}; the budget is {limit}."
    peak = measured.step if step else measured.evaluation
    return f"{part} was measured to take {gigabytes(peak or 0)}; the budget is {limit}."
