"""`icons`: drawings that thousands of people know, out of a package; a TFDS builder."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tf_structvae.datasets import splits

SIDE = 64
_FRACTIONS = (0.8, 0.1, 0.1)
_MARGIN = 1  # of the 24 units of a drawing, on each side
_LEAST = 3000

_DESCRIPTION = """\
7,447 Material Design Icons of the Pictogrammers, black on white, 64 x 64 grey, drawn from the
vector files that the package mkdocs-material carries; how many there are depends on its version.
There is no official split: by a hash of the first word of the name 80 per cent train, 10 validate
and 10 test, so that variants of one drawing (account, account-plus, account-outline) are together.
"""

_CITATION = """\
@misc{pictogrammers,
  title = {Material Design Icons},
  author = {Austin Andrews and Pictogrammers},
  howpublished = {https://pictogrammers.com/library/mdi/},
  note = {as bundled with the Python package mkdocs-material}
}
"""


def files() -> list[Path]:
    """The vector files, sorted by name.

    Raises:
      ImportError: mkdocs-material is not installed.
      ValueError: this mkdocs-material has too few.
    """
    try:
        import material
    except ImportError as error:
        raise ImportError(
            "icons come out of the package mkdocs-material: pip install 'tf_structvae[data]'"
        ) from error
    folder = Path(str(material.__path__[0])) / "templates/.icons/material"
    found = sorted(folder.glob("*.svg"))
    if len(found) < _LEAST:
        raise ValueError(f"mkdocs-material has {len(found)} icons; at least {_LEAST} are needed.")
    return found


def split_of(name: str) -> str:
    """The split of an icon, by the first word of its name.

    Args:
      name: such as "account-plus".
    """
    digest = hashlib.sha256(name.split("-")[0].encode()).digest()
    return splits.at(int.from_bytes(digest[:8], "big") / 2**64, _FRACTIONS)


def draw(svg: str, side: int = SIDE) -> np.ndarray:
    """An icon black on white, uint8 [side, side, 1].

    Args:
      svg: of 24 x 24 units.
      side: in pixels.
    """
    import resvg_py
    from PIL import Image

    edge = 24 + 2 * _MARGIN
    framed = svg.replace('viewBox="0 0 24 24"', f'viewBox="-{_MARGIN} -{_MARGIN} {edge} {edge}"')
    png = resvg_py.svg_to_bytes(svg_string=framed, width=side, height=side, background="white")
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("L"))[..., None]


class Icons(tfds.core.GeneratorBasedBuilder):
    """TFDS builder `icons`: image [64, 64, 1] and the name."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            homepage="https://pictogrammers.com/library/mdi/",
            citation=_CITATION,
            license="Pictogrammers Free License: icons Apache 2.0.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(SIDE, SIDE, 1)),
                    "name": tfds.features.Text(),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        by_split: dict[str, list[Path]] = {split: [] for split in splits.SPLITS}
        for path in files():
            by_split[split_of(path.stem)].append(path)
        return {split: self._generate_examples(paths) for split, paths in by_split.items()}

    def _generate_examples(self, paths) -> Iterator[tuple[str, dict]]:
        for path in paths:
            yield path.stem, {"image": draw(path.read_text()), "name": path.stem}
