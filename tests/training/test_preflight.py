"""What a run is measured to take, and what is said to runs that do not fit."""

import math
import random
import re
import subprocess
import sys

import forked
import keras
import pytest
from small_config import small, tiny

from tf_structvae.datasets import pipeline
from tf_structvae.training import preflight
from tf_structvae.training.from_config import build_model
from tf_structvae.training.preflight import decision, measurement, size
from tf_structvae.utilities import memory

MEGABYTE = 1 << 20


# --- Roughly what a run takes -------------------------------------------------------------------


def test_size_counts_the_weights_and_tensors_of_the_real_model():
    c = small(objective__samples=2)
    network = size.of_network(c, (24, 20, 3))
    model = build_model(c, (24, 20, 3))
    head = model.head.count_params()
    assert network.parameters == {
        "encoder": model.encoder.count_params(),
        "head": head,
        "decoder": model.decoder.count_params() - head,
    }
    emitted = [
        4 * sum(math.prod(t.shape[1:]) for la in m.layers for t in outputs(la))
        for m in (model.encoder, model.decoder)
    ]
    assert network.image == emitted[0] + 2 * emitted[1]
    program = (1 << 30) + 16 * sum(network.parameters.values())  # weights, gradients, two moments
    assert network.step(7) == program + 7 * network.image


def outputs(layer):
    return layer.output if isinstance(layer.output, (list, tuple)) else [layer.output]


@pytest.mark.parametrize("likelihood", ["stock_low_rank", "local_low_rank"])
def test_p_counts_where_it_is_built(likelihood):
    def image(rank, **changes):
        return size.of_network(small(model__rank=rank, **changes), (24, 20, 3)).image

    assert image(4) == pytest.approx(image(9), rel=0.01)  # the paper's head never builds it
    changes = {"model__likelihood": likelihood, "model__factor_scale": "kernel"}
    if likelihood == "local_low_rank":
        changes["model__noise"] = "per_pixel"
    more = image(9, **changes) - image(4, **changes)
    assert more >= 5 * 10 * 4 * 24 * 20 * 3


def test_describing_leaves_no_trace():
    before = random.getstate(), keras.config.dtype_policy().name
    size.of_network(small(train__precision="mixed_bfloat16"), (16, 16, 3))
    assert (random.getstate(), keras.config.dtype_policy().name) == before


def test_data_are_cached_whole_or_a_buffer(monkeypatch):
    monkeypatch.setattr(pipeline, "CACHE_BYTES", 10 * 48)
    monkeypatch.setattr(pipeline, "SHUFFLE_BYTES", 100)
    assert [size.of_data(n, (4, 4, 3)) for n in (0, 10, 11)] == [0, 480, 100]


# --- What is measured, and what fits ------------------------------------------------------------


def flags(text):
    """{flag: value} of the flags in a text."""
    return {k: int(v) for k, v in re.findall(r"--config\.([\w.]+)=(\d+)", text)}


class Machine:
    """Stands in for `measure`: each image of a part, or of an evaluation, takes so much."""

    def __init__(self, monkeypatch, each, evaluated=0, program=MEGABYTE):
        self.each, self.evaluated, self.program, self.tried = each, evaluated, program, []
        monkeypatch.setattr(decision, "measure", self)

    def __call__(self, config, image_shape, steps=3, budget=None, replicas=1, **others):
        self.tried.append(config.copy_and_resolve_references())
        images = -(-config.train.batch_size // (replicas * config.train.accumulate))
        step = self.program + images * self.each
        if step > budget:
            return preflight.Measurement(self.program, None, None, None, None, "was ended")
        peak = max(step, self.program + config.evaluation.batch_size * self.evaluated)
        return preflight.Measurement(self.program, 2.0, 16.0, step, peak)


def checked(config, budget, **others):
    """The lines of a check, and its error or None."""
    lines = []
    try:
        preflight.check(
            config, (64, 64, 3), budget_gb=budget / memory.GIGABYTE, when="always",
            output=lines.append, **others,
        )  # fmt: skip
    except ValueError as error:
        return lines, str(error)
    return lines, None


def test_parts_are_doubled_until_a_step_fits(monkeypatch):
    machine = Machine(monkeypatch, each=10 * MEGABYTE)
    lines, error = checked(small(train__batch_size=30), 90 * MEGABYTE)
    assert "avatars does not fit into memory: the process of a training step was ended" in error
    assert flags(error) == {"train.accumulate": 4}
    assert "It fits with --config.train.accumulate=4 (measured 0.1 GB)." in error
    assert [c.train.accumulate for c in machine.tried] == [1, 2, 4]
    assert lines[-2:] == [
        f"preflight: trying --config.train.accumulate={parts}" for parts in (2, 4)
    ]
    assert checked(small(train__batch_size=30, train__accumulate=4), 90 * MEGABYTE)[1] is None


def test_no_more_parts_than_images(monkeypatch):
    machine = Machine(monkeypatch, each=100 * MEGABYTE)
    _, error = checked(small(train__batch_size=5), 90 * MEGABYTE)
    assert "Even with one image at a time a training step takes more" in error
    assert [c.train.accumulate for c in machine.tried] == [1, 2, 4, 5]


def test_batches_are_halved_where_parts_may_not_be(monkeypatch):
    """Batch normalisation over several replicas allows no parts."""
    machine = Machine(monkeypatch, each=10 * MEGABYTE)
    c = small(train__batch_size=32, model__norm="batch")
    assert flags(checked(c, 90 * MEGABYTE, replicas=2)[1]) == {"train.batch_size": 16}
    machine.each = 100 * MEGABYTE
    assert "Even with one image" in checked(c, 90 * MEGABYTE, replicas=2)[1]
    assert machine.tried[-1].train.batch_size == 2
    c.model.norm, machine.each = "group", 10 * MEGABYTE
    assert flags(checked(c, 90 * MEGABYTE, replicas=2)[1]) == {"train.accumulate": 2}


def test_evaluation_is_halved_until_it_fits(monkeypatch):
    Machine(monkeypatch, each=MEGABYTE, evaluated=10 * MEGABYTE)
    c = small(train__batch_size=30, evaluation__batch_size=100)
    error = checked(c, 90 * MEGABYTE)[1]
    assert "the evaluation was measured to take 1.0 GB; the budget is 0.1 GB" in error
    assert flags(error) == {"evaluation.batch_size": 6}
    Machine(monkeypatch, each=4 * MEGABYTE, evaluated=100 * MEGABYTE)
    error = checked(c, 90 * MEGABYTE)[1]
    assert "Even with one image at a time an evaluation takes more" in error


def test_what_fits_no_image_is_not_searched(monkeypatch):
    machine = Machine(monkeypatch, each=MEGABYTE, program=100 * MEGABYTE)
    assert "the network alone take more" in checked(small(), 90 * MEGABYTE)[1]
    assert len(machine.tried) == 1


def test_images_in_memory_leave_less(monkeypatch):
    Machine(monkeypatch, each=MEGABYTE, program=0)
    c = small(train__batch_size=30)
    count = 60 * MEGABYTE // (64 * 64 * 3)
    lines, error = checked(c, 91 * MEGABYTE, images=count)
    assert error is None
    assert "of which data   0.1 GB" in lines[-1]
    assert "training step   0.1 GB" in lines[-1]
    assert flags(checked(c, 89 * MEGABYTE, images=count)[1]) == {"train.accumulate": 2}


def test_small_runs_are_not_measured(monkeypatch):
    monkeypatch.setattr(decision, "measure", None)
    lines = []

    def check(budget_gb, **changes):
        c = small(evaluation__batch_size=2, **changes)
        preflight.check(c, (64, 64, 3), budget_gb=budget_gb, output=lines.append)

    check(8)
    assert lines == [
        "preflight: 1,756,336 parameters, roughly 1.3 GB of 8.0 GB --memory_budget; not measured"
    ]
    check(3.8, train__accumulate=8)
    for changes in ({}, {"train__accumulate": 8, "evaluation__batch_size": 32}):
        c = small(**{"evaluation__batch_size": 2, **changes})
        with pytest.raises(TypeError):  # it is measured
            preflight.check(c, (64, 64, 3), budget_gb=3.8, output=lines.append)


def test_table(monkeypatch):
    taken = preflight.Measurement(1 << 30, 2.0, 16.0, 2 << 30, 2 << 30)
    monkeypatch.setattr(decision, "measure", lambda *a, **k: taken)
    lines, error = checked(small(train__accumulate=5), 3 << 30, rate=123.4)
    assert error is None
    for words in (
        "1800 steps", "1:00 h", "16 images a second", "123 images", "step   2.0 GB",
        "batch 50: 2.0 GB", "32, in 5 parts of 7",
    ):  # fmt: skip
        assert words in lines[-1].replace(",", "") or words in lines[-1]


def test_table_of_a_run_that_was_ended(monkeypatch):
    Machine(monkeypatch, each=MEGABYTE, program=4 << 30)
    lines, _ = checked(small(), 1 << 30)
    assert "training step" not in lines[-1]
    assert "a second" not in lines[-1]


@pytest.mark.long
def test_what_is_advised_fits():
    """With real steps: what lies between one in a few parts and one in many allows some."""
    c, parts = (small(train__batch_size=128, evaluation__batch_size=2) for _ in range(2))
    parts.train.accumulate = 32
    whole, least = (preflight.measure(x, (64, 64, 3), steps=1) for x in (c, parts))
    assert whole.failure == least.failure == ""
    assert whole.program < least.step < whole.step
    assert whole.images_per_second == pytest.approx(c.train.batch_size / whole.seconds)
    budget = (least.step + whole.step) // 2
    _, error = checked(c, budget)
    c.train.accumulate = flags(error)["train.accumulate"]
    assert 2 <= c.train.accumulate <= 32
    assert preflight.measure(c, (64, 64, 3), steps=1).step < budget


# --- The measured process -----------------------------------------------------------------------


def answer(monkeypatch, program):
    """Lets a program stand in for the worker."""
    popen = subprocess.Popen

    def start(command, **kwargs):
        return popen([sys.executable, "-c", program], **kwargs)

    monkeypatch.setattr(measurement.subprocess, "Popen", start)


def test_a_process_over_the_budget_is_ended_and_reported(monkeypatch):
    """Whenever it is looked at: it holds twice the budget and would not end."""
    answer(monkeypatch, f"import signal; held = b'x' * {200 * MEGABYTE}; signal.pause()")
    found = preflight.measure(tiny(), (16, 16, 3), budget=100 * MEGABYTE)
    assert found.failure == "was ended when it held more than 0.1 GB"
    assert found == preflight.Measurement(None, None, None, None, None, found.failure)


def test_a_process_that_the_system_ends_is_a_finding(monkeypatch):
    line = 'print(\'{"step": {"seconds": 2.0, "peak": 7}}\', flush=True)'
    answer(monkeypatch, f"import os, signal; {line}; os.kill(os.getpid(), signal.SIGKILL)")
    found = preflight.measure(tiny(), (16, 16, 3))
    assert "signal 9" in found.failure
    assert (found.step, found.images_per_second, found.evaluation) == (7, 1.0, None)


def test_a_process_that_fails_otherwise_is_an_error(monkeypatch):
    answer(monkeypatch, "raise KeyError('shape')")
    with pytest.raises(RuntimeError, match="KeyError: 'shape'"):
        preflight.measure(tiny(), (16, 16, 3))


def test_ctrl_c_ends_the_process(monkeypatch):
    answer(monkeypatch, "import signal; signal.pause()")
    children = []

    def interrupt(pid):
        children.append(pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(memory, "resident", interrupt)
    with pytest.raises(KeyboardInterrupt):
        preflight.measure(tiny(), (16, 16, 3), budget=1)
    assert not (memory.PROC / str(children[0])).exists()  # ended and waited for


def test_pipeline_rate_leaves_out_the_first_batch(monkeypatch):
    class Clock:
        now = -1.0

        def perf_counter(self):
            self.now += 1
            return self.now

    batches = [[0] * 5] * 4
    monkeypatch.setattr(decision, "time", Clock())
    assert decision.pipeline_rate(batches, seconds=60) == 15 / 4
    monkeypatch.setattr(decision, "time", Clock())
    assert decision.pipeline_rate(batches, seconds=1.5) == 10 / 3


# --- Memory of the machine ----------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """An empty /proc and /sys/fs/cgroup, and a function that writes files to them."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")

    def write(path, text):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def test_available_without_any_file(machine):
    assert memory.resident() is None
    assert memory.available() == memory._physical() > 0
    assert memory.peak() > 10 * MEGABYTE


def test_available_on_a_plain_machine(machine):
    machine("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    machine("proc/self/status", "Name: x\nVmHWM:\t 900 kB\nVmRSS:\t 700 kB\n")
    assert memory.available() == 5700 << 10
    assert memory.peak() == 900 << 10


def test_available_in_groups_of_version_2(machine):
    machine("proc/meminfo", "MemAvailable: 50000 kB\n")
    machine("proc/self/cgroup", "0::/user/run\n")
    machine("cgroup/user/run/memory.max", "max\n")
    machine("cgroup/user/run/memory.current", "5\n")
    assert memory.available() == 50000 << 10
    machine("cgroup/user/memory.max", "4000000\n")
    machine("cgroup/user/memory.current", "3000000\n")
    assert memory.available() == 1_000_000
    machine("cgroup/user/memory.stat", "anon 7\ninactive_file 500000\n")
    assert memory.available() == 1_500_000


def test_available_in_a_container_of_version_1(machine):
    machine("proc/meminfo", "MemAvailable: 50000 kB\n")
    machine("proc/self/cgroup", "5:cpu:/a\n4:memory:/outside/x\n0::/\n")
    machine("cgroup/memory/memory.limit_in_bytes", "8000000\n")
    machine("cgroup/memory/memory.usage_in_bytes", "6000000\n")
    machine("cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 1000\n")
    assert memory.available() == 2_001_000


def test_gpus_are_asked_of_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert memory.free_of_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 1000\necho 2000\n")
    program.chmod(0o755)
    assert memory.free_of_gpus() == [1000 * MEGABYTE, 2000 * MEGABYTE]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert memory.free_of_gpus() == []


# --- The program --------------------------------------------------------------------------------


def run(*arguments):
    return forked.run("bin/train", "--config=configs/smoke.py", *arguments)


@pytest.mark.long
def test_preflight_flag_only_reports(data_dir, tmp_path):
    done = run("--preflight", f"--config.data.dir={data_dir}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    for word in ("16x16x3", "parameters", "training step", "images a second", "data pipeline"):
        assert word in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_run_over_the_budget_leaves_nothing(data_dir, tmp_path):
    done = run(
        "--memory_budget=0.5", f"--config.data.dir={data_dir}", f"--workdir={tmp_path / 'run'}"
    )
    assert done.returncode == 2
    assert "smoke does not fit into memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
