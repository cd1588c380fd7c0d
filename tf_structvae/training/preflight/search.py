"""What to change so that a run fits into memory, found by trying."""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from tf_structvae.training.preflight.measurement import Measurement
from tf_structvae.utilities.memory import gigabytes

# Of the limit, what a trial may take: the next process may take a little more.
_ROOM = 0.95


def changes(
    config: ConfigDict,
    replicas: int,
    measured: Measurement,
    limit: int,
    trial: Callable[[ConfigDict], Measurement],
    output: Callable[[str], None] = print,
) -> str:
    """The first flags with which a run fits: twice as many parts, or half the images, in turn.

    Args:
      config: of a run that does not fit.
      replicas: how many share a batch.
      measured: what it took.
      limit: bytes.
      trial: measures another config.
      output: takes a line for each trial.

    Returns:
      A sentence.
    """
    if measured.program is None or measured.program > limit:
        return "TensorFlow and the network alone take more, without any image."
    limit = int(_ROOM * limit)
    c = config.copy_and_resolve_references()
    flags: dict[str, int] = {}
    while not measured.fits(limit):
        found = _evaluation(c) if measured.step_fits(limit) else _step(c, replicas)
        if found is None:
            what = "an evaluation" if measured.step_fits(limit) else "a training step"
            return (
                f"Even with one image at a time {what} takes more: the run needs a smaller "
                "network, smaller images or more memory."
            )
        flags.update([found])
        c.update_from_flattened_dict(flags)
        text = " ".join(f"--config.{path}={value}" for path, value in flags.items())
        output(f"preflight: trying {text}")
        measured = trial(c)
    held = max(p for p in (measured.step, measured.evaluation) if p is not None)
    return f"It fits with {text} (measured {gigabytes(held)})."


def _step(c: ConfigDict, replicas: int) -> tuple[str, int] | None:
    """Parts make the same step, but not beside batch normalisation on several replicas."""
    most = -(-c.train.batch_size // replicas)
    if replicas > 1 and c.model.norm == "batch":
        return ("train.batch_size", replicas * (most // 2)) if most > 1 else None
    parts = c.train.accumulate
    return ("train.accumulate", min(2 * parts, most)) if parts < most else None


def _evaluation(c: ConfigDict) -> tuple[str, int] | None:
    size = c.evaluation.batch_size
    return ("evaluation.batch_size", size // 2) if size > 1 else None
