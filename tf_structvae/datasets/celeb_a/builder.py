"""`celeb_a`: photographed faces at their native 218x178, from prepared or original files.

The records are those of TFDS's own `celeb_a` 2.1.0 (names, types, version, splits, file names), so
each can open what the other prepared. Unlike TFDS's this never goes to the network, and it decodes
every image once to see that it is whole.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from tf_structvae.datasets.celeb_a import files
from tf_structvae.datasets.dealt import Deal
from tf_structvae.datasets.splits import SPLITS

SHAPE = (218, 178, 3)
_PART = 256  # images that are checked at a time: an archive is opened for each

_DESCRIPTION = """\
CelebFaces Attributes (CelebA), aligned and cropped: 202,599 photographs of 10,177 celebrities, each
with 40 yes-or-no attributes and 5 landmarks. The JPEG bytes are those of the original files.
Landmarks and identities of -1 were not in the files that this was prepared from.
"""

_CITATION = """\
@inproceedings{liu2015faceattributes,
  title = {Deep Learning Face Attributes in the Wild},
  author = {Liu, Ziwei and Luo, Ping and Wang, Xiaogang and Tang, Xiaoou},
  booktitle = {Proceedings of the International Conference on Computer Vision (ICCV)},
  year = {2015}
}
"""

_LICENSE = (
    "Non-commercial research only, under the agreement on the home page; the images are not the "
    "property of MMLAB, The Chinese University of Hong Kong."
)


class CelebA(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """TFDS builder; reads the original files in `manual_dir`. See `builder`."""

    name = "celeb_a"  # not registered: within TFDS the name stays with TFDS's own builder
    VERSION = tfds.core.Version("2.1.0")
    RELEASE_NOTES = {"2.1.0": "As TFDS's own 2.1.0, without the download."}

    deal: Deal | None = None
    """Decodes the images beforehand; without it each is decoded when it is written."""

    def __init__(self, *, manual_dir: str = "", **kwargs):
        super().__init__(**kwargs)
        self._manual_dir = manual_dir

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            homepage=files.PAGE,
            citation=_CITATION,
            license=_LICENSE,
            disable_shuffling=True,  # in the order of the file names; training shuffles anyway
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=SHAPE, encoding_format="jpeg"),
                    "landmarks": {n: np.int64 for n in files.LANDMARKS},
                    "attributes": {n: np.bool_ for n in files.ATTRIBUTES},
                    "identity": {n: np.int64 for n in files.IDENTITY},
                }
            ),
        )

    def _split_generators(self, dl_manager):
        layout = files.find(self._manual_dir)
        listing = files.read_listing(layout)
        counts = {split: len(names) for split, names in listing.splits.items()}
        if counts != files.COUNTS:
            logging.warning("celeb_a: images %s, the whole of CelebA has %s.", counts, files.COUNTS)
        return {split: self._generate_examples(split, layout, listing) for split in SPLITS}

    def _generate_examples(
        self, split: str, layout: files.Layout, listing: files.Listing
    ) -> Iterator[tuple[int, dict]]:
        from tqdm.auto import tqdm

        self._check_all(split, layout, listing)
        with files.open_images(layout.images) as (_, read):
            names = tqdm(listing.splits[split], desc=f"celeb_a {split}", unit=" images")
            for index, name in enumerate(names):
                data = read(name)
                if self.deal is None:
                    files.check_image(data, name)
                yield index, {"image": io.BytesIO(data), **_annotations(name, listing)}

    def _check_all(self, split: str, layout: files.Layout, listing: files.Listing) -> None:
        """
        Raises:
          ValueError: an image is damaged; the first one.
        """
        if self.deal is None:
            return
        names = listing.splits[split]
        parts = [tuple(names[i : i + _PART]) for i in range(0, len(names), _PART)]
        for _, problem in self.deal(functools.partial(files.first_problem, layout.images), parts):
            if problem:
                raise ValueError(problem)


def _annotations(name: str, listing: files.Listing) -> dict[str, dict]:
    def row(table: files.Table, columns: tuple[str, ...]) -> dict[str, int]:
        return dict(zip(columns, table[name] if table else [-1] * len(columns), strict=True))

    attributes = row(listing.attributes, files.ATTRIBUTES)
    return {
        "attributes": {k: v > 0 for k, v in attributes.items()},
        "landmarks": row(listing.landmarks, files.LANDMARKS),
        "identity": row(listing.identity, files.IDENTITY),
    }


def builder(data_dir: str | None = None, manual_dir: str | None = None) -> tfds.core.DatasetBuilder:
    """Opens CelebA; `download_and_prepare()` of the result writes the records if need be.

    Prepared data in `data_dir` come first, then the original files in `manual_dir`. Nothing is
    fetched from the network.

    Args:
      data_dir: holds, or shall hold, `celeb_a/2.x.y`; local or remote ("gs://..."); None or "" for
        the default of TFDS.
      manual_dir: local folder with img_align_celeba.zip (or its unpacked folder),
        list_eval_partition.txt and list_attr_celeba.txt; optionally
        list_landmarks_align_celeba.txt and identity_CelebA.txt. See docs/celeba.md.

    Raises:
      FileNotFoundError: neither; with what to fetch and where to put it. Files missing in either.
      ValueError: what is prepared is not CelebA at 218 x 178 with its three splits.
    """
    new = CelebA(data_dir=data_dir or None, manual_dir=manual_dir or "")
    folder = epath.Path(new.data_dir).parent
    prepared = _newest(folder)
    if prepared is not None:
        return _opened(prepared)
    if manual_dir:
        files.find(manual_dir)
        return new
    raise FileNotFoundError(
        f"celeb_a is not prepared in {folder} and no manual_dir is given.\n"
        f"CelebA may be used for non-commercial research only; agree to that on {files.PAGE}, and\n"
        "fetch from there, into one folder: img_align_celeba.zip, list_eval_partition.txt,\n"
        "list_attr_celeba.txt and, if wanted, list_landmarks_align_celeba.txt. Then give that\n"
        "folder as manual_dir (--config.data.manual_dir=FOLDER).\n"
        "Nothing is fetched here. `tfds build celeb_a --data_dir=DIRECTORY` tries to, but Google\n"
        "Drive often refuses for want of quota; give its DIRECTORY as data_dir. See docs/celeba.md."
    )


def _newest(folder: epath.Path) -> epath.Path | None:
    """The newest prepared version 2 in a data set's folder."""
    if not folder.exists():
        return None
    found = [
        (tuple(int(n) for n in p.name.split(".")), p)
        for p in folder.iterdir()
        if re.fullmatch(r"2\.\d+\.\d+", p.name) and (p / "dataset_info.json").exists()
    ]
    return max(found)[1] if found else None


def _opened(directory: epath.Path) -> tfds.core.DatasetBuilder:
    """Opens prepared records and checks that they are all there, without reading them."""
    opened = tfds.builder_from_directory(directory)
    features = opened.info.features
    shape = features["image"].shape if "image" in features else None
    if shape != SHAPE:
        raise ValueError(f"{directory} has images of shape {shape}; celeb_a has {SHAPE}.")
    for split in SPLITS:
        if split not in opened.info.splits or not opened.info.splits[split].num_examples:
            raise ValueError(
                f"{directory} has splits {sorted(opened.info.splits)}; celeb_a has {SPLITS}."
            )
        paths = [epath.Path(p) for p in opened.info.splits[split].filepaths]
        absent = [p.name for p in paths if not p.exists()]
        if absent:
            raise FileNotFoundError(
                f"{directory} lacks {len(absent)} of {len(paths)} files of {split}: {absent[0]}."
            )
    return opened
