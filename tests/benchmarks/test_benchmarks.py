"""The measurements of bin/benchmark at sizes of no interest."""

import keras
import numpy as np
import pytest

from tf_structvae.benchmarks import data, runner, stand_ins, train_step, worker

PROBLEM = {"network": "default", "height": 16, "width": 16, "batch": 2, "rank": 3}


@pytest.mark.parametrize("implementation", ["ours", "tfp_covariance", "standard VAE"])
def test_training_step_is_measured(implementation):
    job = {
        "suite": "train",
        "implementation": implementation,
        "problem": PROBLEM,
        "warm_up": 1,
        "repeats": 2,
    }
    found = worker.measure(job)
    assert found["seconds"] > 0
    assert found["peak_mb"] > 10


@pytest.mark.long
def test_step_of_all_is_the_same_step():
    """The first loss of our class and of TFP's, at the same weights and noise."""
    losses = []
    for implementation in ("ours", "tfp_covariance"):
        keras.utils.set_random_seed(0)
        step, _ = train_step.build(implementation, PROBLEM)
        losses.append(float(np.ravel(step())[0]))
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_table_compares_with_ours_and_with_the_network():
    measured = {"problem": PROBLEM, "peak_mb": 100.0, "operations": 4_000_000_000}
    results = [
        {"implementation": name, "seconds": s, **measured}
        for name, s in (("ours", 0.2), ("tfp_covariance", 0.5))
    ]
    base = {
        "implementation": "standard VAE",
        "problem": {**PROBLEM, "rank": 25},
        "operations": 3_000_000_000,
    }
    results.append({**base, "seconds": 0.15, "peak_mb": 90.0})
    results.append({**base, "implementation": "ours, XLA", "error": "fails"})
    lines = train_step.table(results, 100e9).splitlines()
    assert lines[2].endswith("| ours | 200 | 1.00 | 50 | 20% | 100 |")
    assert lines[3].endswith("| tfp_covariance | 500 | 2.50 | 350 | 8% | 100 |")
    assert "| ours, XLA | fails |" in lines[5]
    assert lines[-1].startswith("The peak is 100 GFLOPS")
    assert lines[-1].endswith("GFLOP of a step: default, rank 3: 4.")


def test_jobs_measure_every_implementation_at_every_size():
    for quick in (True, False):
        jobs = train_step.jobs(quick)
        sizes = {j["problem"]["height"] for j in jobs}
        assert len(sizes) == (1 if quick else 2)
        for size in sizes:
            own = {j["implementation"] for j in jobs if j["problem"]["height"] == size}
            assert own == set(train_step.IMPLEMENTATIONS)


def test_pipeline_is_measured(data_dir):
    problem = {"name": "avatars", "variant": "16x16_tiny", "data_dir": data_dir, "flip": True}
    found = data.measure(problem, seconds=0.3)
    assert found["count"] == 256
    assert found["cached"]
    assert found["first_rate"] > 0
    assert found["rate"] > 0
    assert found["peak_mb"] >= found["start_mb"] > 10
    consumed = data.consumption_jobs([{"problem": problem, **found}])
    assert [j["problem"]["height"] for j in consumed] == [16]
    lines = data.table(
        [{"problem": problem, **found}, {"problem": {"name": "brains"}, "error": "fails"}],
        [{**consumed[0], "seconds": 0.5}],
    ).splitlines()
    assert "| avatars 16x16_tiny flip | 256 | 16x16x3 | yes |" in lines[2]
    assert f"| 64 | {min(found['rate'], found['first_rate']) / 64:.0f}x |" in lines[2]
    assert "| brains | fails |" in lines[3]


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [("celeb_a", None, (218, 178, 3)), ("image_folder", [16, 12], (16, 12, 3))],
)
def test_stand_ins_have_the_layout_of_the_originals(name, size, shape, tmp_path, monkeypatch):
    monkeypatch.setattr(stand_ins, "IMAGES", 60)
    problem = {"name": name, "data_dir": str(tmp_path), "stand_ins": True}
    problem |= {"image_size": size} if size else {}
    found = data.measure(problem, seconds=0.1)
    assert found["image_shape"] == shape
    assert 40 <= found["count"] <= 56
    assert f"| {name} generated files | {found['count']} |" in data.table(
        [{"problem": problem, **found}], []
    )


@pytest.mark.long
def test_memory_does_not_grow_with_the_data(tmp_path):
    """Twice as many images, both more than is kept decoded: the same peak within 5%."""
    peaks = []
    for count in ("50000", "100000"):
        problem = {"name": "generated", "variant": count, "data_dir": str(tmp_path)}
        job = {"suite": "data", "problem": problem}
        runner.run_job(job)  # makes the records, in a process of its own
        found = runner.run_job(job)
        assert not found["cached"]
        peaks.append(found["peak_mb"])
    assert peaks[1] < 1.05 * peaks[0]
