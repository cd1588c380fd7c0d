"""Image data sets under one contract: float32 in [0, 1], [H, W, C], official splits."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

from filelock import FileLock

SPLITS = ("train", "validation", "test")
NAMES = ("avatars",)


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared data set."""

    examples: Any  # tf.data.Dataset of dicts with a uint8 "image" [H, W, C] and attributes
    count: int
    image_shape: tuple[int, int, int]
    info: Any  # tfds.core.DatasetInfo


@contextlib.contextmanager
def _building(directory: str):
    """One process at a time builds a data set; on remote storage the user sees to that."""
    if "://" in directory:
        yield
        return
    lock = Path(f"{directory}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        yield


def prepare(name: str, split: str, variant: str = "64x64", data_dir: str | None = None) -> Source:
    """Builds the data set if need be and opens one split.

    Args:
      name: one of `NAMES`.
      split: one of `SPLITS`.
      variant: the builder's config, for `avatars` an image size such as "64x64".
      data_dir: where TFDS keeps its files; None for its own default.

    Raises:
      ValueError: an unknown name, variant or split.
    """
    import tensorflow_datasets as tfds

    from tf_structvae.datasets.avatars import Avatars

    if name not in NAMES:
        raise ValueError(f"data set must be one of {NAMES}, got {name!r}.")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}.")
    variants = tuple(c.name for c in Avatars.BUILDER_CONFIGS)
    if variant not in variants:
        raise ValueError(f"variant of {name} must be one of {variants}, got {variant!r}.")

    def make():
        return Avatars(config=variant, data_dir=data_dir or None)

    with _building(make().data_dir):
        builder = make()  # knows what another process may have built meanwhile
        builder.download_and_prepare()
    examples = builder.as_dataset(
        split=split, read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    )
    return Source(
        examples,
        builder.info.splits[split].num_examples,
        tuple(builder.info.features["image"].shape),
        builder.info,
    )


def load(
    name: str,
    split: str,
    batch_size: int,
    steps: int | None = None,
    variant: str = "64x64",
    data_dir: str | None = None,
    seed: int = 0,
):
    """A `tf.data.Dataset` of float32 images [B, H, W, C] in [0, 1].

    "train" is shuffled from the seed and ends after `steps` batches (None: one pass); the other
    splits are one ordered pass.
    """
    from tf_structvae.datasets import pipeline

    source = prepare(name, split, variant, data_dir)
    if split != "train":
        return pipeline.evaluation_batches(source.examples, batch_size)
    steps = source.count // batch_size if steps is None else steps
    return pipeline.training_batches(source.examples, source.count, batch_size, steps, seed)
