"""Image data sets under one contract: float32 in [0, 1], [H, W, C], official splits.

```python
images = sv.datasets.load("avatars", "train", (64, 64), batch_size=32)  # a tf.data.Dataset
print(sv.datasets.info("avatars"))
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tf_structvae.datasets.drawn.annotators import draw_annotated_shapes
from tf_structvae.datasets.folder.annotations import load_annotations
from tf_structvae.datasets.source import Info, Source
from tf_structvae.datasets.spec import FITS, NAMES, Spec
from tf_structvae.datasets.splits import SPLITS
from tf_structvae.utilities import checks

if TYPE_CHECKING:
    from tf_structvae.utilities.pipelines import Runner

__all__ = [
    "FITS",
    "NAMES",
    "SPLITS",
    "Info",
    "Source",
    "Spec",
    "draw_annotated_shapes",
    "info",
    "load",
    "load_annotations",
    "prepare",
]


def prepare(spec: Spec, split: str, runner: Runner | None = None) -> Source:
    """Makes the records of a data set if need be, and opens one split.

    Args:
      spec: which data set, and how its images are fitted.
      split: one of `SPLITS`.
      runner: of Apache Beam, to deal out the work of celeb_a, ukbb and image_folder; None for
        this machine without it.

    Returns:
      The split, ready to be read.

    Raises:
      ValueError, FileNotFoundError, ImportError: what is missing, and what to do.
      RuntimeError: the runner failed.
    """
    from tf_structvae.datasets import preparation

    return preparation.prepare(spec, split, runner)


def info(name: str, **options: Any) -> Info:
    """What a data set is: size, splits, shape, licence, citation, and where its files go.

    Args:
      name: see `Spec`.
      **options: further fields of `Spec`.

    Examples:
      >>> import tf_structvae as sv
      >>> sv.datasets.info("avatars", variant="64x64").image_shape
      (64, 64, 3)
    """
    from tf_structvae.datasets import preparation

    return preparation.info(Spec(name, **options))


def load(
    name: str,
    split: str,
    image_size: tuple[int, int] | None = None,
    batch_size: int = 32,
    *,
    steps: int | None = None,
    seed: int = 0,
    flip: bool = False,
    shift: int = 0,
    augment=None,
    shard: tuple[int, int] = (0, 1),
    attributes: bool = False,
    label: str = "",
    **options: Any,
):
    """A `tf.data.Dataset` of float32 images [B, H, W, C] in [0, 1].

    "train" is shuffled from the seed, augmented, and ends after `steps` batches; the other splits
    are one ordered pass over all images as they are.

    Args:
      name: one of `NAMES`, or "tfds:NAME" for any TFDS data set with an image.
      split: one of `SPLITS`.
      image_size: (height, width); None for the size as stored.
      batch_size: images in a batch, over all shards.
      steps: batches of training; None for one pass.
      seed: of order and augmentation.
      flip: mirror half of the training images.
      shift: move training images by up to so many pixels.
      augment: a further change of training images: (images [B, H, W, C], int64 seeds [B, 2]) ->
        images.
      shard: (index, count) of the worker that gets its part of each batch.
      attributes: deliver dicts with "image", "label" and what else each image carries.
      label: a class attribute; deliver (images, its int32 values [B]), for conditional models.
      **options: further fields of `Spec`: variant, data_dir, manual_dir, fit, channels, strict,
        limit, nifti, background.

    Raises:
      ValueError, FileNotFoundError, ImportError: what is missing, and what to do.

    Examples:
      >>> import tf_structvae as sv
      >>> images = sv.datasets.load(
      ...     "avatars", "train", batch_size=8, steps=2, variant="16x16_tiny", data_dir="data"
      ... )
      Downloading and preparing dataset...
      >>> [batch.shape.as_list() for batch in images]
      [[8, 16, 16, 3], [8, 16, 16, 3]]
    """
    spec = Spec(name, image_size=image_size, **options)
    # refused before anything is prepared, and before TensorFlow is loaded
    checks.integer("batch_size", batch_size)
    if steps is not None:
        checks.integer("steps", steps)
    if not isinstance(seed, int):
        raise ValueError(f"seed must be an integer, got {seed!r}.")
    checks.integer("shift", shift, 0)
    from tf_structvae.datasets import augment as changes
    from tf_structvae.datasets import pipeline

    pipeline.check_shard(shard)
    source = prepare(spec, split)
    source.info.class_names(label)
    if split != "train":
        return pipeline.evaluation_batches(source, batch_size, shard, attributes, label)
    chain = changes.chain(flip, shift, augment)
    steps = source.count // batch_size if steps is None else steps
    return pipeline.training_batches(
        source,
        batch_size,
        steps,
        seed,
        augment=chain,
        shard=shard,
        attributes=attributes,
        label=label,
    )
