"""What programs write while TensorFlow starts. A small module stands in for it."""

import os
import subprocess
import sys

import pytest

from tf_structvae.programs import quiet_start

NOISE = b"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1796027876.371998   27805 port.cc:153] oneDNN custom operations are on.
To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow.
"""
NO_GPU = (
    b"E0000 00:00:1796027879.541243 27805 cuda_platform.cc:52] failed call to cuInit: INTERNAL\n"
)
NEWS = b"W0000 00:00:1796027879.541243 27805 memory.cc:1] it is nearly full\nplain words\n"

TENSORFLOW = f"""
import os, sys, types
os.write(2, {NOISE + NEWS!r})
print("python's own", file=sys.stderr)
def devices():
    os.write(2, {NO_GPU!r})
    os.write(1, b"listed\\n")
config = types.SimpleNamespace(list_physical_devices=devices)
if "fail" in sys.argv:
    raise ImportError("no such library")
"""
PROGRAM = """
import sys
from tf_structvae.programs import quiet_start
quiet_start.install()
import tensorflow
print("imported", file=sys.stderr)
"""


def test_lines_of_every_start_are_no_news(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet_start, "_DRIVER", tmp_path / "none")
    assert quiet_start.news(NOISE + NEWS + NO_GPU) == NEWS
    assert quiet_start.news(b"cut off I0000 in the middle") == b"cut off I0000 in the middle"


def test_a_driver_that_fails_is_news(monkeypatch, tmp_path):
    monkeypatch.setattr(quiet_start, "_DRIVER", tmp_path)
    assert quiet_start.news(NOISE + NO_GPU) == NO_GPU


@pytest.fixture
def run(tmp_path):
    (tmp_path / "tensorflow.py").write_text(TENSORFLOW)
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])

    def run(*words, **environment):
        environment = {"PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "2", **environment}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            capture_output=True,
            env={**os.environ, **environment},
        )

    return run


def test_all_else_is_written(run):
    done = run()
    assert done.returncode == 0, done.stderr
    lines = done.stderr.replace(NO_GPU, b"").splitlines()
    assert sorted(lines[:-1]) == sorted([*NEWS.splitlines(), b"python's own"])
    assert lines[-1] == b"imported"
    assert done.stdout == b"listed\n"


def test_an_import_that_fails_loses_nothing(run):
    done = run("fail")
    assert done.returncode == 1
    assert b"plain words" in done.stderr
    assert b"ImportError: no such library" in done.stderr


def test_everything_can_be_asked_for(run):
    assert NOISE in run(TF_CPP_MIN_LOG_LEVEL="0").stderr
