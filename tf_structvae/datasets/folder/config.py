"""The options of `image_folder`, and the name that a folder and its options go by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import tensorflow_datasets as tfds

from tf_structvae.datasets import resize
from tf_structvae.datasets.background import DEFAULT, parse
from tf_structvae.datasets.folder import listing as folder_listing
from tf_structvae.datasets.folder.listing import Listing


@dataclasses.dataclass
class ImageFolderConfig(tfds.core.BuilderConfig):
    """A folder and what is to become of its images; made by `make_config`."""

    root: str = ""
    height: int = 64
    width: int = 64
    policy: str = "crop"
    channels: int | None = None
    strict: bool = False
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    background: tuple[int, int, int] = (255, 255, 255)
    # TFDS logs the configuration
    listing: Listing = dataclasses.field(kw_only=True, repr=False)


def make_config(
    root: str,
    height: int = 64,
    width: int = 64,
    policy: str = "crop",
    channels: int | None = None,
    strict: bool = False,
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    background: str = DEFAULT,
) -> ImageFolderConfig:
    """Lists a folder and names its configuration after what is there.

    Args:
      root: the folder (what the user gives as `manual_dir`), local or for `tf.io.gfile`.
      height: of the images made.
      width: of the images made.
      policy: one of `fit.POLICIES`.
      channels: 1, 3, or None for 3 if any image has colour and 1 if none has.
      strict: whether one unusable file is an error, and not left out.
      fractions: of train, validation and test, where no folders name them.
      background: what shows through transparent parts, "#rrggbb" or a colour's name.

    Returns:
      The configuration for `ImageFolder`.

    Raises:
      ValueError, FileNotFoundError, PermissionError: a wrong argument, or a folder that cannot be
        used, see `folder_listing.scan`.
    """
    resize.check((height, width), policy, channels)
    fractions = _check_fractions(fractions)
    colour = parse(background)
    listing = folder_listing.scan(root, fractions)
    options: dict[str, Any] = {
        "root": listing.root,
        "height": height,
        "width": width,
        "policy": policy,
        "channels": channels,
        "strict": bool(strict),
        "fractions": fractions,
        "background": colour,
    }
    told = json.dumps([options, listing.fingerprint()])
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    name = f"{height}x{width}_{policy}_{channels or 'auto'}_{digest}"
    return ImageFolderConfig(name=name, listing=listing, **options)


def config_name(root: str, *args, **kwargs) -> str:
    """The name under which TFDS keeps a folder with these options, which are `make_config`'s.

    It changes with the options and with any image's path, size or time of change: what is read
    under it is what the folder holds.

    Args:
      root: of the folder.
      *args: those of `make_config`.
      **kwargs: likewise.
    """
    return make_config(root, *args, **kwargs).name


def _check_fractions(fractions) -> tuple[float, float, float]:
    f = tuple(float(x) for x in fractions)
    if len(f) != 3 or min(f) <= 0 or abs(sum(f) - 1) > 1e-6:
        raise ValueError(
            "fractions must be three numbers > 0 (train, validation, test) that sum to 1, got "
            f"{fractions!r}."
        )
    return f[0], f[1], f[2]
