"""Any number of small colour pictures, quickly made: what shows that memory does not grow."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import tensorflow_datasets as tfds

SIDE = 64


@dataclasses.dataclass
class GeneratedConfig(tfds.core.BuilderConfig):
    """How many."""

    train: int = 1000


def config(count: int) -> GeneratedConfig:
    """The config of so many pictures."""
    return GeneratedConfig(name=str(count), train=count)


class Generated(tfds.core.GeneratorBasedBuilder):
    """Smooth random colours with a little noise, 64x64x3."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Smooth random colours with a little noise.",
            disable_shuffling=True,
            features=tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(SIDE, SIDE, 3))}
            ),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(self.builder_config.train)}

    def _generate_examples(self, count: int):
        from PIL import Image

        rng = np.random.default_rng(0)
        for i in range(count):
            small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
            smooth = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.int16)
            noisy = np.clip(smooth + rng.integers(-2, 3, smooth.shape), 0, 255).astype(np.uint8)
            png = io.BytesIO()
            Image.fromarray(noisy).save(png, format="PNG", compress_level=1)
            yield i, {"image": io.BytesIO(png.getvalue())}
