"""Whether a run may use a directory: asked before any work is done."""

from __future__ import annotations

import hashlib
import json
import os
from difflib import get_close_matches
from pathlib import Path

from ml_collections import ConfigDict

from tf_structvae.training import config as config_lib
from tf_structvae.training import config_fields
from tf_structvae.utilities import provenance
from tf_structvae.utilities.files import check_writable, write_whole

FAILURE = "failure.txt"  # why a run ended whose numbers were no longer finite


def check(
    workdir: str | Path, config: ConfigDict, resume: bool = False, allow_changes: bool = False
) -> None:
    """Refuses a directory that holds another run, or none to go on with, or cannot be written.

    Args:
      workdir: where the run is to be kept.
      config: of the run.
      resume: whether it goes on with the run that is there.
      allow_changes: whether it may then differ from the config there; data and network must fit.

    Raises:
      ValueError: see above; with a list of the differences.
      OSError: the directory cannot be written.
    """
    workdir = Path(workdir)
    saved = workdir / "config.json"
    if resume and not saved.exists():
        raise ValueError(
            f"workdir {workdir} holds no run to go on with.{which_are_meant(workdir)} To begin "
            "one, leave out --resume; --resume_if_any does whichever can be done."
        )
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
    check_writable("workdir", workdir)


def holds_run(workdir: str | Path) -> bool:
    """Whether a run has begun there.

    Args:
      workdir: a directory, which need not exist.
    """
    return (Path(workdir) / "config.json").exists()


def which_are_meant(workdir: str | Path) -> str:
    """A sentence, after a space, that names runs in a directory or like it; "" without any.

    Args:
      workdir: a directory that holds no run.
    """
    found = ", ".join(map(str, _like(Path(workdir))))
    return f" Of a name like it there are: {found}." if found else ""


def _like(workdir: Path) -> list[Path]:
    """Runs in `workdir`, or whose paths are so much like it that one may be meant."""
    within = sorted(p.parent for p in workdir.glob("*/config.json"))
    if within:
        return within[:5]
    there = next(p for p in workdir.absolute().parents if p.is_dir())
    wanted = workdir.absolute().relative_to(there)
    if len(wanted.parts) > 2:  # more would be a search of the disk
        return []
    pattern = "/".join([*"*" * len(wanted.parts), "config.json"])
    runs = {str(p.parent.relative_to(there)): p.parent for p in there.glob(pattern)}
    near = get_close_matches(str(wanted), runs)
    return [Path(os.path.relpath(runs[n]) if not workdir.is_absolute() else runs[n]) for n in near]


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
        raise FileNotFoundError(
            f"workdir {workdir} holds no run: {saved} does not exist.{which_are_meant(workdir)}"
        )
    config = config_lib.default()
    config.prior.fitted = "none"  # of runs that are older than this field
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
    # more than all steps was allowed once, and came to the same
    for part, name in config_fields.AT_MOST_STEPS:
        config[part][name] = min(config[part][name], config.train.steps)
    return config


def write_config(workdir: Path, config: ConfigDict) -> None:
    """The resolved config, as workdir/config.json; makes the directory."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_whole(workdir / "config.json", json.dumps(_as_json(config), indent=2) + "\n")


def fingerprint(config: ConfigDict) -> str:
    """Commit, TensorFlow's version and a digest of a config: what workers of one run must share.

    Folders may be others on each host.

    Args:
      config: of an experiment.
    """
    found = _as_json(config)
    del found["export_dir"], found["data"]["dir"], found["data"]["manual_dir"]
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
    about = provenance.describe()
    version = about["versions"]["tensorflow"]
    return f"commit {about['commit']}, TensorFlow {version}, config {digest[:9]}"


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
