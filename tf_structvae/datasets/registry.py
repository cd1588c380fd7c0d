"""From a `Spec` to the TFDS builder of its records; a source is imported when asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from tf_structvae.datasets.spec import Spec, is_tfds
from tf_structvae.datasets.splits import SPLITS


def splits_as_named(note: str, info: Any) -> tuple[dict[str, str], str]:
    """Splits that have our names in the records."""
    return {split: split for split in SPLITS if split in info.splits}, note


def _prepare(builder: Any) -> None:
    builder.download_and_prepare()


class Opened(NamedTuple):
    """How to get at the records of a data set."""

    # a tfds.core.DatasetBuilder; a new one sees what another process wrote meanwhile
    make: Callable[[], Any]
    # DatasetInfo of the records -> for our splits the TFDS instruction, and where they are from
    splits: Callable[[Any], tuple[dict[str, str], str]] = functools.partial(
        splits_as_named, "official"
    )
    image: str = "image"  # the feature
    prepare: Callable[[Any], None] = _prepare  # writes the records of a builder
    own: bool = True  # whether no other program writes them, such as TFDS's own


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


def _drawn(spec: Spec) -> Opened:
    from tf_structvae.datasets.drawn.avatars import Avatars
    from tf_structvae.datasets.drawn.brains import Brains

    builder: Any = {"avatars": Avatars, "brains": Brains}[spec.name]
    configs = builder.BUILDER_CONFIGS
    names = tuple(c.name for c in configs)
    if spec.variant and spec.variant not in names:
        raise ValueError(f"variant of {spec.name} must be one of {names}, got {spec.variant!r}.")
    chosen = spec.variant or _suiting(configs, spec.image_size)
    return Opened(lambda: builder(config=chosen, data_dir=spec.data_dir))


def _celeb_a(spec: Spec) -> Opened:
    from tf_structvae.datasets.celeb_a import builder as celeb_a

    celeb_a.builder(spec.data_dir, spec.manual_dir)  # refuses at once what is missing
    return Opened(lambda: celeb_a.builder(spec.data_dir, spec.manual_dir), own=False)


def _ukbb(spec: Spec) -> Opened:
    from tf_structvae.datasets.nifti.ukbb import UKBB, UKBBConfig

    options = dict(spec.nifti)
    if spec.image_size is not None:
        options["height"], options["width"] = spec.image_size
    try:
        config = UKBBConfig(manual_dir=_files(spec), strict=spec.strict, **options)
    except TypeError as error:
        raise ValueError(f"nifti has a field that ukbb does not know: {error}.") from error
    splits = functools.partial(splits_as_named, "by a hash of the participant")
    return Opened(lambda: UKBB(config=config, data_dir=spec.data_dir), splits)


def _image_folder(spec: Spec) -> Opened:
    from tf_structvae.datasets.folder.builder import ImageFolder, make_config

    root = _files(spec)
    if spec.image_size is None:
        raise ValueError("image_size must be given for image_folder: (height, width).")
    config = make_config(
        root,
        *spec.image_size,
        spec.fit,
        spec.channels,
        spec.strict,
        background=spec.background,
    )
    splits = functools.partial(splits_as_named, "those of the folder, or by a hash of the path")
    return Opened(lambda: ImageFolder(config=config, data_dir=spec.data_dir), splits)


def _small(spec: Spec) -> Opened:
    from tf_structvae.datasets.icons import Icons
    from tf_structvae.datasets.small import Lfw25, Mnist5k

    builder = {"icons": Icons, "mnist5k": Mnist5k, "lfw25": Lfw25}[spec.name]
    splits = functools.partial(splits_as_named, "80/10/10, not official")
    return Opened(lambda: builder(data_dir=spec.data_dir), splits)


def _tfds(spec: Spec) -> Opened:
    from tf_structvae.datasets import any_tfds

    def splits(info: Any) -> tuple[dict[str, str], str]:
        return any_tfds.splits(info) if info.splits else ({}, "")

    def make() -> Any:
        return any_tfds.builder(spec.name, spec.data_dir)

    image = any_tfds.image_key(make().info.features, spec.name)
    return Opened(make, splits, image, any_tfds.prepare, own=False)


def _files(spec: Spec) -> str:
    if not spec.manual_dir:
        raise ValueError(f"manual_dir must be the folder of the original files for {spec.name}.")
    return spec.manual_dir


_SOURCES: dict[str, Callable[[Spec], Opened]] = {
    "avatars": _drawn,
    "brains": _drawn,
    "celeb_a": _celeb_a,
    "ukbb": _ukbb,
    "image_folder": _image_folder,
    "icons": _small,
    "mnist5k": _small,
    "lfw25": _small,
}


def open(spec: Spec) -> Opened:
    """Finds a data set; makes no records.

    Raises:
      ValueError, FileNotFoundError, ImportError: what is missing, and what to do.
    """
    if spec.variant and _SOURCES.get(spec.name) is not _drawn:
        raise ValueError(f"variant must be '' for {spec.name}, got {spec.variant!r}.")
    return _tfds(spec) if is_tfds(spec.name) else _SOURCES[spec.name](spec)
