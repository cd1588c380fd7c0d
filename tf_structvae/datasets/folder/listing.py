"""What a folder of images holds: its layout, splits, labels and fingerprint. No image is opened."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from typing import NamedTuple

from tf_structvae.datasets import splits
from tf_structvae.datasets.folder import walk
from tf_structvae.datasets.folder.image_files import SUFFIXES
from tf_structvae.datasets.splits import SPLITS

_SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}


class File(NamedTuple):
    """One image file: its path relative to the root, with "/", and what became of it."""

    path: str
    size: int  # bytes; -1 if unknown
    mtime_ns: int
    split: str
    label: str | None


@dataclasses.dataclass(frozen=True)
class Listing:
    """All image files below `root`, in the order of splits and then paths."""

    root: str
    files: tuple[File, ...]
    labels: tuple[str, ...]  # sorted; empty if the layout has none
    notes: tuple[str, ...]  # what the user should know of
    refused: tuple[tuple[str, str], ...] = ()  # paths beside `files`, and why they cannot be used

    def fingerprint(self) -> str:
        """16 hex digits that change with the root and any file's path, size or time."""
        entries = [self.root, *(f[:3] for f in self.files)]
        return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]


def position(path: str) -> float:
    """Where the SHA-256 of a relative path lies in [0, 1)."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def hash_split(path: str, fractions: tuple[float, float, float]) -> str:
    """The split of a file by its relative path alone, so that more files move none."""
    return splits.at(position(path), fractions)


def scan(root: str, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)) -> Listing:
    """Lists a folder in one of `folder_walk.LAYOUTS`, local or anywhere that `tf.io.gfile` reads.

    Names that start with a dot, and `__MACOSX`, are left out, and so are other suffixes.

    Raises:
      ValueError: `root` is no folder, holds no image or mixes layouts, or a split is empty.
      FileNotFoundError, PermissionError: it is not there, or some folder cannot be read.
    """
    root = walk.check_root(root)
    found, folders, others, refused = walk.walk(root)
    if not found:
        unusable = "".join(f"\n  {path}: {why}" for path, why in refused[:10])
        raise ValueError(
            f"manual_dir {root!r} holds no image ({', '.join(SUFFIXES)}) in any of the layouts "
            f"{walk.LAYOUTS}.{unusable}"
        )
    notes = []
    if others:
        kinds = ", ".join(f"{n} {s or 'without suffix'}" for s, n in others.most_common())
        notes.append(f"left out files that are not {', '.join(SUFFIXES)}: {kinds}")
    official = [f for f in folders if "/" not in f and f.lower() in _SPLIT_FOLDERS]
    if official:
        files = _official(root, found, official, fractions, notes)
    else:
        files = _by_hash(root, found, fractions)
    files.sort(key=lambda f: (SPLITS.index(f.split), f.path))
    _check_splits(root, files, fractions)
    labels = _labels(root, files)
    return Listing(root, tuple(files), labels, tuple(notes), tuple(sorted(refused)))


def _official(root, found, official, fractions, notes) -> list[File]:
    """The splits that folders name; a missing validation or test comes out of train."""
    by_split: dict[str, str] = {}
    for folder in official:
        split = _SPLIT_FOLDERS[folder.lower()]
        if split in by_split:
            raise ValueError(
                f"manual_dir {root!r} holds both {by_split[split]!r} and {folder!r}, which are "
                "the same split."
            )
        by_split[split] = folder
    if "train" not in by_split:
        raise ValueError(f"manual_dir {root!r} holds {sorted(official)} but no folder 'train'.")
    missing = [s for s in SPLITS if s not in by_split]
    for split in missing:
        share = fractions[SPLITS.index(split)]
        notes.append(f"no folder {split!r}: {share:.0%} of train taken for it, by hash of path")
    names = {folder: split for split, folder in by_split.items()}
    files = []
    for path, size, mtime in found:
        parts = path.split("/")
        if parts[0] not in names:
            raise ValueError(
                f"manual_dir {root!r} holds split folders {sorted(official)}, but also {path!r} "
                "outside of them."
            )
        split = names[parts[0]]
        if split == "train" and hash_split(path, fractions) in missing:
            split = hash_split(path, fractions)
        files.append(File(path, size, mtime, split, parts[1] if len(parts) == 3 else None))
    for folder in by_split.values():
        if not any(f.path.startswith(f"{folder}/") for f in files):
            raise ValueError(f"manual_dir {root!r}: split folder {folder!r} holds no image.")
    return files


def _by_hash(root, found, fractions) -> list[File]:
    files = []
    for path, size, mtime in found:
        parts = path.split("/")
        if len(parts) > 2:
            raise ValueError(
                f"manual_dir {root!r}: {path!r} lies too deep: without a folder 'train', the "
                "layouts are ROOT/*.png and ROOT/label/*.png."
            )
        label = parts[0] if len(parts) == 2 else None
        files.append(File(path, size, mtime, hash_split(path, fractions), label))
    return files


def _check_splits(root: str, files: list[File], fractions: tuple[float, float, float]) -> None:
    counts = collections.Counter(f.split for f in files)
    for split, fraction in zip(SPLITS, fractions, strict=True):
        if not counts[split]:
            raise ValueError(
                f"manual_dir {root!r}: split {split!r} ({fraction:.0%} by hash) gets none of the "
                f"{len(files)} images; add images, or make folders train, validation and test."
            )


def _labels(root: str, files: list[File]) -> tuple[str, ...]:
    labelled = [f for f in files if f.label is not None]
    if labelled and len(labelled) < len(files):
        bare = next(f for f in files if f.label is None)
        raise ValueError(
            f"manual_dir {root!r} holds images both inside and outside of label folders: "
            f"{labelled[0].path!r} and {bare.path!r}."
        )
    return tuple(sorted({f.label for f in labelled if f.label is not None}))
