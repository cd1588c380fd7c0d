"""Makes the records of a data set once, and opens them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from filelock import FileLock, Timeout

from tf_structvae.datasets import dealt, registry, resize
from tf_structvae.datasets.source import Info, Source
from tf_structvae.datasets.spec import Spec
from tf_structvae.datasets.splits import SPLITS
from tf_structvae.utilities import files

if TYPE_CHECKING:
    from tf_structvae.utilities.pipelines import Runner

_WAITING = "work"  # results of a runner, until the records are there
_CATALOGUE = "tensorflow.org/datasets/catalog/"
_ALONE = "a runner prepares celeb_a, ukbb and image_folder; this one is ready soon without."


def _tells_something(record: Any) -> bool:
    """Whether a line of TFDS's log is not what every start of a source of one's own says."""
    text = record.getMessage()
    return "Using custom data configuration" not in text and "has no dataset_info.json" not in text


logging.get_absl_handler().addFilter(_tells_something)


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


def _remove_left_over(builder: Any) -> None:
    """Removes what killed preparations left, unless another process holds the lock there."""
    directory = Path(builder.data_dir)
    root = directory.parents[1 if builder.builder_config else 0]
    for left in [*root.glob("incomplete.*_*"), *root.glob("*/incomplete.*_*")]:
        whole = left.with_name(left.name.partition("_")[2])
        with contextlib.suppress(Timeout):
            held = whole == directory
            with contextlib.nullcontext() if held else FileLock(f"{whole}.lock", timeout=0):
                shutil.rmtree(left, ignore_errors=True)


def built(opened: registry.Opened, runner: Runner | None = None) -> Any:
    """A builder whose records are there.

    Args:
      opened: the data set.
      runner: of Apache Beam, to deal out the work; None for this machine without it.

    Raises:
      OSError: the disk is full, or cannot be written.
      RuntimeError: the runner failed.
      ValueError: there is nothing that it could do for this data set.
    """
    builder = opened.make()
    if runner is not None and not hasattr(builder, "deal"):
        raise ValueError(f"runner must be left out for {builder.name}: {_ALONE}")
    if builder.is_prepared():  # perhaps where nobody may write
        return builder
    directory = str(builder.data_dir)
    new, waiting = opened.make(), f"{directory}.{_WAITING}"
    if runner is not None:
        new.deal = dealt.by_runner(runner, waiting)
    try:
        with _building(directory):
            if opened.own and "://" not in directory:
                _remove_left_over(builder)
            opened.prepare(new)
        if runner is not None and tf.io.gfile.exists(waiting):
            tf.io.gfile.rmtree(waiting)
    except Exception as error:
        if not files.is_full(error):
            raise
        raise OSError(
            f"the records of {builder.name} do not fit on the disk: No space left on device for "
            f"{directory}. Make room, or give another data_dir (config.data.dir)."
        ) from error
    return opened.make()


def _shape(feature: Any, spec: Spec) -> tuple[int | None, int | None, int | None]:
    height, width, channels = feature.shape
    if spec.image_size is not None:
        height, width = spec.image_size
    return height, width, spec.channels or channels


def _decode(feature: Any, spec: Spec) -> Callable[[tf.Tensor], tf.Tensor]:
    height, width, channels = feature.shape

    def decode(encoded: tf.Tensor) -> tf.Tensor:
        image = feature.decode_example(encoded)
        if spec.channels not in (None, channels):
            image = resize.to_channels_tensor(image, spec.channels)
        if spec.image_size not in (None, (height, width)):
            image = resize.fit_tensor(image, spec.image_size, spec.fit)
        return image

    return decode


def _info(opened: registry.Opened, builder: Any, spec: Spec) -> Info:
    about, prepared = builder.info, builder.is_prepared()
    instructions, note = opened.splits(about)
    splits = {k: about.splits[v].num_examples for k, v in instructions.items()}
    if not splits:  # what some configs tell beforehand
        planned = {k: getattr(builder.builder_config, k, None) for k in SPLITS}
        splits = {k: v for k, v in planned.items() if isinstance(v, int)}
    variant = builder.builder_config.name if builder.builder_config else ""
    # TFDS names a page of its catalogue where a builder names none, also for builders not its own
    own = not type(builder).__module__.startswith("tensorflow_datasets")
    homepage = "" if own and _CATALOGUE in about.homepage else about.homepage
    return Info(
        name=f"{spec.name}/{variant}" if variant else spec.name,
        description=about.description or "",
        image_shape=_shape(about.features[opened.image], spec),
        splits=splits,
        split_note=note,
        attributes={k: str(v) for k, v in about.features.items() if k != opened.image},
        licence=about.redistribution_info.license or "",
        citation=about.citation or "",
        homepage=homepage,
        directory=str(builder.data_dir),
        prepared=prepared,
        bytes=about.dataset_size or 0 if prepared else 0,
        classes={
            k: tuple(f.names)
            for k, f in about.features.items()
            if isinstance(f, tfds.features.ClassLabel) and f.num_classes
        },
    )


def info(spec: Spec) -> Info:
    """What a data set is; makes no records."""
    opened = registry.open(spec)
    return _info(opened, opened.make(), spec)


def open_split(opened: registry.Opened, builder: Any, spec: Spec, split: str) -> Source:
    """One split of a builder whose records are there.

    Raises:
      ValueError: an empty split, or images of unlike sizes without `image_size`.
    """
    about, feature = _info(opened, builder, spec), builder.info.features[opened.image]
    if None in about.image_shape:
        raise ValueError(
            f"image_size must be given for {spec.name}, whose images are of unlike sizes "
            f"({feature.shape}): (height, width)."
        )
    if not about.splits.get(split):
        raise ValueError(f"the {split} split of {about.name} is empty: {about.directory}.")
    examples = builder.as_dataset(
        split=opened.splits(builder.info)[0][split],
        decoders={opened.image: tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    if opened.image != "image":
        name = opened.image
        examples = examples.map(lambda e: {"image": e[name], **{k: e[k] for k in e if k != name}})
    stored = builder.info.dataset_size / max(builder.info.splits.total_num_examples, 1)
    return Source(
        examples,
        _decode(feature, spec),
        about.splits[split],
        about.image_shape,  # type: ignore[arg-type]
        stored,
        about,
    )


def prepare(spec: Spec, split: str, runner: Runner | None = None) -> Source:
    """Makes the records of a data set if need be, and opens one split.

    Raises:
      ValueError: an unknown split, images of unlike sizes without `image_size`, or what a source
        refuses.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}.")
    opened = registry.open(spec)
    source = open_split(opened, built(opened, runner), spec, split)
    return source.take(spec.limit) if split == "train" and spec.limit else source
