"""What to change so that a run fits: flags, each with the memory predicted for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tf_structvae.training.preflight.measurement import Measurement
from tf_structvae.training.preflight.prediction import Prediction
from tf_structvae.utilities.memory import gigabytes


def corrected(prediction: Prediction, measured: Measurement, budget: int) -> Prediction:
    """The prediction with what images take set by a measurement.

    A process that was ended has shown only that it needs more than the budget; how much more is
    taken to be a third.
    """

    def by_image(peak: int | None, predicted: int, image: int, count: int) -> float:
        if peak is None:
            peak = max(predicted, budget) * 4 // 3
        return max(image + (peak - predicted) / count, 0)

    p = prediction
    step = None if measured.step is None else measured.step + p.data
    image = p.image + p.rank * p.image_by_rank
    scale = by_image(step, p.step, image, p.part) / image
    changes: dict[str, int] = {
        "image": math.ceil(scale * p.image),
        "image_by_rank": math.ceil(scale * p.image_by_rank),
    }
    if step is not None:
        evaluation = None if measured.evaluation is None else measured.evaluation + p.data
        if evaluation is None or evaluation > step:  # else the training steps made the peak
            count = p.evaluation_batch
            each = by_image(evaluation, p.evaluation, p.evaluated_image, count)
            changes["evaluated_image"] = math.ceil(each)
    return p.at(**changes)


def _first(
    prediction: Prediction, peak: str, budget: int, field: str, flag: str, values: Iterable[int]
) -> list[str]:
    """The first value of a field with which a peak fits, as a flag; none if there is none."""
    for value in values:
        size = getattr(prediction.at(**{field: value}), peak)
        if size <= budget:
            return [f"  --config.{flag}={value} (predicted {gigabytes(size)})"]
    return []


def _for_the_step(p: Prediction, budget: int, half: Callable[[], Prediction] | None) -> list[str]:
    most = -(-p.batch // p.replicas)
    fewer, more = range(p.batch - 1, 0, -1), range(p.parts + 1, most + 1)
    found = _first(p, "step", budget, "batch", "train.batch_size", fewer)
    found += _first(p, "step", budget, "parts", "train.accumulate", more)
    if p.image_by_rank:
        found += _first(p, "step", budget, "rank", "model.rank", range(p.rank - 1, 0, -1))
    if half is not None and (size := half().step) <= budget:
        found.append(f"  --config.train.precision=mixed_bfloat16 (predicted {gigabytes(size)})")
    if found:
        return ["For the training step, one of", *found]
    least = gigabytes(p.at(batch=1, parts=1, replicas=1).step)
    return [
        f"Even with one image at a time a training step takes {least}: it needs a smaller network, "
        "smaller images or more memory."
    ]


def advise(
    prediction: Prediction, budget: int, half: Callable[[], Prediction] | None = None
) -> str:
    """What to change, in lines.

    Args:
      prediction: of a run that does not fit.
      budget: bytes.
      half: gives the prediction in half precision, where that could help.
    """
    p = prediction
    lines = _for_the_step(p, budget, half) if p.step > budget else []
    if p.evaluation > budget:
        fewer = range(p.evaluation_batch - 1, 0, -1)
        flag = "evaluation.batch_size"
        found = _first(p, "evaluation", budget, "evaluation_batch", flag, fewer)
        lines += (
            ["For the evaluation", *found]
            if found
            else ["Even an evaluation of one image at a time does not fit."]
        )
    return "\n".join(lines)
