"""The directories of versions that TF-Serving serves: NAME/1, NAME/2, ... Needs no TensorFlow."""

from __future__ import annotations

from pathlib import Path

DEMO = "demo"


def check(directory: Path) -> None:
    """Refuses what is no directory of versions.

    Raises:
      ValueError: see above, with what to give.
    """
    if not directory.is_dir():
        raise ValueError(f"{directory} is no directory of a model.")
    if (directory / "saved_model.pb").exists():
        raise ValueError(f"{directory} is a version; give the directory that holds the versions.")
    if not versions(directory):
        raise ValueError(f"{directory} holds no version: no directory NUMBER/saved_model.pb.")


def choose(model: str | None, models: Path) -> Path:
    """The directory of the model to show.

    Raises:
      ValueError: none is given and there is not one to be taken.
    """
    if model is not None:
        return Path(model)
    found = sorted(p.parent.parent for p in models.glob("*/[0-9]*/saved_model.pb"))
    names = sorted({p.name for p in found})
    if DEMO in names:
        return models / DEMO
    if len(names) != 1:
        seen = f"holds {', '.join(names)}" if names else "holds no exported model"
        raise ValueError(f"--model or --server must be given: {models} {seen}.")
    return models / names[0]


def versions(directory: Path) -> dict[int, tuple]:
    """Number -> stamp of the files, of all versions. Without saved_model.pb it is still copied."""
    found = {}
    try:
        paths = [p for p in directory.iterdir() if p.name.isascii() and p.name.isdigit()]
    except OSError:
        return {}  # what is loaded goes on being served
    for path in paths:
        if str(int(path.name)) == path.name and (path / "saved_model.pb").exists():
            found[int(path.name)] = _stamp(path)
    return found


def _stamp(path: Path) -> tuple:
    """Changes when a broken version is repaired in place."""
    stamp = []
    for file in sorted(path.glob("**/*")):
        try:
            status = file.stat()
        except OSError:
            continue  # it was just removed
        stamp.append((str(file), status.st_mtime_ns, status.st_size))
    return tuple(stamp)
