"""One split of a data set, ready to be read, and what there is to know about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tf_structvae.utilities import checks

if TYPE_CHECKING:  # the processes that draw pictures start without it
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Info:
    """What a data set is.

    Attributes:
      name: with its variant.
      description: a paragraph.
      image_shape: (H, W, C) as delivered; None for a part that differs between images, or is not
        known before the records are made.
      splits: number of images of each; empty where the records are still to be made.
      split_note: which splits are official, and where the others are taken from.
      attributes: what each image carries beside its pixels.
      licence: terms of use.
      citation: BibTeX.
      homepage: where it comes from; empty where it has none.
      directory: where its records are, or will be.
      prepared: whether they are there.
      bytes: their size; 0 where they are still to be made.
      classes: those of the attributes that are one of several classes, with the names of these.
    """

    name: str
    description: str
    image_shape: tuple[int | None, int | None, int | None]
    splits: dict[str, int]
    split_note: str
    attributes: dict[str, str]
    licence: str
    citation: str
    homepage: str
    directory: str
    prepared: bool
    bytes: int
    classes: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def class_names(self, attribute: str) -> tuple[str, ...]:
        """What the labels of an attribute, 0 to K - 1, mean; () of "", which stands for no labels.

        Args:
          attribute: its name, or "".

        Raises:
          ValueError: no such attribute, or one that is no class.
        """
        if attribute and attribute not in self.classes:
            names = ", ".join(self.classes) or "none; it has no labels"
            raise ValueError(
                f"label (config.data.label) must be '' or a class attribute of {self.name}, "
                f"got {attribute!r}; there are: {names}."
            )
        return self.classes[attribute] if attribute else ()

    def __str__(self) -> str:
        counts = ", ".join(f"{k} {v:,}" for k, v in self.splits.items()) or "known once prepared"
        shape = " x ".join("?" if n is None else str(n) for n in self.image_shape)
        state = f"{self.bytes / 1e6:.1f} MB" if self.prepared else "not prepared yet"
        lines = [
            ("name", self.name),
            ("images", f"{shape}, float32 in [0, 1]"),
            ("splits", f"{counts}{f' ({self.split_note})' if self.split_note else ''}"),
            ("attributes", ", ".join(self.attributes) or "none"),
            ("records", f"{self.directory} ({state})"),
            ("licence", self.licence or "not stated"),
            ("homepage", self.homepage),
        ]
        head = "\n".join(f"{label:<11}{text}" for label, text in lines if text)
        parts = (head, self.description.strip(), self.citation.strip())
        return "\n\n".join(filter(None, parts)) + "\n"


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a prepared data set.

    Attributes:
      examples: a `tf.data.Dataset` of dicts with the encoded "image" and attributes, one pass in
        a fixed order.
      decode: an encoded image -> uint8 [H, W, C].
      count: number of examples.
      image_shape: (H, W, C).
      encoded_bytes: of one example, on average.
      info: what the data set is.
    """

    examples: tf.data.Dataset
    decode: Callable[[tf.Tensor], tf.Tensor]
    count: int
    image_shape: tuple[int, int, int]
    encoded_bytes: float
    info: Any

    def take(self, count: int) -> Source:
        """The first `count` examples.

        Args:
          count: how many.

        Raises:
          ValueError: count is no positive integer.
        """
        checks.integer("count", count)
        kept = min(count, self.count)
        return dataclasses.replace(self, examples=self.examples.take(kept), count=kept)
