"""Exports that are killed, race each other or fail never leave half a version."""

import os
import signal
import subprocess
import sys

import forked
import pytest
import tensorflow as tf

from tf_structvae.export import versions as writing

# Writes version 1 of three files, and is killed at call number `at` of a function of os. It loads
# the one module, without TensorFlow.
KILLED = """
import os, pathlib, runpy, signal, sys
folder, name, at = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
writing = runpy.run_path("tf_structvae/export/versions.py")
real, calls = getattr(os, name), []

def killing(*arguments, **options):
    calls.append(name)
    if len(calls) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

def write(path):
    (path / "variables").mkdir()
    for part in ("a", "variables/b", "c"):
        file = os.open(path / part, os.O_CREAT | os.O_WRONLY)
        os.write(file, b"x" * 1000)
        os.close(file)

setattr(os, name, killing)
if name == "mkdir" and hasattr(pathlib, "_NormalAccessor"):  # that of paths in Python 3.10
    pathlib._NormalAccessor.mkdir = staticmethod(killing)
writing["write_version"](folder, 1, write)
"""
FILES = ["a", "c", "variables", "variables/b"]
MOMENTS = [
    ("mkdir", 2), ("mkdir", 3), ("open", 3), ("write", 1), ("write", 2), ("write", 3),
    ("fsync", 1), ("fsync", 3), ("fsync", 5), ("rename", 1),
    ("fsync", 6), ("rmdir", 1),
]  # fmt: skip


def fill(path):
    (path / "variables").mkdir()
    for part in ("a", "variables/b", "c"):
        (path / part).write_bytes(b"x" * 1000)


def assert_whole(version):
    assert sorted(str(p.relative_to(version)) for p in version.rglob("*")) == FILES
    assert all(p.stat().st_size == 1000 for p in version.rglob("*") if p.is_file())


@pytest.mark.parametrize(("name", "at"), MOMENTS)
def test_kill_9_leaves_no_half_version(tmp_path, name, at):
    folder = tmp_path / "m"
    run = forked.run("-c", KILLED, folder, name, at)
    assert run.returncode == -signal.SIGKILL
    before = [p.name for p in folder.iterdir() if not p.name.startswith(".")]
    assert before in ([], ["1"])
    if before:
        assert_whole(folder / "1")
    following = writing.next_version(folder)
    assert_whole(writing.write_version(folder, following, fill))
    assert sorted(p.name for p in folder.iterdir()) == sorted([*before, str(following)])


def test_a_version_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda f: (synced.append(os.fstat(f).st_ino), real(f))[1])
    rename = os.rename

    def check(source, target):
        inside = {p.stat().st_ino for p in [source, *source.rglob("*")]}
        assert inside <= set(synced)
        rename(source, target)

    monkeypatch.setattr(os, "rename", check)
    writing.write_version(tmp_path / "m", 1, fill)
    assert synced[-1] == (tmp_path / "m").stat().st_ino


def test_a_failed_export_leaves_nothing(tmp_path):
    def fail(path):
        fill(path)
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        writing.write_version(tmp_path, 1, fail)
    assert list(tmp_path.iterdir()) == []


def test_of_two_exports_of_a_version_the_first_stays(tmp_path):
    def slower(path):
        fill(path)
        writing.write_version(tmp_path, 1, fill)
        (path / "a").write_bytes(b"late")

    with pytest.raises(FileExistsError, match="never overwritten"):
        writing.write_version(tmp_path, 1, slower)
    assert_whole(tmp_path / "1")
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_only_leftovers_of_dead_processes_here_are_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = writing._host()
    names = {
        f".export-{host}-{dead.pid}-abc": False,
        f".export-{host}-{os.getpid()}-abc": True,
        f".export-another-{dead.pid}-abc": True,
        ".export-notes": True,
        ".git": True,
    }
    for name in names:
        (tmp_path / name / "model").mkdir(parents=True)
    writing.remove_leftovers(tmp_path)
    assert {n: (tmp_path / n).exists() for n in names} == names


EXPORTING = """
import importlib, os, signal, sys
sys.path[:0] = ["tests", "tests/helpers"]
import small_vae
from tf_structvae.export import export
folder, module, name = sys.argv[1:]
module = importlib.import_module(module)
real = getattr(module, name)

def killing(*arguments, **options):
    if os.path.exists(f"{folder}/1"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

setattr(module, name, killing)
model = small_vae.make()
for _ in range(2):
    export(model, folder)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("tf_structvae.export.saved_model", "write"),
        ("tf_structvae.export.canonical", "rewrite"),
        ("tf_structvae.export.card", "write"),
        ("tf_structvae.export.versions", "_sync"),
    ],
)
def test_kill_9_of_a_real_export(tmp_path, module, name):
    """In the second export, when so much of it is written."""
    folder = tmp_path / "m"
    done = forked.run("-c", EXPORTING, folder, module, name)
    assert done.returncode == -signal.SIGKILL, done.stderr
    versions = [p for p in folder.iterdir() if p.name.isdecimal()]
    assert [p.name for p in versions] == ["1"]
    assert [p for p in folder.iterdir() if p.name.startswith(".")]  # what was left of the second
    for path in versions:
        sample = tf.saved_model.load(str(path)).signatures["sample"]
        assert sample(seeds=tf.zeros([1, 2], tf.int32))["images"].shape[0] == 1
        assert (path / "model_card.json").exists()
    following = writing.write_version(folder, writing.next_version(folder), fill)
    assert {p.name for p in folder.iterdir()} == {following.name, *(p.name for p in versions)}
