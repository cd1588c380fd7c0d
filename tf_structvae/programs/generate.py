"""Writes samples, means, reconstructions or filled-in images of a saved model, by the thousand."""

from __future__ import annotations

from typing import Any

from absl import flags

from tf_structvae.programs import bulk_flags, command

_BULK = bulk_flags.BulkFlags()
_COUNT = flags.DEFINE_integer("count", None, "Of samples or means.", lower_bound=1)
_KIND = flags.DEFINE_enum(
    "kind",
    "samples",
    ["samples", "means", "reconstructions", "fills"],
    "What is made; the last two of --images or --data.",
)
_MASK = flags.DEFINE_string("mask", None, "Of fills: an image, white where pixels are given.")
_FORMAT = flags.DEFINE_enum("format", "png", ["png", "numpy", "tfrecord"], "Of the files.")


def _read_mask(shape: tuple[int, int, int]):
    import numpy as np
    from PIL import Image

    if not _MASK.value:
        raise ValueError("--mask must be given for fills: an image, white where pixels are given.")
    with Image.open(_MASK.value) as image:
        if image.size != (shape[1], shape[0]):
            raise ValueError(
                f"--mask must be {shape[1]}x{shape[0]} pixels, as the images of the model; "
                f"{_MASK.value} is {image.size[0]}x{image.size[1]}."
            )
        return np.asarray(image.convert("L")) > 127


def main() -> None:
    import hashlib

    import tf_structvae as sv
    from tf_structvae.export.bulk import models
    from tf_structvae.export.bulk.generate import DRAWN, Generate
    from tf_structvae.export.bulk.job import Job
    from tf_structvae.utilities import pipelines  # noqa: F401  before any work is lost

    path = models.path(_BULK.model.value)
    model = sv.load(path)
    kind, given = _KIND.value, _BULK.inputs(model)
    drawn = kind in DRAWN
    if drawn == (given is not None):
        allowed = "left out" if drawn else "given: a folder of images, or a data set"
        raise ValueError(f"--images and --data must be {allowed} for {kind}.")
    if drawn == (_COUNT.value is None):
        raise ValueError(f"--count must be {'given' if drawn else 'left out'} for {kind}.")
    if _MASK.value and kind != "fills":
        raise ValueError(f"--mask must be left out for {kind}.")
    label = _BULK.label(model)
    settings: dict[str, Any] = {
        "kind": kind,
        "format": _FORMAT.value,
        "model": models.digest(path),
        "label": label,
    }
    mask = _read_mask(model.image_shape) if kind == "fills" else None
    if given is None:
        settings["seed"] = _BULK.seed.value
        count = _COUNT.value or 0
    else:
        settings["images"], count = given.about(), given.count
    if mask is not None:
        settings["mask"] = hashlib.sha256(mask.tobytes()).hexdigest()[:16]
    job = Job(_BULK.output, count, _BULK.shard_size.value, settings)
    work = Generate(job, path, kind, _BULK.seed.value, label, given, mask)
    _BULK.run(work, kind)


def run() -> None:
    command.run(main)
