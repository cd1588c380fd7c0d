"""The preflight on a machine with GPUs, which are made up, and the steps that it measures."""

import json
from types import SimpleNamespace

import pytest
import tensorflow as tf
from small_config import small, tiny

from tf_structvae.training import preflight, tf_config
from tf_structvae.training.preflight import decision, of_run, worker
from tf_structvae.utilities import memory


@pytest.fixture
def gpus(monkeypatch):
    """(free bytes of each) -> those that TensorFlow was told not to take as a whole."""

    def have(*free):
        names, told = [f"GPU:{i}" for i in range(len(free))], []

        def grow(device, wanted):
            assert wanted is True
            told.append(device)
            if device == "GPU:0":
                raise RuntimeError("Physical devices cannot be modified after being initialized")

        real = tf.config.list_physical_devices
        monkeypatch.setattr(
            tf.config,
            "list_physical_devices",
            lambda kind=None: names if kind == "GPU" else real(kind),
        )
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
        monkeypatch.setattr(memory, "free_of_gpus", lambda: list(free))
        return told

    return have


def test_the_smallest_free_gpu_is_the_budget(gpus, monkeypatch):
    gpus(6 << 30, 2 << 30)
    assert decision._budget(0.0, True) == (2 << 30, "free on the GPU")
    assert decision._budget(1.5, True) == (3 << 29, "--memory_budget")
    monkeypatch.setattr(memory, "available", lambda: 5)
    assert decision._budget(0.0, False) == (5, "available")


def test_gpus_are_shared_with_the_measured_process(gpus, monkeypatch):
    told = gpus(3 << 30, 4 << 30)
    seen = {}

    def measure(config, image_shape, **others):
        seen.update(others)
        return preflight.Measurement(1, 1.0, 2.0, 2 << 30, 2 << 30)

    monkeypatch.setattr(decision, "measure", measure)
    lines = []
    preflight.check(small(), (64, 64, 3), replicas=2, images=10**4, output=lines.append)
    assert "of which data" not in lines[-1]  # they are not on the GPU
    assert "2 GPU, 2 replicas" in lines[-1]
    assert told == ["GPU:0", "GPU:1"]  # one that is at work already does not keep the other
    assert seen["budget"] is None  # what the process holds besides is not the GPU's
    gpus(1 << 30)
    with pytest.raises(ValueError, match=r"to take 2\.0 GB; .* 1\.0 GB free on the GPU"):
        preflight.check(small(), (64, 64, 3), output=lines.append)


def test_connected_workers_hold_their_gpus(gpus):
    gpus(1 << 30)
    of_run.check_experiment(None, 0.0)


def test_a_measured_process_that_ended_is_told(monkeypatch):
    ended = preflight.Measurement(None, None, None, None, None, "was ended by signal 9")
    monkeypatch.setattr(decision, "measure", lambda *_, **__: ended)
    with pytest.raises(ValueError, match="the process of a training step was ended by signal 9; "):
        preflight.check(
            small(), (64, 64, 3), budget_gb=4, when="always", output=lambda line: None
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"when must be one of .* got 'sometimes'"):
        preflight.check(small(), (64, 64, 3), when="sometimes")


def test_replicas_are_the_gpus_of_all_workers(gpus, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", tf_config.of_worker(["a:1", "b:1", "c:1"], 1))
    assert [of_run.replicas(d) for d in ("none", "mirrored", "multi_worker")] == [1, 1, 3]
    gpus(1, 1)
    assert [of_run.replicas(d) for d in ("none", "mirrored", "multi_worker")] == [1, 2, 6]
    monkeypatch.delenv("TF_CONFIG")
    with pytest.raises(ValueError, match="TF_CONFIG"):
        of_run.replicas("multi_worker")


# The process that takes steps.


@pytest.mark.parametrize(
    ("took", "median", "count"),
    [
        ([7.0, 1.0, 2.0, 3.0], 2.0, 4),  # the first, which traces, does not count
        ([3.0, 1.0, 2.0], 1.0, 2),  # no more than 3.5 seconds of steps
        ([15.0, 1.0], 15.0, 1),  # unless it took far too long
    ],
)
def test_steps_end_when_they_took_too_long(took, median, count, monkeypatch):
    clock, batches = SimpleNamespace(now=0.0), []

    def step(*batch):
        clock.now += took[len(batches)]
        batches.append(batch)

    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(worker, "_peak", lambda: 77)
    most = 100.0 if count == 4 else 3.5
    found = worker._train(SimpleNamespace(train_on_batch=step), ("images",), 3, most)
    assert found == {"seconds": median, "peak": 77}
    assert batches == [("images",)] * count


def test_peak_is_that_of_the_gpu(gpus, monkeypatch):
    assert worker._peak() > 10 << 20
    gpus(1 << 30)
    infos = {"GPU:0": {"current": 3, "peak": 5}}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", infos.get)
    assert worker._peak() == 5


def test_refused_memory_is_a_finding(monkeypatch, capsys):
    seen = []

    def train(model, batch, steps, seconds):
        seen.append((model.image_shape, [x.shape for x in batch], steps, seconds))
        if len(seen) == 2:
            raise MemoryError
        return {"seconds": 1.0, "peak": 2}

    monkeypatch.setattr(worker, "_train", train)
    job = {
        "config": json.loads(tiny().to_json_best_effort()), "image_shape": [8, 8, 3], "steps": 4,
        "most_seconds": 9.0, "evaluate": False,
    }  # fmt: skip
    for _ in range(2):
        worker.main(job)
    lines = list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert [line.pop("program") > 10 << 20 for line in lines if "program" in line] == [True] * 2
    lines = [line for line in lines if line]
    assert lines == [{"step": {"seconds": 1.0, "peak": 2}}, {"error": "was refused memory"}]
    assert seen == [((8, 8, 3), [(2, 8, 8, 3)], 4, 9.0)] * 2
