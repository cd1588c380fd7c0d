"""Which Python `make` makes the environment with, among made-up ones on the PATH."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="there is no make")

# Answers -c, --version and -m venv as a Python of that version does.
STAND_IN = """#!{python}
import sys
from pathlib import Path
sys.version_info = {version}
if not {whole}:
    sys.modules["ensurepip"] = None
if sys.argv[1] == "-c":
    exec(sys.argv[2])
elif sys.argv[1] == "--version":
    print("Python", ".".join(map(str, {version})))
else:
    folder = Path(sys.argv[3], "bin")
    folder.mkdir(parents=True)
    (folder / "python").write_text("made by {name}")
"""
SHIM = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


@pytest.fixture
def path(tmp_path):
    """A folder to be the whole PATH."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "head").symlink_to(shutil.which("head"))
    return folder


def add(folder, name, version=None, whole=True):
    """A Python; without a version, one that cannot be started."""
    text = SHIM
    if version:
        text = STAND_IN.format(python=sys.executable, version=version, whole=whole, name=name)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def make(path, *words):
    """What `make` says, and the Python that it took, if any."""
    made = path.parent / "venv/bin/python"
    done = subprocess.run(
        [MAKE, f"VENV={path.parent / 'venv'}", *words, str(made)],
        cwd=ROOT, env={**os.environ, "PATH": str(path)}, capture_output=True, text=True,
    )  # fmt: skip
    taken = made.read_text().removeprefix("made by ") if made.exists() else None
    assert (done.returncode == 0) == (taken is not None), done.stderr
    return done, taken


def test_newest_is_taken_though_the_default_one_is_older(path):
    add(path, "python3", (3, 9, 2))
    add(path, "python3.10", (3, 10, 1))
    add(path, "python3.13", (3, 13, 5))
    add(path, "python3.12", (3, 12, 1))
    done, taken = make(path)
    assert taken == "python3.13"
    assert "with Python 3.13.5, python3.13." in done.stdout


def test_what_cannot_run_or_make_environments_is_passed_over(path):
    add(path, "python3.13")
    add(path, "python3.12", (3, 12, 1), whole=False)
    add(path, "python3", (3, 11, 7))
    assert make(path)[1] == "python3"


def test_one_error_names_all_that_was_found(path):
    add(path, "python3.13")
    add(path, "python3.12", (3, 12, 1), whole=False)
    add(path, "python3", (3, 14, 0))
    done, _ = make(path)
    [line] = [s for s in done.stderr.splitlines() if s.startswith("error: ")]
    assert line == (
        "error: Python 3.10 to 3.13 with venv is needed. Found: python3.13: pyenv: command not "
        "found; python3.12: it cannot make environments; on Debian, apt install python3.12-venv; "
        "python3: it is Python 3.14."
    )


def test_nothing_found_is_said(path):
    assert "Found: none." in make(path)[0].stderr


def test_a_named_one_counts_alone(path):
    add(path, "python3.13", (3, 13, 5))
    add(path, "python3.9", (3, 9, 2))
    add(path, "mine", (3, 10, 4))
    assert make(path, "PYTHON=mine")[1] == "mine"
    shutil.rmtree(path.parent / "venv")
    refused, taken = make(path, f"PYTHON={path / 'python3.9'}")
    assert taken is None
    assert f"Found: {path / 'python3.9'}: it is Python 3.9." in refused.stderr
