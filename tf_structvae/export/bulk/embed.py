"""What a saved model infers from each of many images, a shard at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_structvae.evaluation.calibration import CalibrationMeter
from tf_structvae.export.bulk import models, writers
from tf_structvae.export.bulk.generate import pixels, rows, usable
from tf_structvae.export.bulk.inputs import Folder, Read, Records
from tf_structvae.export.bulk.job import Job
from tf_structvae.export.loading.model import LoadedModel


@dataclasses.dataclass(frozen=True)
class Embed:
    """Makes shards of rows, one for each image; called with the number of a shard.

    | column | shape | |
    |---|---|---|
    | number, name | | of the image |
    | latents, latent_stddevs | [L] | mean and standard deviation of q(z given x) |
    | log_likelihood | | importance-weighted bound of log p(x), nats |
    | elbo | | the mean of its log weights, nats |
    | effective_samples | | of the bound; near one, a single sample decides |
    | component_squares | [R] | c_k^2, c = E[noise of P given x, z] along the principal components, strongest first, at the mean of q; of mean one under a calibrated model |
    | residual_square | | mean square of the standardized residual, likewise |

    Attributes:
      job: with "format" among its settings.
      model: the path of what was saved.
      inputs: the images.
      seed: of the samples of z of `log_prob`.
      label: of a conditional model; None of any other.
    """  # noqa: E501

    job: Job
    model: str
    inputs: Folder | Records
    seed: int = 0
    label: int | None = None

    def __call__(self, shard: int) -> None:
        model = models.opened(self.model)
        kept, left_out = usable(self.inputs.read(*self.job.bounds(shard)))
        _, found, more = rows(kept, lambda images: self._of_images(model, images))
        columns = {k: np.stack([row[k] for row in found]) for k in found[0]} if found else {}
        if columns and self.job.settings["format"] == "numpy":
            writers.write_arrays(self.job, "embeddings", shard, columns)
        elif columns:
            path = self.job.file("embeddings", shard, ".tfrecord")
            writers.write_records(path, writers.array_rows(columns))
        self.job.finish(shard, [*left_out, *more])

    def _of_images(self, model: LoadedModel, kept: list[Read]) -> list[dict[str, np.ndarray]]:
        x = pixels(kept)
        q = model.encode(x, self.label)
        columns = {
            "number": np.array([image.number for image in kept], np.int64),
            "name": np.array([image.name for image in kept]),
            "latents": q.mean().numpy(),
            "latent_stddevs": q.stddev().numpy(),
        }
        columns |= model.log_prob(x, self.seed, self.label, columns["number"])
        columns |= _calibration(model.decode(q.mean(), self.label), x)
        for name, values in columns.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise FloatingPointError(f"{name} is not finite")
        return [{k: v[i] for k, v in columns.items()} for i in range(len(x))]


def _calibration(p, x: np.ndarray) -> dict[str, np.ndarray]:
    meter = CalibrationMeter()
    meter.update(p, tf.constant(x.reshape(len(x), -1)))
    squares, residuals = meter.of_each_image()
    return {
        "component_squares": squares.astype(np.float32),
        "residual_square": residuals.astype(np.float32),
    }
