"""Whether a run may use a directory: asked before any work is done."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ml_collections import ConfigDict

from tf_structvae import config as config_lib
from tf_structvae import config_fields
from tf_structvae.files import write_whole


def check(
    workdir: str | Path, config: ConfigDict, resume: bool = False, allow_changes: bool = False
) -> None:
    """Refuses a directory that holds another run, or that cannot be written.

    Args:
      workdir: where the run is to be kept.
      config: of the run.
      resume: whether it goes on with what is there.
      allow_changes: whether it may then differ from the config there; data and network must fit.

    Raises:
      ValueError: see above; with a list of the differences.
      OSError: the directory cannot be written.
    """
    workdir = Path(workdir)
    saved = workdir / "config.json"
    if saved.exists() and not resume and list(workdir.glob("checkpoints/ckpt-*.index")):
        raise ValueError(
            f"workdir {workdir} already holds a run; give --resume to go on with it, or another "
            "--workdir."
        )
    if saved.exists() and resume and not allow_changes:
        changes = differences(_as_json(read_config(workdir)), _as_json(config))
        if changes:
            lines = [f"  {k}: {a!r} -> {b!r}" for k, a, b in changes]
            advice = "give --allow_changes to go on all the same."
            raise ValueError("\n".join([f"{saved} differs from this config:", *lines, advice]))
    # in what exists of the path, so that several workers may ask at once
    found = next(p for p in (workdir, *workdir.absolute().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=found) as f:
            f.write(b"\0" * 4096)
    except OSError as error:
        raise OSError(f"workdir {workdir} cannot be written: {error}") from error


def read_config(workdir: str | Path) -> ConfigDict:
    """The config of a run. A run may be older than some fields: those have their defaults.

    Args:
      workdir: where the run is kept.

    Raises:
      FileNotFoundError: no run there.
      ValueError: its config is damaged, or holds what this version does not know.
    """
    saved = Path(workdir) / "config.json"
    if not saved.exists():
        raise FileNotFoundError(f"workdir {workdir} holds no run: {saved} does not exist.")
    config = config_lib.default()
    try:
        config.update(json.loads(saved.read_text()))
    except json.JSONDecodeError as error:
        raise ValueError(f"{saved} is not JSON: {error}.") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{saved} is no config of this version: {error}.") from error
    if config.data.name != "ukbb":  # older versions took what has no effect
        config.data.nifti = config_lib.default().data.nifti
    wrong = config_fields.differences(config, config_lib.default())
    if wrong:
        raise ValueError("\n".join([f"{saved} is no config of this version:", *wrong]))
    return config


def write_config(workdir: Path, config: ConfigDict) -> None:
    """The resolved config, as workdir/config.json; makes the directory."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(workdir / "config.json", json.dumps(_as_json(config), indent=2) + "\n")


def _as_json(config: ConfigDict) -> dict:
    return json.loads(config.to_json())


def differences(before: dict, after: dict, prefix: str = "") -> list[tuple[str, object, object]]:
    """(path, before, after) of every field in which two nested dicts differ."""
    found: list[tuple[str, object, object]] = []
    for key in sorted({*before, *after}):
        a, b = before.get(key), after.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((f"{prefix}{key}", a, b))
    return found
