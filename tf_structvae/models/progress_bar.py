"""A progress bar of training, by steps."""

from __future__ import annotations

import keras
import numpy as np
from tqdm.auto import tqdm


def steps(callback: keras.callbacks.Callback) -> int:
    """The steps that the model of a callback has made.

    Args:
      callback: during training.
    """
    return int(callback.model.steps.numpy())


def scalars(logs: dict | None) -> dict[str, float]:
    """Logs of Keras as floats.

    Args:
      logs: means over replicas or values of each.
    """
    return {k: float(np.mean(v)) for k, v in (logs or {}).items()}


class ProgressBar(keras.callbacks.Callback):
    """One bar over all steps with an ETA and, in nats per image, what the paper constrains.

    Args:
      total: steps of the run.
      initial: the step it starts at.
    """

    SHOWN = {
        "log_prob": "log p",
        "kl": "KL",
        "entropy_above_floor": "H-floor",
        "kl_multiplier": "beta",
        "entropy_multiplier": "lambda_H",
    }

    def __init__(self, total: int, initial: int):
        super().__init__()
        self._total, self._initial = total, initial

    def on_train_begin(self, logs=None):
        self._bar = tqdm(
            total=self._total,
            initial=self._initial,
            desc="training",
            unit="step",
            mininterval=1.0,
            dynamic_ncols=True,
        )

    def on_train_batch_end(self, batch, logs=None):
        if self._bar.update():
            values = scalars({k: v for k, v in logs.items() if k in self.SHOWN})
            shown = {self.SHOWN[k]: f"{v:.4g}" for k, v in values.items()}
            self._bar.set_postfix(shown, refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        values = scalars(logs)
        shown = [*self.SHOWN, "val_log_prob", "val_kl"]
        line = "  ".join(f"{k} {values[k]:.2f}" for k in shown if k in values)
        self._bar.write(f"step {steps(self)}: {line}")

    def on_train_end(self, logs=None):
        self._bar.close()
