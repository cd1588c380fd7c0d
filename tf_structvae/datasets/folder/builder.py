"""`image_folder`: anybody's folder of PNG, JPEG and WebP files, as a TFDS builder.

Every file is decoded, checked and fitted once, into records; see docs/image_folder.md.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds
from tqdm.auto import tqdm

from tf_structvae.datasets import resize
from tf_structvae.datasets.dealt import Deal
from tf_structvae.datasets.folder import image_files
from tf_structvae.datasets.folder.config import ImageFolderConfig, config_name, make_config
from tf_structvae.datasets.folder.image_files import Refused
from tf_structvae.datasets.folder.listing import File, Listing
from tf_structvae.datasets.splits import SPLITS

__all__ = ["ImageFolder", "ImageFolderConfig", "config_name", "make_config"]

_DESCRIPTION = """\
The images of a folder of the user's own, fitted to one size ("{policy}"). Folder: {root}
"""
SKIPPED = "skipped.json"  # beside the records
_ALL_LISTED = 1000  # refused files in the error of strict mode


class _Fitted(NamedTuple):
    png: bytes
    transparent: bool


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """TFDS builder; `ImageFolder(config=make_config(root)).download_and_prepare()`.

    Examples are in the order of paths. Features: "image" uint8 [H, W, C], "filename" relative to
    the root, and "label" where the layout has labels.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS: list[ImageFolderConfig] = []
    deal: Deal = staticmethod(image_files.in_threads)
    """Fits the files; `preparation` may put a runner here."""
    _started: bool
    _refused: list[tuple[str, Refused]]
    _transparent: int

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
        return 3 if _any_colour(c.listing, c.background) else 1

    def download_and_prepare(self, **kwargs) -> None:
        """As of TFDS; then reports the files left out.

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
        if self._transparent:
            colour = "#{:02x}{:02x}{:02x}".format(*self.builder_config.background)
            print(
                f"{listing.root}: {self._transparent} of {_count(listing)} files have transparent "
                f"parts, which show {colour} (config.data.background)."
            )
        if self._refused:
            print(
                f"{listing.root}: {len(self._refused)} of {_count(listing)} files skipped.\n"
                f"{image_files.summarise(self._refused)}\nlist      {self.data_path / SKIPPED}"
            )

    def _split_generators(self, dl_manager):
        c = self.builder_config
        self._started, self._transparent = True, 0
        self._refused = [(path, Refused(why)) for path, why in c.listing.refused]
        if c.strict and self._refused:
            self._refuse_all(c.listing.files)
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        c = self.builder_config
        files = [f for f in c.listing.files if f.split == split]
        count = 0
        channels = self.info.features["image"].shape[-1]
        fit = functools.partial(_fit, c.root, c.background, channels, (c.height, c.width), c.policy)
        fitted = self.deal(fit, files)
        for file, made in tqdm(fitted, f"fitting {split}", len(files), leave=False, unit="image"):
            if isinstance(made, Refused):
                if c.strict:
                    self._refuse_all(c.listing.files[c.listing.files.index(file) :])
                self._refused.append((file.path, made))
                continue
            self._transparent += made.transparent
            label = {} if file.label is None else {"label": file.label}
            yield count, {"image": io.BytesIO(made.png), "filename": file.path, **label}
            count += 1
        if not count:
            raise ValueError(
                f"manual_dir {c.root!r}: no image of split {split!r} can be used.\n"
                f"{image_files.summarise(self._refused)}"
            )
        if split == SPLITS[-1] and self._refused:
            self._write_skipped()

    def _refuse_all(self, files: Sequence[File]) -> None:
        """Strict mode's error, after a look at all files that were not decoded yet."""
        c = self.builder_config
        checked = image_files.in_threads(functools.partial(_check, c.root), files)
        bar = tqdm(checked, "checking", len(files), unit="image")
        bad = [*self._refused, *((file.path, why) for file, why in bar if why is not None)]
        raise ValueError(
            f"manual_dir {c.root!r}: {len(bad)} of {_count(c.listing)} files cannot be used "
            "(strict):\n"
            f"{image_files.summarise(bad, _ALL_LISTED)}"
        )

    def _write_skipped(self) -> None:
        skipped = [{"path": p, "reason": w.reason, "detail": w.detail} for p, w in self._refused]
        text = json.dumps({"manual_dir": self.builder_config.root, "skipped": skipped}, indent=2)
        (self.data_path / SKIPPED).write_text(text + "\n")  # moves along with the records


def _count(listing: Listing) -> int:
    return len(listing.files) + len(listing.refused)


def _read(root: str, file: File) -> bytes:
    try:
        with tf.io.gfile.GFile(f"{root}/{file.path}", "rb") as f:
            return f.read()
    except (OSError, tf.errors.OpError) as error:
        raise Refused("cannot be read", str(error)) from error


def _fit(
    root: str,
    background: tuple[int, int, int],
    channels: int,
    size: tuple[int, int],
    policy: str,
    file: File,
) -> _Fitted | Refused:
    try:
        decoded = image_files.decode(_read(root, file), background)
    except Refused as why:
        return why
    image = resize.to_channels_pillow(decoded.image, channels)
    png = io.BytesIO()
    resize.fit_pillow(image, size, policy).save(png, format="PNG")
    return _Fitted(png.getvalue(), decoded.transparent)


def _check(root: str, file: File) -> Refused | None:
    try:
        image_files.decode(_read(root, file))
    except Refused as why:
        return why
    return None


def _has_colour(root: str, background: tuple[int, int, int], file: File) -> bool:
    try:
        return image_files.has_colour(_read(root, file), background)
    except Refused:
        return False


@functools.lru_cache(maxsize=4)
def _any_colour(listing: Listing, background: tuple[int, int, int]) -> bool:
    look = functools.partial(_has_colour, listing.root, background)
    looked = image_files.in_threads(look, listing.files)
    with contextlib.closing(looked):  # the first one with colour ends it
        bar = tqdm(looked, "looking for colour", len(listing.files), unit="image", leave=False)
        return any(colour for _, colour in bar)
