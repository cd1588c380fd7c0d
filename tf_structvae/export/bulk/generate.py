"""Thousands of pictures of a saved model, a shard at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_structvae.export.bulk import models, writers
from tf_structvae.export.bulk.inputs import Folder, Read, Records
from tf_structvae.export.bulk.job import Job
from tf_structvae.export.loading.model import LoadedModel

DRAWN = ("samples", "means")
GIVEN = ("reconstructions", "fills")
KINDS = (*DRAWN, *GIVEN)


@dataclasses.dataclass(frozen=True)
class Generate:
    """Makes shards of one kind of pictures; called with the number of a shard.

    "samples" are those of `LoadedModel.sample`, "means" of `sample_means`, "reconstructions" of
    `reconstruct`, and "fills" of `condition` at the latents of the image, where `mask` says which
    pixels are given. Picture k depends on the seed and k alone, or on image k of the inputs.

    Attributes:
      job: with "format" among its settings.
      model: the path of what was saved.
      kind: one of `KINDS`.
      seed: of "samples" and "means".
      label: of a conditional model; None of any other.
      inputs: images of "reconstructions" and "fills".
      mask: of "fills", bool [H, W], true where a pixel is given.
    """

    job: Job
    model: str
    kind: str
    seed: int = 0
    label: int | None = None
    inputs: Folder | Records | None = None
    mask: np.ndarray | None = None

    def __call__(self, shard: int) -> None:
        model = models.opened(self.model)
        first, last = self.job.bounds(shard)
        if self.inputs is None:
            make = model.sample if self.kind == "samples" else model.sample_means
            images = make(last - first, self.seed, labels=self.label, first=first)
            writers.write_pictures(self.job, self.kind, shard, range(first, last), images)
            self.job.finish(shard)
            return
        kept, left_out = usable(self.inputs.read(first, last))
        numbers, found, more = rows(kept, lambda images: self._of_images(model, images))
        shown = np.stack(found) if found else np.zeros([0, *model.image_shape], np.float32)
        writers.write_pictures(self.job, self.kind, shard, numbers, shown)
        self.job.finish(shard, [*left_out, *more])

    def _of_images(self, model: LoadedModel, kept: list[Read]) -> np.ndarray:
        x = pixels(kept)
        if self.kind == "reconstructions":
            return model.reconstruct(x, self.label)
        return model.condition(self.mask, x, images=x, labels=self.label)


def pixels(kept: list[Read]) -> np.ndarray:
    """Of images that have some, [n, H, W, C].

    Args:
      kept: from `usable`.
    """
    return np.stack([image.pixels for image in kept if image.pixels is not None])


def usable(found: Iterator[Read]) -> tuple[list[Read], list[dict[str, Any]]]:
    """The images that have pixels, and what is said of the others.

    Args:
      found: of a shard.
    """
    kept, left_out = [], []
    for image in found:
        if image.pixels is None:
            left_out.append(_said(image, image.reason))
        else:
            kept.append(image)
    return kept, left_out


def rows(
    kept: list[Read], work: Callable[[list[Read]], Iterable[Any]]
) -> tuple[list[int], list[Any], list[dict[str, Any]]]:
    """What `work` makes of each image; one that it cannot take spoils no other.

    Args:
      kept: images with pixels.
      work: images -> one row each.

    Returns:
      Numbers of the images and their rows; and what is said of those that have none.
    """
    if not kept:
        return [], [], []
    try:
        return [image.number for image in kept], list(work(kept)), []
    except (ValueError, FloatingPointError, tf.errors.InvalidArgumentError) as error:
        if len(kept) == 1:
            reason = str(error).splitlines()[0][:300]
            return [], [], [_said(kept[0], reason)]
    numbers: list[int] = []
    found: list[Any] = []
    left_out: list[dict[str, Any]] = []
    for image in kept:
        n, row, more = rows([image], work)
        numbers += n
        found += row
        left_out += more
    return numbers, found, left_out


def _said(image: Read, reason: str) -> dict[str, Any]:
    return {"image": image.number, "name": image.name, "reason": reason}
