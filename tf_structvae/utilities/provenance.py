"""Which code a result comes from: commit, versions and command, as far as they can be known."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from tf_structvae.utilities.files import write_whole

_PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "numpy")
_ROOT = Path(__file__).resolve().parents[2]


def commit() -> str | None:
    """Short hash of the checkout that this package is imported from.

    "+changes" is appended where files under version control differ from it. None without git or
    outside a checkout of this package.
    """
    if not (_ROOT / ".git").exists():
        return None
    found = _git("rev-parse", "--short=9", "HEAD")
    if not found:
        return None
    return f"{found}+changes" if _git("status", "--porcelain", "--untracked-files=no") else found


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe() -> dict[str, Any]:
    """Commit, versions and command of this process, as JSON."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {
        "commit": commit(),
        "versions": {p: metadata.version(p) for p in _PACKAGES},
        "python": sys.version.split()[0],
        "command": command,
    }


def record(path: Path, step: int) -> None:
    """Appends what started or went on with a run, at which step, to a JSON list in `path`."""
    starts = json.loads(path.read_text()) if path.exists() else []
    write_whole(path, json.dumps([*starts, {"step": step, **describe()}], indent=1) + "\n")
