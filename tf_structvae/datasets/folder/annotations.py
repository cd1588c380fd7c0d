"""A folder of images with the masks that several annotators drew of each, as LIDC-IDRI's crops."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_structvae.datasets.folder import image_files
from tf_structvae.utilities import checks

_MASK = re.compile(r"(?P<stem>.+)_l(?P<annotator>\d+)")


class AnnotatedImages(NamedTuple):
    """Images and what each annotator says of them."""

    images: np.ndarray  # float32 [B, H, W, C], in [0, 1]
    labels: np.ndarray  # int32 [B, H, W, A]; -1 where an annotator has no mask
    names: list[str]  # of the images, sorted


def load_annotations(
    folder: str | Path, size: tuple[int, int] | None = None, threshold: float = 0.5
) -> AnnotatedImages:
    """Reads `images/.../NAME.png` and the masks `gt/.../NAME_l0.png`, `_l1.png` and so on.

    This is the layout in which crops of LIDC-IDRI go round since Kohl et al. (2018); `masks/` may
    stand for `gt/`. A mask is 1 where it is brighter than the threshold. An annotator whose mask of
    an image is missing has the label -1 there, which does not count in losses and scores.

    Args:
      folder: with both.
      size: (height, width) to which all are resized; None: as they are, all alike.
      threshold: of the masks, in (0, 1).

    Raises:
      FileNotFoundError: there is no such folder, no image, or an image without any mask.
      ValueError: a file that cannot be read, or images of several sizes.
    """
    folder = Path(folder)
    if not (checks.is_finite(threshold) and 0 < threshold < 1):
        raise ValueError(f"threshold must be a number between 0 and 1, got {threshold!r}.")
    if size is not None and (
        len(size) != 2 or not all(hasattr(n, "__index__") and n > 0 for n in size)
    ):
        raise ValueError(f"size must be (height, width), got {size!r}.")
    images = _files(folder / "images")
    masks = _files(folder / "gt") or _files(folder / "masks")
    if not images or not masks:
        raise FileNotFoundError(
            f"folder must hold images/NAME.png and gt/NAME_l0.png, NAME_l1.png, ..., got "
            f"{len(images)} images and {len(masks)} masks in {folder}."
        )
    by_image: dict[str, dict[int, Path]] = {}
    for name, path in masks.items():
        found = _MASK.fullmatch(name)
        if found:
            by_image.setdefault(found["stem"], {})[int(found["annotator"])] = path
    without = [name for name in images if name not in by_image]
    if without:
        raise FileNotFoundError(
            f"folder must hold a mask for every image, got {len(without)} without: {without[0]}."
        )
    annotators = 1 + max(k for own in by_image.values() for k in own)
    pictures: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for name in sorted(images):
        picture = _read(images[name], size)
        if pictures and picture.shape != pictures[0].shape:
            raise ValueError(
                f"images must be of one size, or size be given, got {pictures[0].shape} and, of "
                f"{name}, {picture.shape}."
            )
        own = np.full([*picture.shape[:2], annotators], -1, np.int32)
        for k, path in by_image[name].items():
            mask = _read(path, size).mean(-1)
            if mask.shape != picture.shape[:2]:
                raise ValueError(f"mask {path} must be of its image's size, got {mask.shape}.")
            own[..., k] = mask > threshold
        pictures.append(picture)
        labels.append(own)
    return AnnotatedImages(np.stack(pictures), np.stack(labels), sorted(images))


def _files(root: Path) -> dict[str, Path]:
    """Images below a folder, by their path without suffix."""
    found = (p for p in sorted(root.rglob("*")) if p.suffix.lower() in image_files.SUFFIXES)
    return {p.relative_to(root).with_suffix("").as_posix(): p for p in found if p.is_file()}


def _read(path: Path, size) -> np.ndarray:
    """[H, W, C], in [0, 1]."""
    try:
        image = image_files.decode(path.read_bytes()).image
    except image_files.Refused as error:
        raise ValueError(f"{path} cannot be used: {error}.") from None
    if size is not None and image.size != (size[1], size[0]):
        image = image.resize((size[1], size[0]))
    pixels = np.asarray(image, np.float32) / 255.0
    return pixels[..., None] if pixels.ndim == 2 else pixels
