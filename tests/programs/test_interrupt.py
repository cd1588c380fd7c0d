"""Ctrl-C: every long command ends at once, and leaves nothing half-written or running.

Nothing here is measured by the clock: programs say when they may be interrupted, and those that end
by themselves have minutes for it. That the others are ended after one and a half seconds is tested
in test_interrupt_watch.py, on a clock of its own.
"""

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

ROOT = Path(__file__).parents[2]
GUARD = 600  # seconds after which a test that hangs fails
PATIENT, AT_ONCE = 60, 0.1  # seconds that a program has to end by itself
# .config is where TFDS keeps the name of the default config
HALF = re.compile(r"^\.(?!config$)|\.tmp$|^partial|incomplete|\.part$")


class Program:
    """A program in a process group of its own, whose output is read as it comes."""

    def __init__(self, *command, seconds=PATIENT, announce="-"):
        self._process = subprocess.Popen(
            [sys.executable, "tests/helpers/interruptible.py", str(seconds), announce, *map(str, command)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.text = ""
        self._parts = queue.Queue()
        self._end = time.monotonic() + GUARD
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while part := os.read(self._process.stdout.fileno(), 1 << 16):
            self._parts.put(part.decode(errors="replace"))
        self._parts.put(None)  # all that could write to it have ended

    def _next(self, seconds=None):
        """Whether more output has come; False at its end."""
        left = max(self._end - time.monotonic(), 0.0)
        part = self._parts.get(timeout=left if seconds is None else min(seconds, left))
        self.text += part or ""
        return part is not None

    def wait_for(self, sign):
        """Until the output matches, or, for a number, until there are so many children."""
        try:
            if not isinstance(sign, int):
                while not re.search(sign, self.text):
                    assert self._next(), self.text
                return
            process = psutil.Process(self._process.pid)
            while len(process.children(recursive=True)) < sign:
                with contextlib.suppress(queue.Empty):
                    assert self._next(0.05), self.text
                assert time.monotonic() < self._end
        except (queue.Empty, AssertionError) as error:
            raise AssertionError(f"no sign of {sign}: {self.text}") from error

    def interrupt(self):
        """SIGINT to the first process alone; its status, once nothing writes to its output."""
        self._process.send_signal(signal.SIGINT)
        status = self._process.wait(GUARD)
        while self._next():
            pass
        return status

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
    assert program.interrupt() == 130, program.text
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
import hashlib, signal, subprocess, sys, threading
from tf_structvae.utilities.files import whole
from tf_structvae.programs import command
"""
# How long each has to end by itself, and its code. It prints "ready" once it does what it is about.
STUBBORN = {
    "swallows it": (AT_ONCE, """
def main():
    while True:
        try:
            print("ready", flush=True)
            signal.pause()
        except BaseException:
            pass
"""),
    # the other thread gets its turn when the call has begun: it alone lets go of the interpreter
    "is in a long call": (AT_ONCE, """
def main():
    sys.setswitchinterval(1e6)
    begins = threading.Event()
    def tell():
        begins.wait()
        print("ready", flush=True)
    threading.Thread(target=tell).start()
    begins.set()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2**31 - 1)
"""),
    "turns it into an error": (PATIENT, """
def main():
    try:
        print("ready", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        raise ValueError("a broken library") from None
"""),
    "has a thread that does not end": (PATIENT, """
def main():
    threading.Thread(target=threading.Event().wait).start()
    print("ready", flush=True)
    signal.pause()
"""),
    "has a child that ignores it": (AT_ONCE, """
def main():
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    code = ignore + "; print('ready', flush=True); signal.pause()"
    subprocess.run([sys.executable, "-c", code])
"""),
}  # fmt: skip


@pytest.fixture
def write(tmp_path_factory):
    """Writes a program around a main function; its path."""

    def write(code):
        path = tmp_path_factory.mktemp("program") / "program.py"
        path.write_text(f"{PREFIX}{code}\ncommand.run(main)\n")
        return path

    return write


@pytest.mark.parametrize("kind", STUBBORN)
def test_stubborn_program_stops(kind, start, write):
    seconds, code = STUBBORN[kind]
    program = start(write(code), seconds=seconds)
    program.wait_for("ready")
    assert_stopped(program)
    assert "a broken library" not in program.text


def test_interrupt_leaves_the_file_of_before(start, write, tmp_path):
    program = start(
        write(f"""
def main():
    with whole({str(tmp_path / "a.txt")!r}) as partial:
        partial.write_text("half")
        print("ready", flush=True)
        signal.pause()
""")
    )
    (tmp_path / "a.txt").write_text("before")
    program.wait_for("ready")
    assert_stopped(program)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "before"


def test_browser_of_the_editor_stays(start, write):
    """What runs in a session of its own is not ended."""
    program = start(
        write("""
def main():
    other = subprocess.Popen(
        ["sleep", "3600"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    print("other", other.pid, "ready", flush=True)
    signal.pause()
""")
    )
    program.wait_for(r"other \d+ ready")
    other = psutil.Process(int(re.search(r"other (\d+)", program.text)[1]))
    try:
        assert_stopped(program)
        assert other.is_running()
    finally:
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


@pytest.mark.long
def test_train(start, data_dir, tmp_path):
    command = ["bin/train", *smoke(data_dir), f"--workdir={tmp_path}", "--nopreflight"]
    program = start(*command, *LONG)
    program.wait_for("step 6:")  # once a checkpoint is written
    assert_stopped(program)
    assert_whole(tmp_path)
    assert list(tmp_path.glob("checkpoints/ckpt-*.index"))  # `--resume` goes on from it


@pytest.mark.long
def test_preparation_of_data(start, tmp_path):
    """Drawn by processes of their own; `bin/train` does the same before it trains."""
    program = start(
        "bin/suggest_targets", "--config=configs/avatars.py", f"--config.data.dir={tmp_path}",
        f"--output={tmp_path / 'output'}",
    )  # fmt: skip
    program.wait_for(2)
    assert_stopped(program)
    assert_whole(tmp_path)


@pytest.mark.long
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
    "compare": (
        ["compare", "--workdir={run}", "--workdir={run}", "--output={out}"],
        "tf_structvae.studies.report:write_comparison",
    ),
    "evaluate": (["evaluate", "--workdir={run}", "--output={out}"], "random_cnn:"),
    "fit_prior": (["fit_prior", "--workdir={run}", "--kind=flow", "--noexport"], "prior:"),
    "figures": (["figures", "--workdir={run}", "--output={out}"], "figures:"),
    "figures, once some are there": (["figures", "--workdir={run}", "--output={out}"], r"[2-9]/\d+"),
    "fit_distribution": (["fit_distribution", "{smoke}", "--steps=100000", "--batch_size=50", "--output={out}"], "training:"),
    "study": (["study", "--study=recipes", "--seeds=0", "--output={out}", "--set=data.dir={data}"], 2),
    "reproduce": (["reproduce", "--seeds=0", "--output={out}", "--set=data.dir={data}"], 2),
    "export": (
        ["export", "--workdir={run}", "--directory={out}"], "tf_structvae.export.canonical:rewrite"
    ),
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
    # of what says nothing while it works, the function to be called
    silent = isinstance(sign, str) and sign.startswith("tf_structvae.")
    program = start(*command, announce=sign if silent else "-")
    program.wait_for("watched")
    program.wait_for(f"called {sign.partition(':')[2]}" if silent else sign)
    assert_stopped(program)
    assert_whole(tmp_path)
