"""What is written and drawn while a model trains."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tf_structvae import figures
from tf_structvae.evaluation.calibration import calibration
from tf_structvae.evaluation.information import information
from tf_structvae.figures.pictures import reconstruction_rows
from tf_structvae.models import class_labels
from tf_structvae.models.input_checks import StopOnNonFiniteLoss
from tf_structvae.models.progress_bar import ProgressBar, scalars, steps
from tf_structvae.priors import AggregatedPosterior
from tf_structvae.training.checkpoints import Checkpoints
from tf_structvae.utilities.files import save_figure, whole

__all__ = [
    "CalibrationLog",
    "CsvLog",
    "InformationLog",
    "ProgressBar",
    "SampleSheet",
    "SaveCheckpoint",
    "StopOnNonFinite",
    "TensorBoardLog",
]


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


class InformationLog(keras.callbacks.Callback):
    """Adds what the KL divergence is spent on to the logs of each epoch; see `information`.

    Args:
      images: batches [B, H, W, C]; of a conditional model (images, labels [B]).
    """

    def __init__(self, images: tf.data.Dataset):
        super().__init__()
        self._images = images.map(lambda *batch: batch)

    def on_epoch_end(self, epoch, logs=None):
        try:
            posterior = AggregatedPosterior.of(self.model.encode, self._images)
        except ValueError:  # not finite: `SaveCheckpoint` says which weight is to blame
            return
        if logs is not None:
            found = information(posterior, self.model.prior)
            names = ("prior_mismatch", "mutual_information")
            logs.update({f"val_{name}": found[name].value for name in names})


class CsvLog(keras.callbacks.Callback):
    """One row an epoch; a resumed run goes on in the same file.

    Args:
      path: of the file.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def on_epoch_end(self, epoch, logs=None):
        row = {"step": steps(self), **scalars(logs)}
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
        step = steps(self)
        images, *labels = class_labels.split(self._examples)
        sheet = figures.reconstruction_sheet(self.model, images, 0, labels)
        with self._writer.as_default(step=step):
            for name, value in scalars(logs).items():
                tf.summary.scalar(name, value)
            tf.summary.image("data, reconstruction mean, sample, prior sample", sheet[None])
        self._writer.flush()

    def on_train_end(self, logs=None):
        self._writer.close()


class SampleSheet(keras.callbacks.Callback):
    """A picture of data, reconstructions and samples, drawn anew at the end of each epoch.

    Args:
      path: of the picture, a PNG.
      images: batches [B, H, W, C].
      first: the step after which it is drawn, too, so that it need not be waited for.
      columns: pictures in a row.
    """

    def __init__(self, path: Path, images: tf.data.Dataset, first: int = 50, columns: int = 8):
        super().__init__()
        self._path, self._first = path, first
        self._images = images.unbatch().batch(columns).take(1)

    def on_train_begin(self, logs=None):
        self._examples = next(iter(self._images))
        self._announced = False

    def on_train_batch_end(self, batch, logs=None):
        if steps(self) == self._first:
            self._draw()

    def on_epoch_end(self, epoch, logs=None):
        self._draw()

    def _draw(self) -> None:
        images, *labels = class_labels.split(self._examples)
        rows = reconstruction_rows(self.model, images, 0, labels)
        save_figure(figures.sheet(rows, f"Step {steps(self)}"), self._path)
        if not self._announced:
            tqdm.write(f"step {steps(self)}: samples drawn in {self._path}")
            self._announced = True


class SaveCheckpoint(keras.callbacks.Callback):
    """A checkpoint at the end of each epoch; the best is the one of the highest validation ELBO.

    Args:
      checkpoints: of the run.
    """

    def __init__(self, checkpoints: Checkpoints):
        super().__init__()
        self._checkpoints = checkpoints

    def on_epoch_end(self, epoch, logs=None):
        self._checkpoints.save(steps(self), scalars(logs).get("val_elbo"))


class StopOnNonFinite(StopOnNonFiniteLoss):
    """Stops the run at the first step whose loss is not finite; the last checkpoint stays.

    Args:
      describe_batch: step -> what is said of its images.
    """

    def __init__(self, describe_batch: Callable[[int], str]):
        super().__init__()
        self._describe_batch = describe_batch

    def on_train_begin(self, logs=None):
        self._before = steps(self)

    def on_train_batch_end(self, batch, logs=None):
        loss = scalars(logs)["loss"]
        if not np.isfinite(loss):
            multipliers = {k: v for k, v in scalars(logs).items() if k.endswith("_multiplier")}
            raise FloatingPointError(
                f"the loss is {loss} at step {steps(self)}; multipliers {multipliers}; batch: "
                f"{self._describe_batch(self._before)}. The last checkpoint is untouched: resume "
                "from it with a lower learning rate."
            )
        self._before = steps(self)
