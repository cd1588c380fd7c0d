"""Training on hosts with addresses of their own, and what becomes of it when one of them fails."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import hosts
import numpy as np
import pytest
import tensorflow as tf
from test_distribute import TINY

from tf_structvae.training import preemption, tf_config

LIMIT = 600  # seconds; what hangs shall fail
ROOT = Path(__file__).resolve().parents[2]
# Epochs long enough to do something in the second of them.
LONG = ("--config.train.steps=600", "--config.train.epoch_steps=300")
# Of sums in another order, over the steps of a run; the same hosts give the same numbers.
SUMS = {"rtol": 1e-3, "atol": 1e-4}
SAME = {"rtol": 1e-6, "atol": 1e-7}


@pytest.fixture(autouse=True, scope="module")
def _needs_hosts():
    if reason := hosts.missing():
        pytest.skip(reason)


class Run:
    """A run of bin/train on some hosts; its programs end with the block."""

    def __init__(self, network, folder, data_dir, options=(), name="run"):
        self.network, self.folder, self.data_dir = network, folder, data_dir
        self.options, self.workdir = options, folder / name
        self.programs = {}

    def start(self, i, root=ROOT):
        config = self.folder / "tiny.py"
        self.folder.mkdir(exist_ok=True)
        config.write_text(TINY)
        words = [
            sys.executable, f"{root}/bin/train", f"--config={config}", "--config.export_dir=",
            f"--config.data.dir={self.data_dir}", f"--workdir={self.workdir}", *self.options,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(root)}
        if self.network is None:
            command = words
        else:
            n = self.network
            addresses = [f"{n.address(k)}:{tf_config.PORT}" for k in range(n.count)]
            environment["TF_CONFIG"] = tf_config.of_worker(addresses, i)
            command = n.words(i, *words, "--distribute=multi_worker")
        self.log(i).parent.mkdir(parents=True, exist_ok=True)
        with self.log(i).open("wb") as log:
            self.programs[i] = subprocess.Popen(
                command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT,
            )  # fmt: skip

    def start_all(self):
        for i in range(self.network.count if self.network else 1):
            self.start(i)
        return self

    def log(self, i):
        return self.folder / f"{self.workdir.name}.{i}.txt"

    def text(self, i):
        return self.log(i).read_text(errors="replace")

    def wait_for(self, word, i=0):
        begin = time.monotonic()
        while word not in self.text(i):
            assert self.programs[i].poll() is None, self.text(i)[-3000:]
            assert time.monotonic() < begin + LIMIT, self.text(i)[-3000:]
            time.sleep(0.05)

    def end(self):
        """Their statuses."""
        return [self.programs[i].wait(LIMIT) for i in sorted(self.programs)]

    def stop(self):
        for program in self.programs.values():
            program.kill()
            program.wait()

    def ends_well(self):
        assert self.end() == [0] * len(self.programs), [
            t[-3000:] for t in map(self.text, self.programs)
        ]
        return self

    def resumed(self):
        """The same run goes on, on the same hosts."""
        options = (*self.options, "--resume")
        found = Run(self.network, self.folder, self.data_dir, options, self.workdir.name)
        return found.start_all()

    def state(self):
        """Of the last checkpoint, with multipliers that are not zero."""
        path = tf.train.latest_checkpoint(self.workdir / "checkpoints") or max(
            self.workdir.glob("checkpoints/ckpt-*.index"), key=lambda p: int(p.stem[5:])
        ).with_suffix("")
        found = tf.train.load_checkpoint(str(path))
        names = [n for n in found.get_variable_to_dtype_map() if n.endswith("VARIABLE_VALUE")]
        values = {n: found.get_tensor(n) for n in names if "seed" not in n}
        bound = [v for n, v in values.items() if "multiplier" in n]
        assert len(bound) == 2
        assert all(v > 0 for v in bound)
        return values


@contextlib.contextmanager
def running(*arguments, **options):
    run = Run(*arguments, **options)
    try:
        yield run
    finally:
        run.stop()


def assert_close(one, other, **tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, err_msg=name, **tolerance)


def errors(run, i):
    """What it says last, perhaps behind a progress bar."""
    return re.findall(r"\berror: .*", run.text(i))


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.long)])
def test_hosts_train_the_model_of_one_device(count, data_dir, tmp_path):
    """Constraints bind from the first step; batches of five are uneven parts."""
    with running(None, tmp_path, data_dir, name="alone") as alone:
        one = alone.start_all().ends_well().state()
    with hosts.Hosts(count) as network, running(network, tmp_path, data_dir) as run:
        assert_close(one, run.start_all().ends_well().state(), **SUMS)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """The state of an undisturbed run of two hosts."""
    folder = tmp_path_factory.mktemp("whole")
    with hosts.Hosts(2) as network, running(network, folder, data_dir, LONG) as run:
        return run.start_all().ends_well().state()


def goes_on(run, whole):
    """It is resumed on the same hosts, and ends where an undisturbed run does."""
    run.stop()
    again = run.resumed()
    try:
        again.ends_well()
    finally:
        again.stop()
    assert_close(whole, again.state(), **SAME)


@pytest.mark.long
@pytest.mark.parametrize("lost", [0, 1])
def test_a_host_killed_in_mid_epoch(lost, whole, data_dir, tmp_path):
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir, LONG) as run:
        run.start_all().wait_for("step 300:")
        assert run.programs[0].poll() is None
        run.programs[lost].send_signal(signal.SIGKILL)
        left = 1 - lost
        assert run.programs[left].wait(LIMIT) != 0
        (error,) = errors(run, left)
        assert "another worker is gone" in error
        assert "Traceback" not in run.text(left)
        goes_on(run, whole)


@pytest.mark.long
def test_a_link_cut_for_5_seconds(whole, data_dir, tmp_path):
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir, LONG) as run:
        run.start_all().wait_for("step 300:")
        network.cut(1)
        time.sleep(5)
        network.mend(1)
        assert_close(whole, run.ends_well().state(), **SAME)


@pytest.mark.long
def test_a_link_cut_for_60_seconds(whole, data_dir, tmp_path):
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir, LONG) as run:
        run.start_all().wait_for("step 300:")
        network.cut(1)
        time.sleep(60)
        network.mend(1)
        assert 0 not in run.end()
        assert "another worker is gone" in run.text(0), run.text(0)[-3000:]
        goes_on(run, whole)


@pytest.mark.long
def test_packets_delayed_by_50_milliseconds(data_dir, tmp_path):
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir) as run:
        want = run.start_all().ends_well().state()
    folder = tmp_path / "delayed"
    with hosts.Hosts(2, delay=0.05) as network, running(network, folder, data_dir) as run:
        assert_close(want, run.start_all().ends_well().state(), **SAME)


@pytest.mark.long
def test_a_worker_that_starts_a_minute_late(data_dir, tmp_path):
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir) as run:
        run.start(0)
        time.sleep(60)
        assert run.programs[0].poll() is None
        run.start(1)
        run.ends_well()


@pytest.mark.long
def test_a_full_disk_on_the_chief(whole, data_dir, tmp_path):
    """It fills while the run is under way."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], check=True)
    try:
        with hosts.Hosts(2) as network, running(network, disk, data_dir, LONG) as run:
            run.log = lambda i: tmp_path / f"log{i}.txt"
            run.start_all().wait_for("step 300:")
            filling = disk / "filling"
            with contextlib.suppress(OSError), filling.open("wb") as f:
                while True:
                    f.write(bytes(4096))
                    f.flush()
            assert 0 not in run.end()
            (error,) = errors(run, 0)
            assert "no space left on the disk" in error
            (error,) = errors(run, 1)
            assert "another worker is gone" in error
            assert "Traceback" not in run.text(0) + run.text(1)
            filling.unlink()
            goes_on(run, whole)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.long
def test_a_worker_with_another_commit(data_dir, tmp_path):
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", ROOT, other], check=True)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(
        ["git", *who, "commit", "--quiet", "--allow-empty", "-m", "Another"], cwd=other, check=True
    )
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir) as run:
        run.start(0)
        run.start(1, root=other)
        assert run.end() == [2, 2]
        for i in range(2):
            (error,) = errors(run, i)
            assert error == "error: the workers differ, and would not train one model:"
            told = re.findall(r"worker (\d): commit (\w+)", run.text(i))
            assert [k for k, _ in told] == ["0", "1"]
            assert told[0][1] != told[1][1]
        assert not run.workdir.exists()


@pytest.mark.long
@pytest.mark.parametrize("signalled", [0, 1])
def test_sigterm_to_one_host_ends_all_at_one_step(signalled, whole, data_dir, tmp_path):
    with hosts.Hosts(2) as network, running(network, tmp_path, data_dir, LONG) as run:
        run.start_all().wait_for("step 300:")
        assert run.programs[0].poll() is None
        run.programs[signalled].send_signal(signal.SIGTERM)
        assert run.end() == [preemption.STATUS] * 2, [run.text(i)[-3000:] for i in range(2)]
        assert "Stopped by SIGTERM at step" in run.text(0)
        assert "Stopped" not in run.text(1)
        steps = [int(p.stem[5:]) for p in run.workdir.glob("checkpoints/ckpt-*.index")]
        assert 300 < max(steps) < 600
        goes_on(run, whole)


def test_hosts_leave_nothing_behind():
    with hosts.Hosts(2) as network:
        assert network.address(0) != network.address(1)
        names = [network._host(i) for i in range(2)]
    for words in (["link"], ["netns"]):
        left = subprocess.run(["ip", *words], capture_output=True, text=True, check=True).stdout
        assert network._prefix not in left
    assert names[0] != names[1]
