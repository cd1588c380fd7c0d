"""The preflight of a run: predicts, measures if need be, reports, and refuses what cannot fit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable

import tensorflow as tf
from ml_collections import ConfigDict

from tf_structvae.training.preflight import report
from tf_structvae.training.preflight.advice import advise, corrected
from tf_structvae.training.preflight.measurement import Measurement, measure
from tf_structvae.training.preflight.prediction import Prediction, predict
from tf_structvae.utilities import memory
from tf_structvae.utilities.memory import gigabytes

# A run that is predicted to take less of the budget is not measured.
MEASURED_FROM = 1 / 3
# One that is predicted to take more is not even tried.
HOPELESS = 1.5

WHEN = ("always", "if_large", "never")


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
    """Predicts the memory of a run, measures some steps, prints both, and refuses what cannot fit.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      replicas: how many share a batch, each with memory of its own.
      images: how many the training set has; 0 leaves it out.
      budget_gb: what the run may take, in GB of 2^30 bytes; 0: what is available.
      when: to measure "always", "if_large" (predicted above a third of the budget) or "never".
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
    prediction = predict(config, image_shape, replicas, images, gpu, classes)
    budget, source = _budget(budget_gb, gpu)
    limit = f"{gigabytes(budget)} {source}"

    def refuse(found: Prediction, why: str) -> None:
        half = None
        if gpu and config.train.precision == "float32":
            half = lambda: _in_half_precision(config, image_shape, replicas, classes)  # noqa: E731
        advice = advise(found, budget, half)
        raise ValueError(
            f"{config.name} does not fit into memory: {why}\n{advice}\n"
            "--nopreflight trains all the same."
        )

    left = budget - prediction.data  # the measured process reads none
    if prediction.total > HOPELESS * budget or prediction.program > left:
        refuse(prediction, f"{report.needs(prediction)} of {limit}.")
    if when == "never" or (when == "if_large" and prediction.total <= MEASURED_FROM * budget):
        output(report.line(prediction, limit))
        if prediction.total > budget:
            refuse(prediction, f"{report.needs(prediction)} of {limit}.")
        return
    output("preflight: measuring some steps in a process of their own")
    measured = measure(
        config,
        image_shape,
        budget=None if gpu else left,
        replicas=replicas,
        evaluate=True,
        classes=classes,
    )
    device = f"{len(devices)} GPU" if gpu else "CPU"
    output(report.table(config, image_shape, prediction, measured, limit, device, rate))
    if measured.failure or (measured.total or 0) > left:
        refuse(corrected(prediction, measured, budget), _shortage(measured, limit))


def _shortage(measured: Measurement, limit: str) -> str:
    part = "a training step" if measured.step is None else "the evaluation"
    if measured.failure:
        return f"the process of {part} {measured.failure}; the budget is {limit}."
    return f"measured {gigabytes(measured.total or 0)} of {limit}."


def _in_half_precision(config: ConfigDict, image_shape, replicas: int, classes: int) -> Prediction:
    half = config.copy_and_resolve_references()
    half.train.precision = "mixed_bfloat16"
    return predict(half, image_shape, replicas, gpu=True, classes=classes)
