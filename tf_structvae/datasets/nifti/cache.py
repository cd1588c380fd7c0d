"""Cuts many volumes at once and keeps what is done, so that an interrupted build goes on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tf_structvae.datasets.dealt import Deal
from tf_structvae.datasets.nifti import slicing as nifti
from tf_structvae.datasets.nifti.files import Volume
from tf_structvae.utilities import worker_processes


def entry(cache: Path, manual_dir: str, volume: Volume) -> Path:
    """The file of a volume's pictures: another one when the volume's file has changed."""
    f = volume.file
    key = repr((os.path.realpath(Path(manual_dir, f.path)), volume.member, f.size, f.mtime_ns))
    return cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"


def load(path: Path) -> Iterator[tuple[bytes, np.float32]]:
    """The pictures of one volume, as PNG files, each with its position in mm."""
    with np.load(path) as saved:
        for i, position in enumerate(saved["positions"]):
            yield saved[f"png{i}"].tobytes(), position


def fill(
    cache: Path,
    manual_dir: str,
    volumes: Sequence[Volume],
    slicing: nifti.Slicing,
    strict: bool = False,
    workers: int | None = None,
    deal: Deal | None = None,
) -> dict[str, str]:
    """Cuts the volumes that are not in the cache yet, one at a time in each process.

    Args:
      cache: a directory for these options alone; made if need be.
      manual_dir: the folder of the volumes.
      volumes: which.
      slicing: how they are cut.
      strict: whether the first volume that cannot be used ends it.
      workers: number of processes; None for one a core, 1 for this one alone.
      deal: cuts them in place of such processes.

    Returns:
      The reason for each volume that cannot be used, by its name.

    Raises:
      ValueError: such a volume, if strict.
      ChildProcessError: a process could not be started, or was killed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    todo = [v for v in volumes if not entry(cache, manual_dir, v).exists()]
    work = functools.partial(_cut_one, cache=cache, manual_dir=manual_dir, slicing=slicing)
    workers = min(workers or os.cpu_count() or 1, -(-len(todo) // 4))
    problems = {}
    done = len(volumes) - len(todo)
    with (
        tqdm(total=len(volumes), initial=done, desc="volumes", unit="volume") as bar,
        contextlib.closing(_all(work, todo, workers, deal)) as reasons,
    ):
        for volume, reason in zip(todo, reasons, strict=True):
            bar.update()
            if reason and strict:
                raise ValueError(f"strict: {volume.name} cannot be used: {reason}")
            if reason:
                problems[volume.name] = reason
    return problems


def _all(
    work: Callable, volumes: Sequence[Volume], workers: int, deal: Deal | None
) -> Generator[str, None, None]:
    if deal is not None:
        yield from (reason for _, reason in deal(work, volumes))
        return
    if workers <= 1:
        yield from map(work, volumes)
        return
    try:
        yield from worker_processes.map_ordered(work, volumes, workers)
    except ChildProcessError as error:
        raise ChildProcessError(f"{error} What is done is kept: run it again.") from error


def _cut_one(volume: Volume, cache: Path, manual_dir: str, slicing: nifti.Slicing) -> str:
    """Puts a volume's pictures into the cache; returns why not, else an empty string."""
    try:
        pictures, positions = nifti.cut(*nifti.read(manual_dir, volume), slicing)
    except nifti.UNREADABLE as error:
        return nifti.explain(error)
    arrays: dict[str, Any] = {"positions": positions}
    arrays |= {f"png{i}": np.frombuffer(_png(p), np.uint8) for i, p in enumerate(pictures)}
    whole = entry(cache, manual_dir, volume)
    partial = whole.with_suffix(f".{os.getpid()}.tmp")
    try:
        with partial.open("wb") as f:
            np.savez(f, **arrays)
        partial.replace(whole)
    finally:
        partial.unlink(missing_ok=True)
    return ""


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(picture).save(png, format="PNG")
    return png.getvalue()
