"""`avatars`: cartoon faces drawn on the spot, a TFDS builder that needs no download."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from tf_structvae.datasets.drawn import avatar_drawing as drawing
from tf_structvae.datasets.drawn.config import sized, tiny
from tf_structvae.datasets.drawn.drawing_pool import draw_split

_DESCRIPTION = """\
Cartoon faces whose skin, hair, clothing, background and light vary independently of each other,
drawn offline from a seed. A stand-in for photographed faces in structure (coherent regions of
independent colour), not a data set about people.
"""

_CITATION = """\
@misc{avataaars,
  title = {Avataaars: a library of vector avatars},
  author = {Pablo Stanley},
  note = {drawn with the Python packages python-avatars (MIT) and resvg-py},
  howpublished = {https://avataaars.com}
}
"""


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255.0


class Avatars(tfds.core.GeneratorBasedBuilder):
    """TFDS builder; `Avatars(config="64x64").download_and_prepare()` draws on all cores."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        sized(64, 64, "64 x 64 pixels, the default experiment."),
        sized(218, 178, "The size of CelebA."),
        sized(32, 32, "32 x 32 pixels, for ablations."),
        tiny(16),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        c = self.builder_config
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            homepage="https://avataaars.com",
            citation=_CITATION,
            license="Artwork by Pablo Stanley, free for personal and commercial use; code MIT.",
            disable_shuffling=True,  # example i is face i; training shuffles anyway
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(c.height, c.width, 3)),
                    "hair_style": tfds.features.ClassLabel(names=drawing.HAIR_STYLES),
                    "clothing": tfds.features.ClassLabel(names=drawing.CLOTHES),
                    "glasses": tfds.features.ClassLabel(names=drawing.GLASSES),
                    "facial_hair": tfds.features.ClassLabel(names=drawing.FACIAL_HAIR),
                    "mouth": tfds.features.ClassLabel(names=drawing.MOUTHS),
                    "eyes": tfds.features.ClassLabel(names=drawing.EYES),
                    "skin_tone": np.float32,
                    "skin_color": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                    "hair_color": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                    "background_color": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                    "clothing_color": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                    "light_angle": np.float32,
                    "light_strength": np.float32,
                    "brightness": np.float32,
                    "rotation": np.float32,
                }
            ),
        )

    def _split_generators(self, dl_manager):
        return {
            split: self._generate_examples(split, getattr(self.builder_config, split))
            for split in ("train", "validation", "test")
        }

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
        c = self.builder_config
        drawn = draw_split(drawing.draw, c.seed, split, count, c.height, c.width)
        for index, png, attributes in drawn:
            yield index, self._features(png, attributes)

    def _features(self, png: bytes, attributes: dict) -> dict:
        kept = {k: attributes[k] for k in self.info.features if k != "image"}
        kept.update({k: _rgb(v) for k, v in kept.items() if k.endswith("_color")})
        return {"image": io.BytesIO(png), **kept}
