"""What a preflight prints."""

from __future__ import annotations

from ml_collections import ConfigDict

from tf_structvae.training.preflight.measurement import Measurement
from tf_structvae.training.preflight.size import Size
from tf_structvae.utilities.memory import gigabytes


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60}:{minutes % 60:02d} h"


def _rate(images: float) -> str:
    return f"{images:,.0f}" if images >= 10 else f"{images:.2g}"


def table(
    config: ConfigDict,
    image_shape: tuple[int, ...],
    network: Size,
    measured: Measurement,
    data: int,
    limit: str,
    device: str,
    replicas: int = 1,
    rate: float | None = None,
) -> str:
    """All that a preflight found, a line for each.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      network: how large it is.
      measured: what its steps took.
      data: bytes of cached or shuffled images.
      limit: the budget, in words.
      device: what it runs on, in words.
      replicas: how many share a batch.
      rate: images a second of the data pipeline.
    """
    m, t = measured, config.train
    each = -(-t.batch_size // replicas)
    parts = f", in {t.accumulate} parts of {-(-each // t.accumulate)}" if t.accumulate > 1 else ""
    counts = ", ".join(f"{name} {count:,}" for name, count in network.parameters.items())
    rows = {
        "images": "x".join(map(str, image_shape)),
        "parameters": f"{sum(network.parameters.values()):,}: {counts}",
        "precision": t.precision + (", XLA" if t.jit else ""),
        "devices": f"{device}, {replicas} replica{'s' * (replicas > 1)}",
        "batch": f"{t.batch_size}{parts}",
        "budget": limit,
    }
    if m.step is not None:
        rows["training step"] = gigabytes(m.step + data)
    if m.evaluation is not None:
        evaluated = f"batch {config.evaluation.batch_size}: {gigabytes(m.evaluation + data)}"
        rows["evaluation"] = evaluated
    if data:
        rows["of which data"] = gigabytes(data)
    if m.seconds and m.images_per_second:
        rows["speed"] = f"{m.seconds:.3g} s a step, {_rate(m.images_per_second)} images a second"
        rows["run"] = (
            f"{t.steps:,} steps: {_duration(t.steps * m.seconds)}; evaluations come on top"
        )
    if rate is not None:
        rows["data pipeline"] = f"{_rate(rate)} images a second"
    return "\n".join(f"{name:<16}{text}" for name, text in rows.items())
