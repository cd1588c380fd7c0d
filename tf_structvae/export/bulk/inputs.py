"""The images that a job takes: a folder's, or a data set's, by their numbers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_structvae import datasets
from tf_structvae.datasets import background, resize
from tf_structvae.datasets.folder import image_files, walk
from tf_structvae.datasets.folder.image_files import Refused


class Read(NamedTuple):
    """One image: its number and name, and its pixels [H, W, C] in [0, 1], or why there are none."""

    number: int
    name: str
    pixels: np.ndarray | None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Folder:
    """The image files of a folder, in the order of their paths, fitted to one size.

    Attributes:
      root: local, or anywhere that `tf.io.gfile` reads.
      image_shape: (H, W, C).
      fit: how an image of another size gets there, one of `datasets.spec.FITS`.
      background: "#rrggbb" or a colour's name, behind transparent parts.
    """

    root: str
    image_shape: tuple[int, int, int]
    fit: str = "crop"
    background: str = background.DEFAULT

    def about(self) -> dict[str, Any]:
        """All that decides the images, as JSON.

        Raises:
          ValueError: no folder, or no image in it.
        """
        resize.check(self.image_shape[:2], self.fit, self.image_shape[2])
        background.parse(self.background)
        listed = _listed(self.root)
        if not listed:
            raise ValueError(f"images {self.root!r} holds no image ({image_files.SUFFIXES}).")
        digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
        return {**dataclasses.asdict(self), "files": digest}

    @property
    def count(self) -> int:
        """Files."""
        return len(_listed(self.root))

    def read(self, first: int, last: int) -> Iterator[Read]:
        """Images `first` to `last` - 1; one that cannot be used comes without pixels."""
        height, width, channels = self.image_shape
        for number, (path, *_) in enumerate(_listed(self.root)[first:last], first):
            try:
                with tf.io.gfile.GFile(f"{self.root}/{path}", "rb") as f:
                    data = f.read()
                image = image_files.decode(data, background.parse(self.background)).image
            except Refused as why:
                yield Read(number, path, None, str(why))
                continue
            except (OSError, tf.errors.OpError) as error:
                yield Read(number, path, None, f"cannot be read: {error}")
                continue
            image = resize.to_channels_pillow(image, channels)
            pixels = np.asarray(resize.fit_pillow(image, (height, width), self.fit), np.float32)
            yield Read(number, path, pixels.reshape(height, width, channels) / 255)


@functools.lru_cache(maxsize=2)
def _listed(root: str) -> list[tuple[str, int, int]]:
    """(path, bytes, time of change) of each image file."""
    return sorted(walk.walk(walk.check_root(root)).images)


@dataclasses.dataclass(frozen=True)
class Records:
    """A split of a data set whose records are made.

    Attributes:
      spec: of the data set, as the arguments of `datasets.Spec`.
      split: one of `datasets.SPLITS`.
      image_shape: (H, W, C).
    """

    spec: tuple[tuple[str, Any], ...]
    split: str
    image_shape: tuple[int, int, int]

    def about(self) -> dict[str, Any]:
        """All that decides the images, as JSON.

        Raises:
          ValueError: images of another shape.
        """
        found = _source(self.spec, self.split)
        if found.image_shape != self.image_shape:
            raise ValueError(
                f"the images of {found.info.name} are {found.image_shape}, those of the model "
                f"{self.image_shape}."
            )
        return {"data": found.info.name, "split": self.split, "examples": found.count}

    @property
    def count(self) -> int:
        """Examples."""
        return _source(self.spec, self.split).count

    def read(self, first: int, last: int) -> Iterator[Read]:
        """Images `first` to `last` - 1."""
        found = _source(self.spec, self.split)
        examples = found.examples.skip(first).take(last - first).as_numpy_iterator()
        for number, example in enumerate(examples, first):
            pixels = found.decode(example["image"]).numpy().astype(np.float32) / 255
            name = example.get("filename", str(number).encode())
            yield Read(number, name.decode(errors="replace"), pixels)


@functools.lru_cache(maxsize=2)
def _source(spec: tuple[tuple[str, Any], ...], split: str) -> datasets.Source:
    return datasets.prepare(datasets.Spec(**dict(spec)), split)
