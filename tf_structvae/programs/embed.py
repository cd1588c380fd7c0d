"""Writes latents, log p(x) and calibration of each of many images, by a saved model."""

from __future__ import annotations

from absl import flags

from tf_structvae.programs import bulk_flags, command

_BULK = bulk_flags.BulkFlags()
_FORMAT = flags.DEFINE_enum("format", "numpy", ["numpy", "tfrecord"], "Of the files.")


def main() -> None:
    import tf_structvae as sv
    from tf_structvae.export.bulk import models
    from tf_structvae.export.bulk.embed import Embed
    from tf_structvae.export.bulk.job import Job
    from tf_structvae.utilities import pipelines  # noqa: F401  before any work is lost

    path = models.path(_BULK.model.value)
    model = sv.load(path)
    given = _BULK.inputs(model)
    if given is None:
        raise ValueError("--images or --data must be given: the images to embed.")
    label = _BULK.label(model)
    settings = {
        "kind": "embeddings",
        "format": _FORMAT.value,
        "model": models.digest(path),
        "label": label,
        "seed": _BULK.seed.value,
        "images": given.about(),
    }
    job = Job(_BULK.output, given.count, _BULK.shard_size.value, settings)
    work = Embed(job, path, given, _BULK.seed.value, label)
    _BULK.run(work, "embedded")


def run() -> None:
    command.run(main)
