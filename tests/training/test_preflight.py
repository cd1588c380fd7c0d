"""Predicted memory against measured, and what is said to runs that do not fit."""

import subprocess
import sys

import forked
import keras
import pytest
from small_config import small, tiny

from tf_structvae.training import preflight
from tf_structvae.training.preflight import advice, decision, measurement, report
from tf_structvae.utilities import memory

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def program():
    """Bytes of the program in next to no training: those of TensorFlow 2.18 and 2.21 differ."""
    measured = preflight.measure(tiny(), (8, 8, 3), steps=1).step
    assert measured == pytest.approx(preflight.predict(tiny(), (8, 8, 3)).program, rel=0.3)
    return measured


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((64, 64, 3), {"train__batch_size": 64, "evaluation__batch_size": 160}),
        (
            (48, 40, 3),
            {
                "train__batch_size": 32,
                "model__likelihood": "stock_low_rank",
                "model__factor_scale": "kernel",
                "model__rank": 60,
                "evaluation__batch_size": 1,
            },
        ),
        (
            (48, 40, 3),
            {
                "train__batch_size": 48,
                "model__likelihood": "local_low_rank",
                "model__noise": "per_pixel",
                "model__rank": 60,
                "evaluation__batch_size": 1,
            },
        ),
    ],
)
def test_prediction_is_near_the_measurement(shape, changes, program):
    """Within 30% of the whole, and near what the images alone take."""
    c = small(**changes)
    predicted = preflight.predict(c, shape)
    evaluate = predicted.evaluation > predicted.step
    measured = preflight.measure(c, shape, steps=1, evaluate=evaluate)
    assert measured.failure == ""
    assert measured.images_per_second == pytest.approx(c.train.batch_size / measured.seconds)
    assert measured.total == pytest.approx(predicted.total, rel=0.3)
    # what XLA takes beside the program that was measured
    fixed = program + predicted.program - preflight.predict(tiny(), (8, 8, 3)).program
    fixed += predicted.state
    assert predicted.activations > 0.4 * fixed  # else the next line says nothing
    # XLA's buffers of a local head are not as many on all machines
    within = 0.5 if c.model.likelihood == "local_low_rank" else 0.3
    assert measured.step - fixed == pytest.approx(predicted.activations, rel=within)


def test_prediction_counts_the_weights_of_the_real_model():
    from tf_structvae.training.from_config import build_model

    c = small()
    predicted = preflight.predict(c, (24, 20, 3))
    model = build_model(c, (24, 20, 3))
    real = {
        "encoder": model.encoder.count_params(),
        "head": model.head.count_params(),
        "decoder": model.decoder.count_params() - model.head.count_params(),
    }
    assert predicted.parameters == real
    assert predicted.state == 4 * 4 * sum(real.values())


def test_prediction_grows_with_what_a_step_holds():
    def step(shape=(32, 32, 3), replicas=1, images=0, parts=1, **changes):
        predicted = preflight.predict(small(**changes), shape, replicas, images)
        return predicted.at(parts=parts).step

    assert step() < step(train__batch_size=33) < step(train__batch_size=64)
    assert step() < step((33, 32, 3)) < step((64, 64, 3))
    assert step(parts=8) < step(parts=4) < step(parts=2) < step()
    assert step(replicas=2) < step()
    assert step() < step(model__noise="per_pixel")
    assert step() < step(objective__samples=2)
    assert step() < step(train__jit=True)
    assert step(images=10) - step() == 10 * 32 * 32 * 3
    stock = {"model__likelihood": "stock_low_rank", "model__factor_scale": "kernel"}
    assert step() < step(**stock, model__rank=2) < step(**stock, model__rank=4)
    assert step() == pytest.approx(step(model__rank=100), rel=1e-3)  # P is not built


def test_half_precision_counts_on_a_gpu_alone():
    half = small(train__precision="mixed_bfloat16")
    shape = (32, 32, 3)
    on_cpu = [preflight.predict(c, shape).image for c in (small(), half)]
    on_gpu = [preflight.predict(c, shape, gpu=True).image for c in (small(), half)]
    assert on_cpu[0] == on_cpu[1] == on_gpu[0]
    assert 0.5 * on_gpu[0] < on_gpu[1] < on_gpu[0]
    assert keras.config.dtype_policy().name == "float32"


def test_accumulate_is_read_from_the_config():
    c = small()
    with c.train.unlocked():
        c.train.accumulate = 5
    assert preflight.predict(c, (32, 32, 3)).part == 7  # of 32


# --- Refusal and advice -------------------------------------------------------------------------


def flags(text):
    """{flag: value} of the lines that are flags."""
    found = [line.split()[0] for line in text.splitlines() if line.startswith("  --config.")]
    return {flag.removeprefix("--config."): value for flag, value in (f.split("=") for f in found)}


def test_advised_values_fit_and_their_neighbours_do_not():
    c = small(
        train__batch_size=300,
        evaluation__batch_size=1000,
        model__likelihood="stock_low_rank",
        model__factor_scale="kernel",
    )
    predicted = preflight.predict(c, (64, 64, 3))
    budget = predicted.program + predicted.state + predicted.activations // 2
    found = flags(advice.advise(predicted, budget))
    assert set(found) == {
        "train.batch_size", "train.accumulate", "model.rank", "evaluation.batch_size",
    }  # fmt: skip
    fields = {"train.batch_size": "batch", "train.accumulate": "parts", "model.rank": "rank"}
    for flag, field in fields.items():
        value, worse = int(found[flag]), -1 if field == "parts" else 1
        assert predicted.at(**{field: value}).step <= budget
        assert predicted.at(**{field: value + worse}).step > budget
    value = int(found["evaluation.batch_size"])
    assert predicted.at(evaluation_batch=value).evaluation <= budget
    assert predicted.at(evaluation_batch=value + 1).evaluation > budget


def test_advised_flags_give_the_predicted_memory():
    c = small(train__batch_size=300)
    predicted = preflight.predict(c, (64, 64, 3))
    text = advice.advise(predicted, 2 << 30)
    c.train.batch_size = int(flags(text)["train.batch_size"])
    size = memory.gigabytes(preflight.predict(c, (64, 64, 3)).step)
    assert f"--config.train.batch_size={c.train.batch_size} (predicted {size})" in text
    assert "rank" not in text  # P is not built


def test_half_precision_is_advised_only_where_it_fits():
    predicted = preflight.predict(small(train__batch_size=300), (64, 64, 3), gpu=True)
    budget = predicted.step - 1
    assert "mixed_bfloat16" in advice.advise(predicted, budget, lambda: predicted.at(batch=10))
    assert "mixed_bfloat16" not in advice.advise(predicted, budget, lambda: predicted)


def test_what_never_fits():
    predicted = preflight.predict(small(), (64, 64, 3))
    text = advice.advise(predicted, predicted.program)
    assert "Even with one image at a time a training step takes 1.0 GB" in text
    assert "Even an evaluation of one image" in text


def test_advice_is_corrected_by_the_measurement():
    predicted = preflight.predict(small(train__batch_size=100), (64, 64, 3))
    more = preflight.Measurement(1.0, 100.0, predicted.step + 100 * MEGABYTE, None, "was ended")
    better = advice.corrected(predicted, more, predicted.step)
    assert better.step == pytest.approx(more.step, abs=200)
    assert better.evaluation > predicted.step
    killed = preflight.Measurement(None, None, None, None, "was ended")
    assert advice.corrected(predicted, killed, 2 << 30).step > 2 << 30


def test_hopeless_runs_are_refused_without_a_try(monkeypatch):
    monkeypatch.setattr("tf_structvae.training.preflight.decision.measure", None)
    with pytest.raises(ValueError, match=r"avatars does not fit .* of 2.0 GB --memory_budget") as e:
        preflight.check(small(train__batch_size=1000), (64, 64, 3), budget_gb=2, when="always")
    assert flags(str(e.value)).keys() == {"train.batch_size", "train.accumulate"}


def test_small_runs_are_not_measured(monkeypatch):
    monkeypatch.setattr("tf_structvae.training.preflight.decision.measure", None)
    lines = []
    preflight.check(small(), (64, 64, 3), budget_gb=8, output=lines.append)
    assert len(lines) == 1
    assert lines[0].endswith("of 8.0 GB --memory_budget; not measured")
    assert "1,756,336 parameters" in lines[0]
    with pytest.raises(ValueError, match="does not fit"):
        preflight.check(small(), (64, 64, 3), budget_gb=1, when="never", output=lines.append)


def test_measured_above_the_budget_is_refused(monkeypatch):
    taken = preflight.Measurement(2.0, 16.0, 3 << 30, 3 << 30)
    monkeypatch.setattr("tf_structvae.training.preflight.decision.measure", lambda *a, **k: taken)
    lines = []
    with pytest.raises(ValueError, match=r"measured 3.0 GB of 2.5 GB --memory_budget") as e:
        preflight.check(small(), (64, 64, 3), budget_gb=2.5, output=lines.append)
    assert int(flags(str(e.value))["train.batch_size"]) < 32
    taken = preflight.Measurement(2.0, 16.0, 2 << 30, 2 << 30)
    preflight.check(small(), (64, 64, 3), budget_gb=2.5, rate=123.4, output=lines.append)
    for words in ("1800 steps", "1:00 h", "16 images a second", "123 images", "measured 2.0 GB"):
        assert words in lines[-1].replace(",", "")


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
    assert found == preflight.Measurement(None, None, None, None, found.failure)


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


def test_table_of_a_run_that_was_ended():
    nothing = preflight.Measurement(None, None, None, None, "was ended")
    predicted = preflight.predict(small(), (8, 8, 3)).at(parts=5)
    text = report.table(small(), (8, 8, 3), predicted, nothing, "1 GB", "CPU")
    assert "32, in 5 parts of 7" in text
    assert "measured" not in text
    assert "a second" not in text


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
    for word in ("16x16x3", "parameters", "measured", "images a second", "data pipeline"):
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
