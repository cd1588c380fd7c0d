"""`image_folder`: anybody's folder of PNG, JPEG and WebP files, as a TFDS builder.

Every file is decoded, checked and fitted once, into records; see docs/image_folder.md.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
from collections.abc import Iterator

import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from tqdm.auto import tqdm

from tf_structvae.datasets import fit, image_files
from tf_structvae.datasets.folder_listing import SPLITS, File, Listing
from tf_structvae.datasets.image_files import Refused
from tf_structvae.datasets.image_folder_config import (
    ImageFolderConfig,
    config_name,
    make_config,
)

__all__ = ["ImageFolder", "ImageFolderConfig", "config_name", "make_config"]

_DESCRIPTION = """\
The images of a folder of the user's own, fitted to one size ("{policy}"). Folder: {root}
"""
SKIPPED = "skipped.json"  # beside the records
_ALL_LISTED = 1000  # refused files in the error of strict mode


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """TFDS builder; `ImageFolder(config=make_config(root)).download_and_prepare()`.

    Examples are in the order of paths. Features: "image" uint8 [H, W, C], "filename" relative to
    the root, and "label" where the layout has labels.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS: list[ImageFolderConfig] = []
    _started: bool
    _refused: list[tuple[str, Refused]]

    def _info(self) -> tfds.core.DatasetInfo:
        c = self.builder_config
        if c is None:
            raise ValueError("image_folder needs config=make_config(manual_dir, ...).")
        features = {
            "image": tfds.features.Image(shape=(c.height, c.width, self._channels())),
            "filename": tfds.features.Text(),
        }
        if c.listing.labels:
            features["label"] = tfds.features.ClassLabel(names=c.listing.labels)
        return self.dataset_info_from_configs(
            description=_DESCRIPTION.format(policy=c.policy, root=c.root),
            license="That of the user's own images, which is not known here.",
            disable_shuffling=True,  # training shuffles anyway
            features=tfds.features.FeaturesDict(features),
        )

    def _channels(self) -> int:
        c = self.builder_config
        if c.channels is not None:
            return c.channels
        if (self.data_path / "features.json").exists():  # spares the look at every image
            prepared = tfds.features.FeaturesDict.from_config(os.fspath(self.data_path))
            return prepared["image"].shape[-1]
        return 3 if _any_colour(c.listing) else 1

    def download_and_prepare(self, **kwargs) -> None:
        """As of TFDS; then tells of the files left out.

        Raises:
          ValueError: no image of a split can be used; or, if strict, any cannot: lists them all.
        """
        self._started = False
        super().download_and_prepare(**kwargs)
        if not self._started:  # the records were there
            return
        listing = self.builder_config.listing
        for note in listing.notes:
            print(f"{listing.root}: {note}.")
        if self._refused:
            print(
                f"{listing.root}: {len(self._refused)} of {len(listing.files)} files skipped.\n"
                f"{image_files.summarise(self._refused)}\nlist      {self.data_path / SKIPPED}"
            )

    def _split_generators(self, dl_manager):
        self._started, self._refused = True, []
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        c = self.builder_config
        files = [f for f in c.listing.files if f.split == split]
        count = 0
        fitted = image_files.in_threads(self._fit, files)
        for file, png in tqdm(fitted, f"fitting {split}", len(files), leave=False, unit="image"):
            if isinstance(png, Refused):
                if c.strict:
                    self._refuse(file)
                self._refused.append((file.path, png))
                continue
            label = {} if file.label is None else {"label": file.label}
            yield count, {"image": io.BytesIO(png), "filename": file.path, **label}
            count += 1
        if not count:
            raise ValueError(
                f"manual_dir {c.root!r}: no image of split {split!r} can be used.\n"
                f"{image_files.summarise(self._refused)}"
            )
        if split == SPLITS[-1] and self._refused:
            self._write_skipped()

    def _fit(self, file: File) -> bytes | Refused:
        c = self.builder_config
        try:
            image = _decode(c.root, file)
        except Refused as why:
            return why
        image = fit.to_channels_pillow(image, self.info.features["image"].shape[-1])
        png = io.BytesIO()
        fit.fit_pillow(image, (c.height, c.width), c.policy).save(png, format="PNG")
        return png.getvalue()

    def _refuse(self, first: File) -> None:
        """Strict mode's error, after a look at all that comes after the `first` bad file."""
        c = self.builder_config
        files = c.listing.files[c.listing.files.index(first) :]
        checked = image_files.in_threads(functools.partial(_check, c.root), files)
        bar = tqdm(checked, "checking", len(files), unit="image")
        bad = [(file.path, why) for file, why in bar if why is not None]
        raise ValueError(
            f"manual_dir {c.root!r}: {len(bad)} of {len(c.listing.files)} files cannot be used "
            "(strict):\n"
            f"{image_files.summarise(bad, _ALL_LISTED)}"
        )

    def _write_skipped(self) -> None:
        skipped = [{"path": p, "reason": w.reason, "detail": w.detail} for p, w in self._refused]
        text = json.dumps({"manual_dir": self.builder_config.root, "skipped": skipped}, indent=2)
        (self.data_path / SKIPPED).write_text(text + "\n")  # moves along with the records


def _read(root: str, file: File) -> bytes:
    try:
        with tf.io.gfile.GFile(f"{root}/{file.path}", "rb") as f:
            return f.read()
    except (OSError, tf.errors.OpError) as error:
        raise Refused("cannot be read", str(error)) from error


def _decode(root: str, file: File) -> Image.Image:
    return image_files.decode(_read(root, file))


def _check(root: str, file: File) -> Refused | None:
    try:
        _decode(root, file)
    except Refused as why:
        return why
    return None


def _has_colour(root: str, file: File) -> bool:
    try:
        return image_files.has_colour(_read(root, file))
    except Refused:
        return False


@functools.lru_cache(maxsize=4)
def _any_colour(listing: Listing) -> bool:
    looked = image_files.in_threads(functools.partial(_has_colour, listing.root), listing.files)
    with contextlib.closing(looked):  # the first one with colour ends it
        bar = tqdm(looked, "looking for colour", len(listing.files), unit="image", leave=False)
        return any(colour for _, colour in bar)
