"""What a preflight prints."""

from __future__ import annotations

from ml_collections import ConfigDict

from tf_structvae.training.preflight.measurement import Measurement
from tf_structvae.training.preflight.prediction import Prediction
from tf_structvae.utilities.memory import gigabytes


def needs(prediction: Prediction) -> str:
    """What a run is predicted to take."""
    return (
        f"predicted {gigabytes(prediction.step)} for a training step and "
        f"{gigabytes(prediction.evaluation)} for the evaluation"
    )


def line(prediction: Prediction, limit: str) -> str:
    """The preflight of a run that is not measured."""
    count = sum(prediction.parameters.values())
    return f"preflight: {count:,} parameters, {needs(prediction)} of {limit}; not measured"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _rate(images: float) -> str:
    return f"{images:,.0f}" if images >= 10 else f"{images:.2g}"


def _memory(predicted: int, measured: int | None, data: int) -> str:
    text = f"predicted {gigabytes(predicted)}"
    return text if measured is None else f"{text}, measured {gigabytes(measured + data)}"


def table(
    config: ConfigDict,
    image_shape: tuple[int, ...],
    prediction: Prediction,
    measured: Measurement,
    limit: str,
    device: str,
    rate: float | None = None,
) -> str:
    """All that a preflight found, a line for each.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      prediction: of its memory.
      measured: of its steps.
      limit: the budget, in words.
      device: what it runs on, in words.
      rate: images a second of the data pipeline.
    """
    p, m, t = prediction, measured, config.train
    parts = "" if p.parts == 1 else f", in {p.parts} parts of {p.part}"
    counts = ", ".join(f"{name} {count:,}" for name, count in p.parameters.items())
    rows = {
        "images": "x".join(map(str, image_shape)),
        "parameters": f"{sum(p.parameters.values()):,}: {counts}",
        "precision": t.precision + (", XLA" if t.jit else ""),
        "devices": f"{device}, {p.replicas} replica{'s' * (p.replicas > 1)}",
        "batch": f"{p.batch}{parts}",
        "budget": limit,
        "training step": _memory(p.step, m.step, p.data),
        "evaluation": f"batch {p.evaluation_batch}: {_memory(p.evaluation, m.evaluation, p.data)}",
    }
    if p.data:
        rows["of which data"] = f"{gigabytes(p.data)}, predicted"
    if m.seconds and m.images_per_second:
        rows["speed"] = f"{m.seconds:.3g} s a step, {_rate(m.images_per_second)} images a second"
        rows["run"] = (
            f"{t.steps:,} steps: {_duration(t.steps * m.seconds)}; evaluations come on top"
        )
    if rate is not None:
        rows["data pipeline"] = f"{_rate(rate)} images a second"
    return "\n".join(f"{name:<16}{text}" for name, text in rows.items())
