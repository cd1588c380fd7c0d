"""`tfds:<name>`: any data set that TFDS knows, if it has one image an example."""

from __future__ import annotations

import difflib

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

ALIASES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
ALLOWED = "one image [height, width, channels] an example, uint8, 1 or 3 channels"


def builder(name: str, data_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """Opens a data set of TFDS, whether prepared or not; `prepare` fetches it.

    Args:
      name: as `tfds.builder` takes it, such as "mnist" or "cifar10_corrupted/fog_1:1.0.0", or a
        directory of records that TFDS wrote, local or gs://...; a leading "tfds:" is allowed.
      data_dir: where TFDS keeps its files; None or "" for its own default.

    Raises:
      ValueError: TFDS does not know the name, config or version; or its images are not allowed,
        see `image_key`.
    """
    name = name.removeprefix("tfds:")
    try:
        if tf.io.gfile.exists(f"{name}/dataset_info.json"):
            found = tfds.builder_from_directory(name)
        else:
            found = tfds.builder(name, data_dir=data_dir or None)
    except tfds.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False))
        hint = f"; close to it: {', '.join(close)}" if close else ""
        raise ValueError(f"tfds:{name} is no data set of TFDS {tfds.__version__}{hint}.") from error
    except (ValueError, AssertionError) as error:  # a name that is none, a config, a version
        raise ValueError(f"tfds:{name} cannot be opened: {_one_line(error)}") from error
    image_key(found.info.features, name)
    return found


def prepare(found: tfds.core.DatasetBuilder) -> None:
    """Fetches and writes the records, if need be, as TFDS does.

    Raises:
      OSError: in one line, why that failed: no network, no room, files to be fetched by hand.
    """
    try:
        found.download_and_prepare()
    except Exception as error:  # each data set has code of its own, and fails in its own way
        raise OSError(
            f"tfds:{found.info.full_name} could not be fetched or prepared in {found.data_dir} "
            f"({type(error).__name__}: {_one_line(error)}). Without a network, give a data_dir in "
            "which it is prepared."
        ) from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."


def image_key(features: tfds.features.FeaturesDict, name: str = "") -> str:
    """Name of the image: "image" if there is one, else the only one.

    Maps of labels (`tfds.features.LabeledImage`) do not count as images.

    Args:
      features: `info.features`.
      name: of the data set, for errors.

    Raises:
      ValueError: no image or several; a video or sequence; not uint8; not 1 or 3 channels.
    """
    label = f"tfds:{name}".removesuffix(":")
    images = [k for k, f in features.items() if _is_image(f)]
    if "image" in features:
        key = "image"
    elif len(images) == 1:
        key = images[0]
    else:
        kinds = {k: type(f).__name__ for k, f in features.items()}
        found = f"images {images}" if images else f"no image among its features {kinds}"
        raise ValueError(f"{label} has {found}; allowed is {ALLOWED}.")
    feature = features[key]
    if not _is_image(feature):
        raise ValueError(
            f"{label} has {key!r} of type {type(feature).__name__}; allowed is {ALLOWED}."
        )
    dtype = np.dtype(feature.np_dtype)
    if len(feature.shape) != 3 or dtype != np.uint8 or feature.shape[-1] not in (1, 3):
        raise ValueError(
            f"{label} has {key!r} of shape {feature.shape} and {dtype}; allowed is {ALLOWED}."
        )
    return key


def _is_image(feature) -> bool:
    labels = isinstance(feature, tfds.features.LabeledImage)
    return isinstance(feature, tfds.features.Image) and not labels


def splits(info: tfds.core.DatasetInfo) -> tuple[dict[str, str], str]:
    """What to read for "train", "validation" and "test", and a sentence on where that is from.

    Official splits are taken as they are. What is missing is carved from the training split: its
    last 10 per cent, or, where both are missing, the last 10 for validation and the 10 before for
    test. A data set with a single split of any name is carved whole.

    Args:
      info: of a prepared data set.

    Raises:
      ValueError: not prepared, no split to train on, or too few examples to carve from.
    """
    sizes = {name: info.splits[name].num_examples for name in info.splits}
    sizes = {name: size for name, size in sizes.items() if size}
    if not sizes:
        raise ValueError(f"tfds:{info.full_name} has no examples: it is not prepared.")
    official, base = _official(info.full_name, list(sizes))
    missing = [s for s in ("test", "validation") if s not in official]
    instructions, start = {"train": base}, 100 - 10 * len(missing)
    if missing:
        instructions["train"] = f"{base}[:{start}%]"
    for i, split in enumerate(missing):
        first, last = start + 10 * i, start + 10 * (i + 1)
        instructions[split] = f"{base}[{first}%:{last}%]" if last < 100 else f"{base}[{first}%:]"
    instructions = {s: official.get(s) or instructions[s] for s in ALIASES}
    empty = [s for s, what in instructions.items() if not info.splits[what].num_examples]
    if empty:
        raise ValueError(
            f"tfds:{info.full_name} has {sizes[base]} examples in {base!r}, too few to carve "
            f"{', '.join(missing)} from."
        )
    return instructions, _note(instructions, sizes)


def _official(name: str, found: list[str]) -> tuple[dict[str, str], str]:
    """Official validation and test splits, and the split to train on."""
    official = {
        split: next(a for a in aliases if a in found)
        for split, aliases in ALIASES.items()
        if any(a in found for a in aliases)
    }
    base = official.pop("train", None)
    if base:
        return official, base
    if len(found) == 1:
        return {}, found[0]
    others = [s for s in found if s not in official.values()]
    if len(others) == 1:
        return official, others[0]
    raise ValueError(f"tfds:{name} has splits {found}; none is 'train' or the only other one.")


def _note(instructions: dict[str, str], sizes: dict[str, int]) -> str:
    return "; ".join(
        f"{split} = {what} ({'official' if what in sizes else 'carved here, not official'})"
        for split, what in instructions.items()
    )
