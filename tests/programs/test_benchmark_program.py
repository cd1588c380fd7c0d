"""bin/benchmark and bin/load_test with measurements made up: what they write and tell."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from program_flags import program

from tf_structvae.benchmarks import (
    accuracy,
    arithmetic,
    batching,
    data,
    editor,
    load,
    runner,
    scaling,
    serving,
    start,
    train_step,
)


@pytest.fixture(autouse=True)
def _made_up(monkeypatch):
    """No job is run: each takes half a second, or what `result` says."""
    monkeypatch.setattr(runner, "machine", lambda: "a machine")

    def result(job):
        if job["suite"] == "data":
            return {
                "count": 320, "image_shape": [64, 64, 3], "cached": True, "first_rate": 640.0,
                "rate": 960.0, "start_mb": 100.0, "peak_mb": 300.0,
            }  # fmt: skip
        if job.get("profile"):
            kinds = {"Conv2D": {"seconds": 0.4, "calls": 6.0}}
            return {"seconds": 0.5, "kinds": kinds}
        if job["suite"] == "train":
            return {"seconds": 0.5, "operations": 10**9, "peak_mb": 200.0}
        return {"seconds": 0.5, "median": 0.5, "p99": 0.75, "calls": 9, "peak_mb": 200.0}

    def run(jobs):
        return [{**job, **result({"suite": "distribution", **job})} for job in jobs]

    monkeypatch.setattr(runner, "run", run)


def benchmark(monkeypatch, capfd, tmp_path, name, *flags):
    """What it writes as JSON, and its table."""
    output = tmp_path / "out"
    with program("benchmark") as module:
        words = [f"--suite={name}", f"--output={output}", *flags]
        monkeypatch.setattr(sys, "argv", ["bin/benchmark", *words])
        with pytest.raises(SystemExit) as ended:
            module.run()
    assert not ended.value.code
    text = (output / f"{name}.md").read_text()
    assert text.startswith("a machine\n\n")
    assert capfd.readouterr().out == f"\n{text}\ntable     {output / name}.md\n"
    return json.loads((output / f"{name}.json").read_text()), text


def picture(path):
    """A drawn one is neither white nor of one colour."""
    return len(np.unique(np.asarray(Image.open(path))[..., :3].reshape(-1, 3), axis=0)) > 10


def test_distribution(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(runner, "memory_bandwidth", lambda: 5.25e9)
    found, text = benchmark(monkeypatch, capfd, tmp_path, "distribution", "--quick")
    jobs = runner.distribution_jobs(quick=True)
    assert found == [{**r, **job} for r, job in zip(found, jobs, strict=True)]
    assert "Memory bandwidth of a copy: 5.2 GB/s" in text
    assert runner.table(found, 5.25e9) in text
    assert text.count("| 500.0 | 1.0 | 200 |") >= len(jobs) / 2
    assert picture(tmp_path / "out/distribution.png")


def test_accuracy(monkeypatch, capfd, tmp_path):
    names = [*accuracy.CLASSES, *accuracy.FORMS]
    errors = {"a factor": {name: [0.25, 0.5] for name in names}}
    monkeypatch.setattr(accuracy, "errors", lambda: errors)
    found, text = benchmark(monkeypatch, capfd, tmp_path, "accuracy")
    assert found == errors
    assert f"| a factor |{' 0.25 | 0.5 |' * len(names)}\n" in text
    assert picture(tmp_path / "out/accuracy.png")


@pytest.mark.parametrize("profiled", [True, False])
def test_training_step(monkeypatch, capfd, tmp_path, profiled):
    monkeypatch.setattr(arithmetic, "peak", lambda: 8e9)
    flags = ["--profile"] if profiled else []
    (found, peak, traced), text = benchmark(
        monkeypatch, capfd, tmp_path, "train", "--quick", *flags
    )
    assert [r["implementation"] for r in found] == list(train_step.IMPLEMENTATIONS)
    assert text.count("| 500 | 1.00 | 0 | 25% | 200 |") == len(found)
    assert peak == 8e9
    assert len(traced) == profiled
    assert ("| Conv2D | 6 | 400.0 | 80% |" in text) == profiled


@pytest.mark.parametrize("suite", [batching, scaling, start])
def test_what_takes_a_whole_machine(monkeypatch, capfd, tmp_path, suite):
    monkeypatch.setattr(suite, "run", lambda quick: [{"quick": quick}])
    monkeypatch.setattr(suite, "table", lambda results: f"of {results}")
    name = suite.__name__.rpartition(".")[2]
    found, text = benchmark(monkeypatch, capfd, tmp_path, name, "--quick")
    assert found == [{"quick": True}]
    assert "of [{'quick': True}]" in text


def test_data(monkeypatch, capfd, tmp_path):
    (found, consumed), text = benchmark(
        monkeypatch, capfd, tmp_path, "data", "--quick", f"--data_dir={tmp_path}"
    )
    assert {r["problem"]["data_dir"] for r in found} == {str(tmp_path)}
    assert len(consumed) == 1  # one size of image
    assert text.count("| 320 | 64x64x3 | yes | 640 | 960 | 64 | 10x |") == len(data.SOURCES)


@pytest.mark.parametrize("quick", [True, False])
def test_serving(monkeypatch, capfd, tmp_path, quick):
    def export(directory, networks):
        assert directory.is_dir()
        return {name: directory / name for name in networks}

    def jobs(paths, is_quick):
        assert is_quick == quick
        return [
            {"suite": "serving", "network": n, "path": str(p), "signature": "decode", "batch": 1}
            for n, p in paths.items()
        ]

    def http(jobs):
        # what took minutes is kept before the server is started
        kept = json.loads((tmp_path / "out/serving.json").read_text())
        assert ([r["network"] for r in kept[0]], kept[1]) == ([j["network"] for j in jobs], [])
        return [{**j, "median": 1.0, "p99": 2.0, "server_mb": 400.0} for j in jobs]

    monkeypatch.setattr(serving, "export_models", export)
    monkeypatch.setattr(serving, "jobs", jobs)
    monkeypatch.setattr(serving, "measure_http", http)
    flags = ["--quick"] if quick else []
    (found, served), text = benchmark(monkeypatch, capfd, tmp_path, "serving", *flags)
    networks = ["default"] if quick else ["default", "paper"]
    assert [r["network"] for r in found] == [r["network"] for r in served] == networks
    cells = "| 1 | 500.0 | 750.0 | 2.0 | 200 | 1000.0 | 2000.0 | 1.0 | 400 |"
    assert text.count(cells) == len(networks)
    assert not Path(found[0]["path"]).parent.exists()


def test_editor(monkeypatch, capfd, tmp_path):
    checked = []
    monkeypatch.setattr(editor, "check", lambda: checked.append(1))
    monkeypatch.setattr(editor, "run", lambda quick: [{"quick": quick}])
    monkeypatch.setattr(editor, "table", lambda results: f"of {results}")
    found, text = benchmark(monkeypatch, capfd, tmp_path, "editor", "--quick")
    assert found == [{"quick": True}]
    assert "of [{'quick': True}]" in text
    assert checked == [1]


@pytest.mark.parametrize("well", [True, False])
def test_load_test(monkeypatch, capfd, tmp_path, well):
    """Of a model that is given, and of one that it makes."""
    given = tmp_path / "given"
    given.mkdir()
    (given / "saved_model.pb").touch()
    seen = []

    def run(version, directory, options):
        seen.append((version.name, options))
        assert version.exists()
        assert not directory.exists()
        return "| report |", well

    def export(directory, networks):
        assert networks == ["default"]
        (directory / "made").mkdir(parents=True)
        return {"default": directory / "made"}

    monkeypatch.setattr(load, "run", run)
    monkeypatch.setattr(serving, "export_models", export)
    words = ["--minutes=0.5", "--clients=3", "--publish_seconds=7", "--kill_seconds=9"]
    for model in ([f"--model={given}"], []):
        with program("load_test") as module:
            arguments = ["bin/load_test", f"--output={tmp_path / 'out'}", *words, *model]
            monkeypatch.setattr(sys, "argv", arguments)
            with pytest.raises(SystemExit) as ended:
                module.run()
        assert ended.value.code == (0 if well else 1)
        text = (tmp_path / "out/load.md").read_text()
        assert text == f"a machine\n\n| report |\n\n{'passed' if well else 'FAILED'}\n"
        assert text in capfd.readouterr().out
    assert seen == [(name, load.Options(0.5, 3, 7, 9)) for name in ("given", "made")]
