"""`brains`: axial slices of one anatomy, varied synthetically; a TFDS builder without download."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from tf_structvae.datasets.drawn import brain_drawing as drawing
from tf_structvae.datasets.drawn.config import sized, tiny
from tf_structvae.datasets.drawn.drawing_pool import draw_split

_DESCRIPTION = """\
Grey axial T1 slices of one real anatomy, varied synthetically. The anatomy is the skull-stripped
MNI152 template that nilearn carries, made from real scans: the average of 152 people, so no single
person's brain. Slice position, pose, smooth warp, ventricle size, contrast, brightness, bias field
and noise are drawn offline from a seed, independently of each other, from distributions made up
for this data set. Nothing here is a claim about any population, disease or scanner.
"""

# The bundled file is named mni_icbm152_t1_tal_nlin_sym_09a and is its own mirror image, so it is
# the symmetric release, though nilearn 0.14.1 describes it as "asymmetrical ICBM152 2009".
_CITATION = """\
@article{fonov2011unbiased,
  title = {Unbiased average age-appropriate atlases for pediatric studies},
  author = {Fonov, Vladimir and Evans, Alan C. and Botteron, Kelly and Almli, C. Robert and
            McKinstry, Robert C. and Collins, D. Louis},
  journal = {NeuroImage},
  volume = {54},
  number = {1},
  pages = {313--327},
  year = {2011},
  doi = {10.1016/j.neuroimage.2010.07.033}
}
@article{fonov2009unbiased,
  title = {Unbiased nonlinear average age-appropriate brain templates from birth to adulthood},
  author = {Fonov, V. S. and Evans, A. C. and McKinstry, R. C. and Almli, C. R. and
            Collins, D. L.},
  journal = {NeuroImage},
  volume = {47},
  pages = {S102},
  year = {2009},
  doi = {10.1016/S1053-8119(09)70884-5},
  note = {template: ICBM 152 nonlinear symmetric 2009a, T1, skull-stripped, as bundled with the
          Python package nilearn and read by nilearn.datasets.load_mni152_template}
}
"""

# nilearn itself (BSD) lists the template's licence as "unknown" in its description of ICBM 152.
# The notice is the one of the template's authors, as quoted in github.com/dipy/dipy/pull/681.
_LICENSE = """\
Template: Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal
Neurological Institute, McGill University. Permission to use, copy, modify, and distribute it for
any purpose and without fee is granted provided that this copyright notice appears in all copies;
it is provided "as is" without express or implied warranty. (nilearn, which redistributes it, is
BSD-licensed and gives the template's own license as unknown.)
"""


class Brains(tfds.core.GeneratorBasedBuilder):
    """TFDS builder; `Brains(config="96x96").download_and_prepare()` draws on all cores."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        sized(96, 96, "96 x 96 pixels of 2.25 mm."),
        sized(192, 192, "192 x 192 pixels of 1.125 mm."),
        sized(48, 48, "48 x 48 pixels of 4.5 mm, for studies."),
        tiny(24),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        c = self.builder_config
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            homepage="https://nist.mni.mcgill.ca/icbm-152-nonlinear-atlases-2009/",
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,  # example i is slice i; training shuffles anyway
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(c.height, c.width, 1)),
                    **{name: np.float32 for name in drawing.ATTRIBUTES},
                }
            ),
        )

    def _split_generators(self, dl_manager):
        drawing.load_template()  # here, so that a missing package is reported once, and first
        return {
            split: self._generate_examples(split, getattr(self.builder_config, split))
            for split in ("train", "validation", "test")
        }

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict]]:
        c = self.builder_config
        for index, png, a in draw_split(drawing.draw, c.seed, split, count, c.height, c.width):
            yield index, {"image": io.BytesIO(png), **{k: a[k] for k in drawing.ATTRIBUTES}}
