"""`ukbb`: slices of the NIfTI volumes in a folder, such as UK Biobank's T1, as a TFDS builder."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from tf_structvae.datasets import splits
from tf_structvae.datasets.dealt import Deal
from tf_structvae.datasets.nifti import cache
from tf_structvae.datasets.nifti import files as nifti_files
from tf_structvae.datasets.nifti import slicing as nifti
from tf_structvae.datasets.nifti.files import File, Volume
from tf_structvae.datasets.splits import SPLITS

_UNNAMED = {"manual_dir", "workers", "listing"}  # what the records do not depend on, or not as such

_DESCRIPTION = """\
Slices of the NIfTI volumes in a folder, split by participant. Made for UK Biobank's T1-weighted
brain images (field 20252), which are not public and must be there already; any other NIfTI volumes
will do.
"""

_CITATION = """\
@article{alfaroalmagro2018,
  title = {Image processing and Quality Control for the first 10,000 brain imaging datasets from
           {UK} {Biobank}},
  author = {Alfaro-Almagro, Fidel and others},
  journal = {NeuroImage},
  volume = {166},
  pages = {400--424},
  year = {2018},
  doi = {10.1016/j.neuroimage.2017.10.034}
}
"""


@dataclasses.dataclass
class UKBBConfig(tfds.core.BuilderConfig):
    """Which volumes, how they are cut, and who is in which split.

    Attributes:
      name: given by `config_name` when left out.
      manual_dir: the folder; listed when the config is made.
      height, width, axis, slices, spacing, normalization: see `nifti.Slicing`.
      pattern: see `nifti_files.find_volumes`.
      participant: a regular expression, see `nifti_files.participant`.
      fractions: of the participants in `SPLITS`, on average.
      seed: of the split.
      strict: a volume that cannot be used is an error, in place of being left out.
      workers: number of processes; None for one a core.
      listing: of manual_dir.

    Raises:
      ValueError, FileNotFoundError, PermissionError: an argument that will not do.
    """

    name: str = ""
    manual_dir: str = ""
    height: int = nifti.Slicing.height
    width: int = nifti.Slicing.width
    axis: str = nifti.Slicing.axis
    slices: Sequence[float] = nifti.Slicing.slices
    spacing: float = nifti.Slicing.spacing
    pattern: str = ""
    normalization: str | Sequence = nifti.Slicing.normalization
    participant: str = ""
    fractions: Sequence[float] = (0.8, 0.1, 0.1)
    seed: int = 0
    strict: bool = False
    workers: int | None = None
    listing: list[File] = dataclasses.field(default_factory=list, init=False, repr=False)

    def __post_init__(self):
        for key, value in dataclasses.asdict(self.slicing()).items():
            setattr(self, key, value)
        self.fractions = tuple(float(f) for f in self.fractions)
        good = len(self.fractions) == 3 and all(f > 0 for f in self.fractions)
        if not good or not math.isclose(sum(self.fractions), 1.0, abs_tol=1e-6):
            raise ValueError(
                f"fractions of {SPLITS} must be three positive numbers that add up to 1, "
                f"got {self.fractions}."
            )
        try:
            re.compile(self.participant)
        except re.error as error:
            raise ValueError(
                f"participant must be a regular expression, got {self.participant!r}: {error}."
            ) from error
        self.manual_dir = os.path.expanduser(self.manual_dir)
        self.listing = nifti_files.list_files(self.manual_dir)
        self.name = self.name or config_name(self, self.listing)

    def slicing(self) -> nifti.Slicing:
        """How volumes are cut."""
        fields = dataclasses.fields(nifti.Slicing)
        return nifti.Slicing(**{f.name: getattr(self, f.name) for f in fields})


def config_name(options: UKBBConfig, listing: Sequence[File]) -> str:
    """The TFDS config, and so the directory of the records.

    It changes with every option that the records depend on and with the path, size and time of
    change of every file in the folder, so that records are never used for other options or files.
    It does not change when the folder is moved with its times kept (`mv`, `rsync -a`).

    Args:
      options: how volumes are cut.
      listing: of the folder.
    """
    own = {f.name for f in dataclasses.fields(UKBBConfig)}
    own -= {f.name for f in dataclasses.fields(tfds.core.BuilderConfig)} | _UNNAMED
    values = {name: getattr(options, name) for name in sorted(own)}
    files = [dataclasses.astuple(f) for f in listing]
    return f"{options.axis}_{options.height}x{options.width}_{_digest([values, files])}"


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def split_of(participant: str, fractions: Sequence[float], seed: int = 0) -> str:
    """The split of a participant, by a hash: whoever else takes part does not matter.

    Args:
      participant: the identifier.
      fractions: of train, validation and test.
      seed: of the split.
    """
    digest = hashlib.sha256(f"{seed}:{participant}".encode()).digest()
    return splits.at(int.from_bytes(digest[:8], "big") / 2**64, fractions)


class UKBB(tfds.core.GeneratorBasedBuilder):
    """TFDS builder; `UKBB(config=UKBBConfig(manual_dir=...), data_dir=...)`.

    `download_and_prepare()` first cuts all volumes, into `DATA_DIR/ukbb/.cache`, then writes the
    records. Interrupted, it goes on from there when called again; done, it removes the cache.
    `info.metadata["skipped"]` says why volumes were left out.
    """

    name = "ukbb"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    builder_config: UKBBConfig
    deal: Deal | None = None
    """Cuts the volumes; without it processes of this machine do."""

    def _info(self) -> tfds.core.DatasetInfo:
        c = self.builder_config
        if not isinstance(c, UKBBConfig):
            raise ValueError(f"ukbb needs config=UKBBConfig(manual_dir=...), got {c!r}.")
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            homepage="https://biobank.ndph.ox.ac.uk/showcase/field.cgi?id=20252",
            citation=_CITATION,
            license="That of the volumes; UK Biobank's are for approved researchers alone.",
            disable_shuffling=True,  # volume by volume; training shuffles anyway
            metadata=tfds.core.MetadataDict(),
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(c.height, c.width, 1)),
                    "participant": tfds.features.Text(),
                    "volume": tfds.features.Text(),
                    "position": np.float32,  # along the axis, in mm
                }
            ),
        )

    def download_and_prepare(self, **kwargs) -> None:
        super().download_and_prepare(**kwargs)
        shutil.rmtree(self._cache(), ignore_errors=True)

    def _cache(self) -> Path:
        options = [str(self.VERSION), dataclasses.asdict(self.builder_config.slicing())]
        return Path(self._data_dir_root, "ukbb", ".cache", _digest(options))

    def _split_generators(self, dl_manager):
        c = self.builder_config
        if "://" in str(self._data_dir_root):
            raise ValueError(f"data_dir of ukbb must be a local folder, got {self._data_dir_root}.")
        volumes, skipped = nifti_files.find_volumes(c.manual_dir, c.listing, c.pattern)
        whose: dict[Volume, str] = {}
        for volume in volumes:
            try:
                whose[volume] = nifti_files.participant(volume, c.participant)
            except ValueError as error:
                skipped[volume.name] = str(error)
        if c.strict and skipped:
            raise ValueError("strict: {} cannot be used: {}".format(*next(iter(skipped.items()))))
        _refuse_empty_splits(c, whose, skipped)
        ordered = sorted(whose, key=lambda v: (whose[v], v.name))
        skipped |= cache.fill(
            self._cache(), c.manual_dir, ordered, c.slicing(), c.strict, c.workers, self.deal
        )
        whose = {v: whose[v] for v in ordered if v.name not in skipped}
        _warn(skipped, len(whose))
        _refuse_empty_splits(c, whose, skipped)
        self.info.metadata["skipped"] = skipped
        parts: dict[str, dict[Volume, str]] = {s: {} for s in SPLITS}
        for volume, person in whose.items():
            parts[split_of(person, c.fractions, c.seed)][volume] = person
        return {split: self._generate_examples(part) for split, part in parts.items()}

    def _generate_examples(self, whose: dict[Volume, str]) -> Iterator[tuple[int, dict]]:
        index = 0
        for volume, person in whose.items():
            path = cache.entry(self._cache(), self.builder_config.manual_dir, volume)
            for png, position in cache.load(path):
                yield (
                    index,
                    {
                        "image": io.BytesIO(png),
                        "participant": person,
                        "volume": volume.name,
                        "position": position,
                    },
                )
                index += 1


def _refuse_empty_splits(c: UKBBConfig, whose: dict[Volume, str], skipped: dict[str, str]) -> None:
    people = sorted(set(whose.values()))

    def counts(seed: int) -> Counter:
        return Counter(split_of(p, c.fractions, seed) for p in people)

    found = counts(c.seed)
    empty = [s for s in SPLITS if not found[s]]
    if not empty:
        return
    seed = next((s for s in range(100) if len(counts(s)) == len(SPLITS)), None)
    advice = "Add volumes" if seed is None else f"Take seed {seed}, which leaves none empty"
    raise ValueError(
        f"split {empty[0]!r} has no participant: manual_dir {c.manual_dir!r} has {len(people)} "
        f"participants (such as {people[:3]}) in {len(whose)} volumes, of whom seed {c.seed} and "
        f"fractions {c.fractions} put {', '.join(f'{found[s]} in {s}' for s in SPLITS)}. {advice}, "
        f"or give `participant` if these are not the participants.{_reasons(skipped)}"
    )


def _warn(skipped: dict[str, str], usable: int) -> None:
    if skipped:
        logging.warning("%d volumes used, %d not.%s", usable, len(skipped), _reasons(skipped))


def _reasons(skipped: dict[str, str], most: int = 20) -> str:
    lines = [f"\n  {path}: {reason}" for path, reason in list(skipped.items())[:most]]
    rest = len(skipped) - most
    return "".join(lines) + (f"\n  and {rest} more" if rest > 0 else "")
