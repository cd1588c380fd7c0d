"""What a user says about the images wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from tf_structvae.datasets import background
from tf_structvae.datasets import resize as fit

"""Of every data set."""
NAMES = ("avatars", "brains", "celeb_a", "ukbb", "image_folder", "icons", "mnist5k", "lfw25")
"""The data sets of this package."""
TFDS_PREFIX = "tfds:"
FITS = fit.POLICIES
"""How images of another size get to `image_size`."""
NIFTI = {
    "axis": "axial",
    "slices": (0.4, 0.6, 0.02),
    "spacing": 0.0,
    "pattern": "",
    "normalization": "percentile:99.5",
    "participant": "",
    "fractions": (0.8, 0.1, 0.1),
    "seed": 0,
}
"""The further fields of `ukbb` and their defaults, docs/ukbb.md."""


def check_name(name: str) -> None:
    """Refuses a data set that nobody knows.

    Raises:
      ValueError: neither of `NAMES` nor "tfds:" and a name.
    """
    if name in NAMES or (isinstance(name, str) and name[len(TFDS_PREFIX) :] and is_tfds(name)):
        return
    raise ValueError(f"data set must be one of {NAMES} or {TFDS_PREFIX}NAME, got {name!r}.")


def is_tfds(name: str) -> bool:
    """Whether a name is that of any TFDS data set."""
    return name.startswith(TFDS_PREFIX)


@dataclasses.dataclass(frozen=True)
class Spec:
    """A data set and how its images are to come out.

    Attributes:
      name: one of `NAMES`, or "tfds:NAME".
      variant: the builder's config, such as "64x64"; "" takes the one that suits `image_size`, or
        the first.
      data_dir: where the prepared records are kept, local or gs://...; None for TFDS's default.
      manual_dir: the original files, where a source needs some.
      image_size: (height, width); None for the size as stored.
      fit: how an image of another size gets there, one of `FITS`.
      channels: 1 or 3; None for what is stored.
      strict: whether one bad file is an error, where it is left out otherwise.
      limit: use only so many images of the training split; None for all.
      nifti: further fields of `ukbb`; an error elsewhere, unless they are the defaults.
      background: what shows through transparent parts of the files of `image_folder`, "#rrggbb" or
        a colour's name; an error elsewhere, unless it is the default.
    """

    name: str
    variant: str = ""
    data_dir: str | None = None
    manual_dir: str | None = None
    image_size: tuple[int, int] | None = None
    fit: str = "crop"
    channels: int | None = None
    strict: bool = False
    limit: int | None = None
    nifti: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    background: str = background.DEFAULT

    def __post_init__(self):
        """
        Raises:
          ValueError: a field with a value that is not allowed.
        """
        check_name(self.name)
        size = (1, 1) if self.image_size is None else self.image_size
        fit.check(size, self.fit, self.channels)
        if self.limit is not None and not (type(self.limit) is int and self.limit > 0):
            raise ValueError(f"limit must be None or a positive integer, got {self.limit!r}.")
        given = background.parse(self.background) != background.parse(background.DEFAULT)
        if given and self.name != "image_folder":
            raise ValueError(
                f"background must be {background.DEFAULT!r} for {self.name}, got "
                f"{self.background!r}: it is of image_folder alone."
            )
        self._check_nifti()

    def _check_nifti(self) -> None:
        if self.name == "ukbb":
            return
        for key, value in self.nifti.items():
            if (
                key not in NIFTI
                or (tuple(value) if isinstance(value, list) else value) != NIFTI[key]
            ):
                allowed = repr(NIFTI[key]) if key in NIFTI else "left out"
                raise ValueError(
                    f"nifti.{key} must be {allowed} for {self.name}, got {value!r}: it is of ukbb "
                    "alone."
                )

    @classmethod
    def of_config(cls, data) -> Spec:
        """The `data` part of an experiment's config, where "", () and 0 stand for None.

        Args:
          data: `config.data`.
        """
        return cls(
            name=data.name,
            variant=data.variant,
            data_dir=data.dir or None,
            manual_dir=data.manual_dir or None,
            image_size=tuple(data.image_size) or None,
            fit=data.fit,
            channels=data.channels or None,
            strict=data.strict,
            limit=data.limit or None,
            nifti=data.nifti.to_dict(),
            background=data.background,
        )
