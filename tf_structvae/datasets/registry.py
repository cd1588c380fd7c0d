"""From a `Spec` to the TFDS builder of its records; a source is imported when asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tf_structvae.datasets.spec import SPLITS, Spec, is_tfds

OFFICIAL = {split: split for split in SPLITS}


def _prepare(builder: Any) -> None:
    builder.download_and_prepare()


class Opened(NamedTuple):
    """A builder, and where in it things are."""

    builder: Any  # tfds.core.DatasetBuilder
    splits: dict[str, str] = OFFICIAL  # of ours, the TFDS instruction; {} if not known yet
    image: str = "image"  # the feature
    split_note: str = "official"
    prepare: Callable[[Any], None] = _prepare  # writes the records of the builder


def _suiting(configs, image_size: tuple[int, int] | None) -> str:
    """The config of that size, else the smallest that covers it, else the first."""
    if image_size is None:
        return configs[0].name
    height, width = image_size
    full = [c for c in configs if not c.name.endswith("_tiny")]
    same = [c for c in full if (c.height, c.width) == (height, width)]
    covering = [c for c in full if c.height >= height and c.width >= width]
    covering.sort(key=lambda c: c.height * c.width)
    return (same or covering or full)[0].name


def _drawn(builder: Any, spec: Spec) -> Opened:
    configs = builder.BUILDER_CONFIGS
    names = tuple(c.name for c in configs)
    if spec.variant and spec.variant not in names:
        raise ValueError(f"variant of {spec.name} must be one of {names}, got {spec.variant!r}.")
    chosen = spec.variant or _suiting(configs, spec.image_size)
    return Opened(builder(config=chosen, data_dir=spec.data_dir))


def _avatars(spec: Spec) -> Opened:
    from tf_structvae.datasets.avatars import Avatars

    return _drawn(Avatars, spec)


def _brains(spec: Spec) -> Opened:
    from tf_structvae.datasets.brains import Brains

    return _drawn(Brains, spec)


def _ukbb(spec: Spec) -> Opened:
    from tf_structvae.datasets.ukbb import UKBB, UKBBConfig

    options = {k: v for k, v in spec.nifti.items() if v is not None}
    if spec.image_size is not None:
        options["height"], options["width"] = spec.image_size
    try:
        config = UKBBConfig(manual_dir=_files(spec), strict=spec.strict, **options)
    except TypeError as error:
        raise ValueError(f"nifti has a field that ukbb does not know: {error}.") from error
    note = "by participant, through a hash of their number"
    return Opened(UKBB(config=config, data_dir=spec.data_dir), split_note=note)


def _celeb_a(spec: Spec) -> Opened:
    from tf_structvae.datasets import celeb_a

    return Opened(celeb_a.builder(spec.data_dir, spec.manual_dir))


def _tfds(spec: Spec) -> Opened:
    from tf_structvae.datasets import any_tfds

    builder = any_tfds.builder(spec.name, spec.data_dir)
    image = any_tfds.image_key(builder.info.features, spec.name)
    splits, note = any_tfds.splits(builder.info) if builder.info.splits else ({}, "")
    return Opened(builder, splits, image, note, any_tfds.prepare)


def _small(spec: Spec) -> Opened:
    from tf_structvae.datasets import small

    builder = {"mnist5k": small.Mnist5k, "lfw25": small.Lfw25}[spec.name]
    return Opened(builder(data_dir=spec.data_dir), split_note="80/10/10, not official")


def _files(spec: Spec) -> str:
    if not spec.manual_dir:
        raise ValueError(f"manual_dir must be the folder of the original files for {spec.name}.")
    return spec.manual_dir


_SOURCES: dict[str, Callable[[Spec], Opened]] = {
    "avatars": _avatars,
    "brains": _brains,
    "celeb_a": _celeb_a,
    "ukbb": _ukbb,
    "mnist5k": _small,
    "lfw25": _small,
}


def open(spec: Spec) -> Opened:
    """The builder of a data set; makes no records.

    Raises:
      ValueError, FileNotFoundError, ImportError: what is missing, and what to do.
    """
    if spec.variant and spec.name not in ("avatars", "brains"):
        raise ValueError(f"variant must be '' for {spec.name}, got {spec.variant!r}.")
    return _tfds(spec) if is_tfds(spec.name) else _SOURCES[spec.name](spec)
