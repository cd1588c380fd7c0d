"""Ctrl-C: every long command ends in two seconds, and leaves nothing half-written or running."""

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import serving_models
from PIL import Image

# Two seconds by the clock are not to be had beside other tests on all cores.
pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
SECONDS = 2.0
# .config is where TFDS keeps the name of the default config
HALF = re.compile(r"^\.(?!config$)|\.tmp$|^partial|incomplete|\.part$")


class Program:
    """A program in a process group of its own, whose output is read as it comes."""

    def __init__(self, *command, cwd=ROOT):
        self._process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=cwd, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.text = ""
        self._parts = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while part := os.read(self._process.stdout.fileno(), 1 << 16):
            self._parts.put(part.decode(errors="replace"))
        self._parts.put(None)

    def wait_for(self, sign, seconds=150):
        """Until the output matches, or, for a number, until there are so many children."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._collect()
            if isinstance(sign, int):
                if len(psutil.Process(self._process.pid).children(recursive=True)) >= sign:
                    return
            elif re.search(sign, self.text):
                return
            assert self._process.poll() is None, self.text
            time.sleep(0.02)
        raise AssertionError(f"no sign of {sign}: {self.text}")

    def _collect(self):
        while not self._parts.empty():
            self.text += self._parts.get() or ""

    def interrupt(self):
        """SIGINT to the first process alone; its status and how long it took."""
        start = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        status = self._process.wait(20)
        took = time.monotonic() - start
        time.sleep(0.1)
        self._collect()
        return status, took

    def left_over(self):
        """Processes of its group that still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if os.getpgid(process.pid) == self._process.pid and process.status() != "zombie":
                    found.append(process.cmdline())
            except (OSError, psutil.Error):
                continue
        return found

    def kill(self):
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def start():
    started = []

    def begin(*command, **options):
        started.append(Program(*command, **options))
        return started[-1]

    yield begin
    for program in started:
        program.kill()


def assert_stopped(program):
    status, took = program.interrupt()
    assert status == 130, program.text
    assert took < SECONDS
    assert "stopped." in program.text
    assert "Traceback" not in program.text
    assert program.left_over() == []


def assert_whole(folder):
    """Every file under a folder is one that a program had finished."""
    for path in folder.rglob("*"):
        assert not HALF.search(path.name), path
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            Image.open(path).verify()
        elif path.suffix == ".npz":
            np.load(path).close()


# --- The mechanism, in programs without TensorFlow ------------------------------------------------

PREFIX = """
import os, signal, subprocess, sys, time
from tf_structvae.programs import command
"""
STUBBORN = {
    "swallows it": """
def main():
    while True:
        try:
            print("ready", flush=True)
            time.sleep(100)
        except BaseException:
            pass
""",
    "is in a long call": """
import hashlib
def main():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000_000)
""",
    "turns it into an error": """
def main():
    print("ready", flush=True)
    try:
        time.sleep(100)
    except KeyboardInterrupt:
        raise ValueError("a broken library") from None
""",
    "has a thread that does not end": """
import threading
def main():
    threading.Thread(target=time.sleep, args=[100]).start()
    print("ready", flush=True)
    time.sleep(100)
""",
    "has a child that ignores it": """
def main():
    ignore = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    code = ignore + "; print('ready', flush=True); time.sleep(100)"
    subprocess.run([sys.executable, "-c", code])
""",
}


@pytest.mark.parametrize("kind", STUBBORN)
def test_stubborn_program_stops(kind, start):
    program = start("-c", f"{PREFIX}{STUBBORN[kind]}\ncommand.run(main)")
    program.wait_for("ready")
    time.sleep(0.1)
    assert_stopped(program)
    assert "a broken library" not in program.text


def test_interrupt_leaves_the_file_of_before(start, tmp_path):
    program = start(
        "-c",
        PREFIX + f"""
from tf_structvae.files import whole
def main():
    with whole({str(tmp_path / "a.txt")!r}) as partial:
        partial.write_text("half")
        print("ready", flush=True)
        time.sleep(100)
command.run(main)
""",
    )  # fmt: skip
    (tmp_path / "a.txt").write_text("before")
    program.wait_for("ready")
    assert_stopped(program)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_browser_of_the_editor_stays(start):
    """What runs in a session of its own is not ended."""
    program = start(
        "-c",
        PREFIX + """
def main():
    other = subprocess.Popen(["sleep", "20"], start_new_session=True)
    print("other", other.pid, flush=True)
    time.sleep(100)
command.run(main)
""",
    )  # fmt: skip
    program.wait_for(r"other \d+")
    other = psutil.Process(int(re.search(r"other (\d+)", program.text)[1]))
    assert_stopped(program)
    assert other.is_running()
    other.kill()


# --- The commands -------------------------------------------------------------------------------

LONG = ["--config.train.steps=100000", "--config.evaluation.images=32"]


@pytest.fixture(scope="module")
def run(data_dir, tmp_path_factory):
    """A trained run of configs/smoke.py."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = subprocess.run(
        [
            sys.executable, "bin/train", "--config=configs/smoke.py", f"--workdir={folder}",
            f"--config.data.dir={data_dir}", "--config.export_dir=", "--nopreflight",
        ],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def smoke(data_dir):
    return ["--config=configs/smoke.py", f"--config.data.dir={data_dir}"]


def test_train(start, data_dir, tmp_path):
    command = ["bin/train", *smoke(data_dir), f"--workdir={tmp_path}", "--nopreflight"]
    program = start(*command, *LONG)
    program.wait_for("step 6:")  # once a checkpoint is written
    assert_stopped(program)
    assert_whole(tmp_path)
    assert list(tmp_path.glob("checkpoints/ckpt-*.index"))  # `--resume` goes on from it


def test_preparation_of_data(start, tmp_path):
    """Drawn by processes of their own; `bin/train` does the same before it trains."""
    program = start(
        "bin/suggest_targets", "--config=configs/avatars.py", f"--config.data.dir={tmp_path}",
        f"--output={tmp_path / 'output'}",
    )  # fmt: skip
    program.wait_for(2)
    time.sleep(1.0)
    assert_stopped(program)
    assert_whole(tmp_path)


def test_serve(start, tmp_path):
    serving_models.save(tmp_path / "m")
    program = start("bin/serve", f"--model={tmp_path / 'm'}", "--port=0")
    program.wait_for("ready")
    assert_stopped(program)


LATER = {
    "train while it traces": (["train", "{smoke}", "--workdir={out}", "--nopreflight"], "starting at step"),
    "train's preflight": (["train", "--config=configs/avatars.py", "--preflight", "--config.data.image_size=(64, 64)"], 1),
    "local_workers": (
        ["local_workers", "--workers=2", "--", "bin/train", "{smoke}", "--workdir={out}",
         "--distribute=multi_worker", "--nopreflight", *LONG],
        "step 3:",
    ),
    "compare": (["compare", "--workdir={run}", "--workdir={run}", "--output={out}"], 0),
    "evaluate": (["evaluate", "--workdir={run}", "--output={out}"], "random_cnn:"),
    "figures": (["figures", "--workdir={run}", "--output={out}"], "figures:"),
    "figures, once some are there": (["figures", "--workdir={run}", "--output={out}"], r"[2-9]/\d+"),
    "fit_distribution": (["fit_distribution", "{smoke}", "--steps=100000", "--batch_size=50", "--output={out}"], "training:"),
    "study": (["study", "--study=recipes", "--seeds=0", "--output={out}", "--set=data.dir={data}"], 2),
    "reproduce": (["reproduce", "--seeds=0", "--output={out}", "--set=data.dir={data}"], 2),
    "export": (["export", "--workdir={run}", "--directory={out}"], 0),
    "suggest_targets": (["suggest_targets", "{smoke}", "--output={out}"], "reading"),
    "benchmark": (["benchmark", "--quick", "--output={out}"], 1),
    "benchmark of training": (["benchmark", "--quick", "--suite=train", "--output={out}"], 1),
    "load_test": (["load_test", "--output={out}"], 1),
    "edit": (["edit", "--model={model}", "--port=0", "--noopen"], "editor "),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", LATER)
def test_long_command(name, start, run, data_dir, tmp_path):
    (program, *words), sign = LATER[name]
    out, model = tmp_path / "out", tmp_path / "m"
    if "{model}" in "".join(words):
        serving_models.save(model)
    values = {"run": run, "out": out, "data": data_dir, "model": model}
    command = [f"bin/{program}"]
    for word in words:
        command += smoke(data_dir) if word == "{smoke}" else [word.format(**values)]
    program = start(*command)
    program.wait_for(sign)
    time.sleep(3.0 if sign == 0 else 0.3)  # 0: it says nothing while it works
    assert_stopped(program)
    assert_whole(tmp_path)
