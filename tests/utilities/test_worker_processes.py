"""Processes that work for a program, and never start it again."""

import os
import subprocess
import sys

import pytest
from volumes import SMALL, random_volume, volumes_of, write
from worker_functions import dies_at_3, fails_at_3, fails_oddly, modules, slow_first, square

from tf_structvae.datasets.nifti import cache
from tf_structvae.utilities.worker_processes import map_ordered


@pytest.mark.parametrize("chunk", [1, 7])
def test_results_come_in_order(chunk, capfd):
    assert list(map_ordered(square, range(100), 2, chunk)) == [n * n for n in range(100)]
    assert list(map_ordered(slow_first, iter(range(20)), 2)) == list(range(20))
    assert list(map_ordered(square, [], 2)) == []
    told = capfd.readouterr()
    assert told.err.count("printed in a worker") == 100
    assert "printed" not in told.out


def test_items_are_taken_as_they_are_needed():
    taken = []
    results = map_ordered(square, (taken.append(n) or n for n in range(1000)), 2, 3)
    assert next(results) == 0
    assert len(taken) <= 2 * 4 * 3
    results.close()


def test_workers_do_not_import_the_main_module_or_tensorflow():
    found = list(map_ordered(modules, range(40), 2))
    assert {tuple(loaded) for _, *loaded in found} == {(False, "")}
    assert os.getpid() not in {pid for pid, *_ in found}


def running():
    """The children of this process."""
    import psutil

    return {p.pid for p in psutil.Process().children()}


def test_an_error_of_the_function_comes_as_it_is():
    before = running()
    with pytest.raises(FileNotFoundError, match="three") as caught:
        list(map_ordered(fails_at_3, range(100), 2))
    assert "fails_at_3" in str(caught.value.__cause__)
    with pytest.raises(RuntimeError, match="Odd: odd"):
        list(map_ordered(fails_oddly, range(100), 2))
    assert running() == before


def test_a_killed_worker_is_an_error():
    before = running()
    with pytest.raises(
        ChildProcessError, match="ended by signal 9, as the system does when memory"
    ):
        list(map_ordered(dies_at_3, range(100), 2))
    assert running() == before


def broken(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_workers_that_cannot_start_are_one_error(tmp_path, monkeypatch):
    before = running()
    said = broken(tmp_path / "python", "echo no encodings >&2; exit 3")
    for executable, message in (
        (str(tmp_path / "nowhere"), "could not be started: .*nowhere"),
        (said, r"could not be started \(status 3\):\nno encodings"),
    ):
        monkeypatch.setattr(sys, "executable", executable)
        with pytest.raises(ChildProcessError, match=message):
            list(map_ordered(square, range(100), 2))
    monkeypatch.undo()
    (tmp_path / "here_alone.py").write_text("def function(n):\n    return n\n")
    monkeypatch.syspath_prepend(tmp_path)
    from here_alone import function

    assert list(map_ordered(function, range(3), 2)) == [0, 1, 2]
    (tmp_path / "here_alone.py").write_text("raise ImportError('no such library')\n")
    with pytest.raises(ImportError, match="no such library"):
        list(map_ordered(function, range(100), 2))
    assert running() == before


SCRIPTS = {
    "avatars": """
import os
from tf_structvae.datasets.drawn import avatar_drawing
from tf_structvae.datasets.drawn.drawing_pool import draw_split
print("begins")
os.cpu_count = lambda: 2
print(len(list(draw_split(avatar_drawing.draw, 0, "train", 256, 8, 8))))
""",
    "volumes": """
from pathlib import Path
from tf_structvae.datasets.nifti import cache, files, slicing
print("begins")
volumes, _ = files.find_volumes("in", files.list_files("in"))
print(cache.fill(Path("cache"), "in", volumes, slicing.Slicing(), workers=2))
print(len(list(Path("cache").glob("*.npz"))))
""",
}


@pytest.mark.parametrize(("name", "result"), [("avatars", "256"), ("volumes", "{}\n8")])
def test_a_script_needs_no_guard(name, result, tmp_path, monkeypatch):
    """Without `if __name__ == "__main__"`; it would start itself for ever."""
    for i in range(8):
        write(tmp_path / "in" / f"{i}.nii", random_volume(i))
    (tmp_path / "script.py").write_text(SCRIPTS[name])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"begins\n{result}\n"


def test_a_killed_reader_of_volumes_says_what_is_kept(tmp_path, monkeypatch):
    for i in range(8):
        write(tmp_path / "in" / f"{i}.nii", random_volume(i))
    killed = broken(tmp_path / "python", "kill -9 $$")
    monkeypatch.setattr(sys, "executable", killed)
    with pytest.raises(ChildProcessError, match=r"signal 9.* What is done is kept: run it again\."):
        cache.fill(
            tmp_path / "c", str(tmp_path / "in"), volumes_of(tmp_path / "in"), SMALL, workers=2
        )
