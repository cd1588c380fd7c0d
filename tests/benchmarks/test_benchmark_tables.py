"""The jobs of the benchmarks, and the tables and figures of their results."""

import json
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from forked import run

from tf_structvae.benchmarks import accuracy, data, implementations, plot, runner, worker
from tf_structvae.benchmarks.problem import Problem

SMALL = Problem(height=16, width=16, rank=10)


@pytest.fixture
def _forks(monkeypatch):
    """The workers, without seconds of imports."""

    def forked(command, **options):
        assert command[1:3] == ["-m", "tf_structvae.benchmarks.worker"]
        assert options["env"]["TF_CPP_MIN_LOG_LEVEL"] == "3"
        return run(worker.__file__, *command[3:])

    monkeypatch.setattr(runner.subprocess, "run", forked)


@pytest.mark.usefixtures("_forks")
def test_jobs_are_returned_with_their_results():
    dense = {
        "implementation": "dense_formula",
        "operation": "condition",
        "through_features": False,
        "problem": {"height": 4, "width": 4, "rank": 2, "batch": 1, "features": 3, "patch": 2},
        "warm_up": 0,
        "repeats": 2,
    }
    other = {**dense, "operation": "sample"}
    broken = {**dense, "implementation": "nobody's"}
    found = runner.run([dense, other, broken])
    assert found[0].items() >= dense.items()
    assert 0 < found[0]["seconds"] < 10
    assert found[0]["peak_mb"] > 1
    assert found[1] == {**other, "error": "has no such operation"}
    assert found[2] == {**broken, "error": "process ended with status 1"}


def test_a_killed_process_is_a_result(monkeypatch):
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr(runner.subprocess, "run", lambda *_, **__: killed)
    assert runner.run_job({"a": 1}) == {"a": 1, "error": "process ended with status -9"}


def test_bandwidth_is_of_the_fastest_copy(monkeypatch):
    ticks = iter([0.0, 3.0, 5.0, 5.5, 6.0, 8.0])
    monkeypatch.setattr(runner, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    assert runner.memory_bandwidth(2, 3) == 2 * 2 * 2**20 / 0.5  # read and written


def test_machine_names_the_versions():
    told = runner.machine()
    for part in (f"TensorFlow {tf.__version__}", f"Keras {keras.__version__}", " cores, "):
        assert part in told


@pytest.mark.parametrize("quick", [True, False])
def test_every_job_of_the_distribution_can_be_built(quick):
    jobs = runner.distribution_jobs(quick)
    keys = [
        json.dumps([j["implementation"], j["operation"], j["through_features"], j["problem"]])
        for j in jobs
    ]
    assert len(set(keys)) == len(keys)
    assert {j["implementation"] for j in jobs} == set(implementations.IMPLEMENTATIONS)
    assert {j["operation"] for j in jobs} == set(implementations.OPERATIONS)
    for job in jobs:
        problem = Problem(**job["problem"])
        assert problem.patch < min(problem.height, problem.width)
        assert problem.least_bytes(job["operation"], job["through_features"]) > 0
    heights = {Problem(**j["problem"]).height for j in jobs}
    assert heights == ({218, 64} if quick else {218, 64, 128})


def results():
    """Two implementations of one problem, one that failed, one without ours beside it."""
    job = {"operation": "gradients", "through_features": False, "problem": {"rank": 25, "batch": 8}}
    alone = {**job, "operation": "condition", "problem": {"batch": 1, "patch": 30}}
    return [
        {**job, "implementation": "ours", "seconds": 0.2, "peak_mb": 1000.4},
        {**job, "implementation": "tfp_covariance", "seconds": 0.5, "peak_mb": 3000.0},
        {**job, "implementation": "torch", "error": "torch is not installed"},
        {**alone, "implementation": "dense_formula", "seconds": 4.0, "peak_mb": 200.0},
        {
            **job,
            "through_features": True,
            "implementation": "ours",
            "seconds": 0.1,
            "peak_mb": 900.0,
        },
    ]


def test_distribution_table():
    n = 218 * 178 * 3
    least = 4 * 8 * (2 * 25 * n + 4 * n)  # bytes of both gradients
    lines = runner.table(results(), bandwidth=10 * least).splitlines()
    head = "| gradients | 218x178x3 | 25 | 8 | dense |"
    assert lines[2] == f"{head} ours | 200.0 | 1.0 | 1000 | 50% |"
    assert lines[3] == f"{head} tfp_covariance | 500.0 | 2.5 | 3000 | 20% |"
    assert lines[4] == f"{head} torch | torch is not installed | | | |"
    assert lines[5].startswith("| condition 30x30 | 218x178x3 | 25 | 1 | dense | dense_formula |")
    assert "| 4000.0 | nan | 200 |" in lines[5]
    assert lines[6].startswith("| gradients | 218x178x3 | 25 | 8 | features | ours | 100.0 | 1.0 |")
    assert {line.count("|") for line in lines} == {11}


def test_bars_are_the_times_and_the_memory():
    figure = plot.time_and_memory(
        [*results(), {**results()[0], "problem": {"height": 64, "width": 64}}]  # another picture
    )
    time, memory = figure.axes
    for axis, widths in ((time, [200, 100, 500]), (memory, [1000.4, 900, 3000])):
        bars = [bar for group in axis.containers for bar in group]
        np.testing.assert_allclose([bar.get_width() for bar in bars], widths)
        labels = [text.get_text() for text in axis.get_yticklabels()]
        assert labels == ["dense P\nR=25, B=8", "features\nR=25, B=8"]
        # a bar lies at the label of its group
        centres = [bar.get_y() + bar.get_height() / 2 for bar in bars]
        np.testing.assert_array_equal(np.round(centres), [0, 1, 0])


# Errors in float32.


def test_factors_have_the_singular_values_of_their_names():
    found = accuracy.factors(300, 10)
    assert {p.shape for p in found.values()} == {(300, 10)}
    assert {p.dtype for p in found.values()} == {np.dtype("float32")}
    for last, name in (
        (1, "singular values^2 1000 to 1"),
        (1e-6, "singular values^2 1000 to 1e-6"),
    ):
        squares = np.linalg.svd(found[name].astype(np.float64), compute_uv=False) ** 2
        # the rounding of P moves singular values by about 2^-24 of the largest
        np.testing.assert_allclose(squares, np.geomspace(1000, last, 10), rtol=1e-2, atol=1e-8)
    parallel = found["parallel and zero columns"]
    assert np.linalg.matrix_rank(parallel) == 10 - 2 - 3  # three of one direction, three of none
    assert np.std(found["1e-5 (initial)"]) == pytest.approx(1e-5, rel=0.1)


def test_errors_of_every_implementation_and_factor(monkeypatch):
    monkeypatch.setattr(accuracy, "Problem", lambda batch: SMALL)
    monkeypatch.setitem(accuracy.CLASSES, "torch", accuracy.CLASSES["ours"])
    found = accuracy.errors()
    assert list(found) == list(accuracy.factors(20, 10))
    for name, row in found.items():
        assert list(row) == [*accuracy.CLASSES, *accuracy.FORMS]
        # 768 entries of float32, each some hundred thousand times its rounding
        assert max(row["ours"]) < 0.1, name
        assert row["torch"] == row["ours"]
    weak = found["1e-5 (initial)"]
    assert all(max(errors) < 0.1 for errors in weak.values())
    hard = found["singular values^2 1000 to 1e-6"]
    assert hard["subtractive form"][0] > 10 * hard["ours"][0]


def test_what_cannot_be_evaluated_is_told():
    def missing(*_):
        raise ImportError

    def singular(*_):
        raise np.linalg.LinAlgError

    assert accuracy._errors(missing, (0, 0)) == ["not installed"] * 2
    assert accuracy._errors(singular, (0, 0)) == ["LinAlgError"] * 2
    assert accuracy._errors(lambda *_: (1.5, -2.0), (1.0, 1.0)) == [0.5, 3.0]


# Data.


def test_data_jobs_are_every_source():
    quick, all_of_them = (data.jobs(q, "somewhere") for q in (True, False))
    assert [j["problem"] for j in quick] == [{**s, "data_dir": "somewhere"} for s in data.SOURCES]
    names = {j["problem"]["name"] for j in all_of_them}
    assert names == {
        "avatars", "brains", "mnist5k", "lfw25", "celeb_a", "image_folder", "ukbb", "generated",
    }  # fmt: skip
    assert all_of_them[: len(quick)] == quick


def test_generated_pictures_are_smooth_with_a_little_noise(tmp_path):
    problem = {"name": "generated", "variant": "12", "data_dir": str(tmp_path)}
    source = data._source(problem)
    assert source.count == 12
    assert source.image_shape == (64, 64, 3)
    images = [source.decode(e["image"]).numpy().astype(int) for e in source.examples]
    assert len({x.tobytes() for x in images}) == len(images) == 12
    steps = np.abs(np.diff(images, axis=2))
    assert 0 < steps.mean() < 20  # independent ones would differ by 85
    again = data._source(problem)  # from the records
    np.testing.assert_array_equal([again.decode(e["image"]) for e in again.examples], images)


def test_brains_that_stand_in_are_the_template_with_noise_inside(tmp_path, monkeypatch):
    nib = pytest.importorskip("nibabel")
    from tf_structvae.benchmarks import stand_ins

    values = np.random.default_rng(0).uniform(size=(5, 6, 4))
    values[0] = 0
    template = nib.Nifti1Image(values, np.diag([1, 2, 3, 1]))
    datasets = SimpleNamespace(load_mni152_template=lambda resolution: template)
    monkeypatch.setitem(sys.modules, "nilearn", SimpleNamespace(datasets=datasets))
    monkeypatch.setitem(sys.modules, "nilearn.datasets", datasets)
    monkeypatch.setattr(stand_ins, "VOLUMES", 3)
    folder = stand_ins.make("ukbb", str(tmp_path))
    paths = sorted(tmp_path.rglob("*.nii.gz"))
    assert [str(p.relative_to(folder)) for p in paths] == [
        f"100000{i}_20252_2_0/T1/T1_brain_to_MNI.nii.gz" for i in range(3)
    ]
    volumes = [nib.load(p) for p in paths]
    for volume in volumes:
        np.testing.assert_array_equal(volume.affine, template.affine)
        assert volume.get_data_dtype() == np.int16
        noise = np.asarray(volume.dataobj) - 1000 * values
        assert not noise[0].any()
        assert -1.01 < noise.min() < 5
        assert 40 < noise.max() < 50
    assert np.any(np.asarray(volumes[0].dataobj) != np.asarray(volumes[1].dataobj))
    stamp = paths[0].stat().st_mtime_ns
    assert stand_ins.make("ukbb", str(tmp_path)) == folder
    assert paths[0].stat().st_mtime_ns == stamp  # made once
