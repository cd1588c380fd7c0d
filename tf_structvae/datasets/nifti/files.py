"""Which NIfTI volumes a folder holds, in files and zips, and whose they are."""

from __future__ import annotations

import dataclasses
import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from tqdm.auto import tqdm

from tf_structvae.datasets.folder.walk import shown

MNI = "T1_brain_to_MNI.nii.gz"
_NO_FILE = -2  # in place of the size of a pipe, socket or device
_SUFFIXES = (".nii", ".nii.gz")
_UKB_ID = re.compile(r"(?:^|/)(\d{7})(?!\d)")  # the leading digits of a zip, folder or file
_BIDS_ID = re.compile(r"(?:^|[/_])sub-([A-Za-z0-9]+)")


@dataclasses.dataclass(frozen=True)
class File:
    """A NIfTI file or zip: its path within the folder, and what shows whether it has changed."""

    path: str
    size: int
    mtime_ns: int


@dataclasses.dataclass(frozen=True)
class Volume:
    """One volume: a file, or a member of a zip."""

    file: File
    member: str = ""

    @property
    def name(self) -> str:
        return f"{self.file.path}/{self.member}" if self.member else self.file.path


def list_files(manual_dir: str) -> list[File]:
    """All NIfTI files and zips in a folder, at any depth, through links too; sorted by path.

    Raises:
      FileNotFoundError, ValueError, PermissionError: no such folder, a file, or not readable.
    """
    if not manual_dir or not os.path.isdir(manual_dir):
        if not manual_dir or os.path.exists(manual_dir):
            raise ValueError(f"manual_dir must be a folder with NIfTI volumes, got {manual_dir!r}.")
        raise FileNotFoundError(f"manual_dir {manual_dir!r} does not exist.")

    def refuse(error: OSError):
        raise PermissionError(f"manual_dir {manual_dir!r} cannot be read: {error}") from error

    found, seen = [], set()
    for root, folders, names in os.walk(manual_dir, onerror=refuse, followlinks=True):
        if os.path.realpath(root) in seen:  # a link to a folder above would never end
            folders.clear()
            continue
        seen.add(os.path.realpath(root))
        for name in names:
            if _is_volume(name) or (name.lower().endswith(".zip") and name[0] != "."):
                found.append(_file(Path(root, name), Path(manual_dir)))
    return sorted(found, key=lambda f: f.path)


def _file(path: Path, folder: Path) -> File:
    relative = path.relative_to(folder).as_posix()
    try:
        stat = path.stat()
    except OSError:  # a dangling link: reading it will tell
        return File(relative, -1, 0)
    if not S_ISREG(stat.st_mode):
        return File(relative, _NO_FILE, 0)
    return File(relative, stat.st_size, stat.st_mtime_ns)


def _unusable(file: File) -> str:
    """Why it is not even opened; else an empty string."""
    if shown(file.path) != file.path:
        return "the name is not UTF-8"
    # opening a pipe would wait for somebody to write
    return "it is a pipe, socket or device" if file.size == _NO_FILE else ""


def _is_volume(path: str) -> bool:
    name = PurePosixPath(path).name
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")


def find_volumes(
    manual_dir: str, files: Sequence[File], pattern: str = ""
) -> tuple[list[Volume], dict[str, str]]:
    """The volumes that a glob pattern takes.

    Args:
      manual_dir: the folder.
      files: its listing.
      pattern: compared with the end of the path, or of the name within a zip, component by
        component, as `pathlib.PurePath.match` does: "T1/T1.nii.gz" or "*_T1w.nii.gz". Empty takes
        `T1_brain_to_MNI.nii.gz` where there is any, and else every volume. Never taken: what lies
        in a folder "unusable", where UK Biobank puts scans that failed its checks.

    Returns:
      The volumes, and the reason for each file that is not opened or zip that cannot be read.

    Raises:
      FileNotFoundError: no volume.
    """
    volumes, problems = [], {}
    for file in tqdm(files, desc="looking for volumes", unit="file", delay=3):
        if reason := _unusable(file):
            problems[shown(file.path)] = reason
            continue
        if not file.path.lower().endswith(".zip"):
            volumes.append(Volume(file))
            continue
        try:
            with zipfile.ZipFile(Path(manual_dir, file.path)) as archive:
                members = sorted(filter(_is_volume, archive.namelist()))
        except (OSError, zipfile.BadZipFile, ValueError, RuntimeError) as error:
            problems[file.path] = f"not a zip that can be read: {error}"
        else:
            volumes += [Volume(file, m) for m in members]
    volumes = [v for v in volumes if "unusable" not in PurePosixPath(v.name).parts]
    taken = [v for v in volumes if _inner(v).match(pattern or MNI)]
    if not pattern and not taken:
        taken = volumes
    if not taken:
        wanted = (
            f"that matches pattern {pattern!r}" if pattern else "(*.nii, *.nii.gz, or in *.zip)"
        )
        broken = "".join(f"\n  {p}: {r}" for p, r in list(problems.items())[:5])
        raise FileNotFoundError(
            f"manual_dir {manual_dir!r} holds no NIfTI volume {wanted}; volumes seen: "
            f"{len(volumes)}; files that cannot be read: {len(problems)}{broken}"
        )
    return taken, problems


def _inner(volume: Volume) -> PurePosixPath:
    return PurePosixPath(volume.member or volume.file.path)


def participant(volume: Volume, expression: str = "") -> str:
    """Whose volume it is.

    The first group (or all) of a regular expression searched in the volume's name. Without one: the
    7 digits that lead the name of a zip, folder or file; else BIDS' sub-LABEL; else the name of the
    file, or zip, without its extension.

    Raises:
      ValueError: an expression that does not match.
    """
    if expression:
        found = re.search(expression, volume.name)
        label = found and found.group(1 if found.re.groups else 0)
        if not label:
            raise ValueError(f"participant {expression!r} finds nothing in {volume.name!r}.")
        return label
    match = _UKB_ID.search(volume.name) or _BIDS_ID.search(volume.name)
    stem = PurePosixPath(volume.file.path).name
    return match.group(1) if match else re.sub(r"(?i)(\.nii)?(\.gz|\.zip)?$", "", stem)
