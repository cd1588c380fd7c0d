"""The states of a run on disk: the last few and the best, never half of one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.models.vae import StructuredVAE
from tf_structvae.training import run_state
from tf_structvae.utilities.files import is_full, write_whole


class Checkpoints:
    """Every variable of a compiled model: weights, multipliers and the rest, optimiser, step.

    The seed of every random number and the position in the data follow from the config and the
    step, so that this is all a run needs to go on as if it had never stopped.

    `directory`/ckpt-STEP are the last few, `directory`/best/ckpt-STEP is the best and
    `directory`/best/value.json how good it was.
    """

    def __init__(self, directory: str | Path, model: StructuredVAE, keep: int):
        """
        Args:
          directory: made by the first `save`.
          model: compiled, with a built optimiser.
          keep: how many of the last are kept.
        """
        self.directory = Path(directory)
        self._model = model
        self._keep = {"last": keep, "best": 1}

    def steps(self, which: str = "last") -> list[int]:
        """The steps that are on disk, oldest first; `which` is "last" or "best".

        Args:
          which: "last" or "best".
        """
        names = [p.name for p in self._folder(which).glob("ckpt-*.index")]
        found = [re.fullmatch(r"ckpt-(\d+)\.index", n) for n in names]
        return sorted(int(m[1]) for m in found if m)

    def best_value(self) -> float:
        """Of the best state; -inf if there is none."""
        path = self._folder("best") / "value.json"
        return json.loads(path.read_text()) if path.exists() else -math.inf

    def _folder(self, which: str) -> Path:
        if which not in ("last", "best"):
            raise ValueError(f"checkpoint must be 'last' or 'best', got {which!r}.")
        return self.directory if which == "last" else self.directory / "best"

    def save(self, step: int, value: float | None = None) -> None:
        """Writes the present state, and keeps it as the best if `value` is the highest so far.

        Args:
          step: of the run.
          value: how good the state is, larger is better; None is not compared.

        Raises:
          FloatingPointError: a weight is not finite; the checkpoints stay as they are.
          ValueError: a variable would be left out; the checkpoints stay as they are.
          OSError: it cannot be written; those before stay as they are.
        """
        for v in run_state.variables(self._model):
            if v.dtype.startswith("float") and not np.all(
                np.isfinite(keras.ops.convert_to_numpy(v))
            ):
                raise FloatingPointError(
                    f"the weight {v.path} is not finite after step {step}. {self._what_is_left()}"
                )
        try:
            if value is not None and value > self.best_value():
                self._write(step, "best")
                write_whole(self._folder("best") / "value.json", json.dumps(value))
            self._write(step, "last")
        except (tf.errors.OpError, OSError) as error:
            raise OSError(
                f"the checkpoint of step {step} cannot be written to {self.directory}: "
                f"{_reason(error)}. {self._what_is_left()}"
            ) from error

    def _write(self, step: int, which: str) -> None:
        folder = self._folder(which)
        folder.mkdir(parents=True, exist_ok=True)
        run_state.trackable(self._model).write(str(folder / "partial"))
        if left_out := run_state.missing(self._model, folder / "partial"):
            raise ValueError(
                f"the checkpoint of step {step} would leave out {_paths(left_out)}, so that a "
                f"resumed run would differ. {self._what_is_left()}"
            )
        # the index comes last: what has none is no checkpoint
        for part in sorted(folder.glob("partial.*")):
            part.replace(folder / part.name.replace("partial", f"ckpt-{step}"))
        # a run that went back to an earlier step may find later ones here
        others = [s for s in self.steps(which) if s != step]
        for old in others[: max(len(others) + 1 - self._keep[which], 0)]:
            for part in sorted(folder.glob(f"ckpt-{old}.*"), reverse=True):
                part.unlink()

    def _what_is_left(self) -> str:
        steps = self.steps()
        return f"The last checkpoint, of step {steps[-1]}, is untouched." if steps else ""

    def restore(
        self,
        which: str = "last",
        tell: Callable[[str], None] = print,
        allow_missing: bool = False,
    ) -> int | None:
        """Loads the newest state that can be read, and reports those that cannot.

        Args:
          which: "last" or "best".
          tell: gets a line for each state that cannot be read, and for what is missing in the one
            that is loaded.
          allow_missing: whether constraints for which the state holds no values, as states
            written by earlier versions, may stay as they are. Networks and optimiser must be there.

        Returns:
          Its step, or None where there is none.

        Raises:
          ValueError: the newest state that can be read holds no values for some variables.
          OSError: there are some, but none can be read.
        """
        steps = self.steps(which)
        damaged = []
        for step in reversed(steps):
            path = self._folder(which) / f"ckpt-{step}"
            try:
                missing = run_state.missing(self._model, path)
                state = run_state.trackable(self._model)
                if not missing:
                    state.read(str(path)).assert_existing_objects_matched()
                elif allow_missing and self._may_be_missing(missing):
                    state.read(str(path)).expect_partial()
            except Exception as error:  # a damaged file fails in a dozen ways
                damaged.append(f"checkpoint {path} cannot be read: {_reason(error)}.")
                continue
            if missing:
                self._tell_missing(path, missing, allow_missing, tell)
            for line in damaged:
                tell(f"{line} Going on from step {step} instead.")
            return step
        if damaged:
            raise OSError("\n".join(damaged))
        return None

    def _may_be_missing(self, missing: Sequence[keras.Variable]) -> bool:
        allowed = {id(v) for c in self._model.constraints for v in c.variables}
        return all(id(v) in allowed for v in missing)

    def _tell_missing(self, path, missing, allow_missing, tell) -> None:
        found = f"checkpoint {path} holds no value for {_paths(missing)}"
        if not self._may_be_missing(missing):
            raise ValueError(f"{found}: it is of another model or optimiser.")
        if not allow_missing:
            raise ValueError(
                f"{found}, as those written by earlier versions, which left out the state of "
                "constraints: a run that goes on from it would differ from one that was never "
                "stopped. Give --allow_changes to let them start anew, or train it again."
            )
        tell(f"Warning: {found}: training from here starts them anew. The model itself is whole.")


def _paths(variables: Sequence[keras.Variable]) -> str:
    shown = [v.path for v in variables[:6]]
    return ", ".join(shown) + (f" and {len(variables) - 6} more" if len(variables) > 6 else "")


def _reason(error: Exception) -> str:
    if is_full(error):
        return "no space left on the disk"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
