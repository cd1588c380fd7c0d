"""What is written and drawn while a model trains."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tf_structvae import class_labels, figures
from tf_structvae.checkpoints import Checkpoints
from tf_structvae.evaluation.calibration import calibration
from tf_structvae.files import whole


def _steps(callback: keras.callbacks.Callback) -> int:
    return int(callback.model.steps.numpy())


def _scalars(logs: dict | None) -> dict[str, float]:
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
            values = _scalars({k: v for k, v in logs.items() if k in self.SHOWN})
            shown = {self.SHOWN[k]: f"{v:.4g}" for k, v in values.items()}
            self._bar.set_postfix(shown, refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        values = _scalars(logs)
        shown = [*self.SHOWN, "val_log_prob", "val_kl"]
        line = "  ".join(f"{k} {values[k]:.2f}" for k in shown if k in values)
        self._bar.write(f"step {_steps(self)}: {line}")

    def on_train_end(self, logs=None):
        self._bar.close()


class CalibrationLog(keras.callbacks.Callback):
    """Adds the calibration on some validation images to the logs of each epoch.

    Args:
      images: batches [B, H, W, C].
    """

    def __init__(self, images: tf.data.Dataset):
        super().__init__()
        self._images = images

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            found = calibration(self.model, self._images).summary()
            logs.update({f"val_{name}": value for name, value in found.items()})


class CsvLog(keras.callbacks.Callback):
    """One row an epoch; a resumed run goes on in the same file.

    Args:
      path: of the file.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch, logs=None):
        row = {"step": _steps(self), **_scalars(logs)}
        rows = []
        if self._path.exists():
            with self._path.open(newline="") as f:
                rows = [r for r in csv.DictReader(f) if int(r["step"]) < row["step"]]
        with whole(self._path) as partial, partial.open("w", newline="") as f:
            writer = csv.DictWriter(f, fieldnames=list(row), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*rows, row])


class TensorBoardLog(keras.callbacks.Callback):
    """Scalars and a sheet of pictures each epoch.

    Args:
      directory: of the events.
      images: batches [B, H, W, C].
      columns: pictures in a row.
    """

    def __init__(self, directory: Path, images: tf.data.Dataset, columns: int = 8):
        super().__init__()
        self._directory = directory
        self._images = images.unbatch().batch(columns).take(1)

    def on_train_begin(self, logs=None):
        self._writer = tf.summary.create_file_writer(str(self._directory))
        self._examples = next(iter(self._images))

    def on_epoch_end(self, epoch, logs=None):
        step = _steps(self)
        images, *labels = class_labels.split(self._examples)
        sheet = figures.reconstruction_sheet(self.model, images, 0, labels)
        with self._writer.as_default(step=step):
            for name, value in _scalars(logs).items():
                tf.summary.scalar(name, value)
            tf.summary.image("data, reconstruction mean, sample, prior sample", sheet[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()


class SaveCheckpoint(keras.callbacks.Callback):
    """A checkpoint at the end of each epoch; the best is the one of the highest validation ELBO.

    Args:
      checkpoints: of the run.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self._checkpoints = checkpoints

    def on_epoch_end(self, epoch, logs=None):
        self._checkpoints.save(_steps(self), _scalars(logs).get("val_elbo"))


class StopOnNonFinite(keras.callbacks.Callback):
    """Stops the run at the first loss that is not finite; the last checkpoint stays.

    Args:
      describe_batch: step -> what is said of its images.
    """

    def __init__(self, describe_batch: Callable[[int], str]):
        super().__init__()
        self._describe_batch = describe_batch

    def on_train_begin(self, logs=None):
        self._before = _steps(self)

    def on_train_batch_end(self, batch, logs=None):
        loss = _scalars(logs)["loss"]
        if not np.isfinite(loss):
            multipliers = {k: v for k, v in _scalars(logs).items() if k.endswith("_multiplier")}
            raise FloatingPointError(
                f"the loss is {loss} at step {_steps(self)}; multipliers {multipliers}; batch: "
                f"{self._describe_batch(self._before)}. The last checkpoint is untouched: resume "
                "from it with a lower learning rate."
            )
        self._before = _steps(self)
