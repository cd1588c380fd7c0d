"""What the implementations of the distribution benchmark compute, against dense matrices."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from forked import run

from tf_structvae.benchmarks import data, implementations, serving, worker
from tf_structvae.benchmarks.problem import Problem

SMALL = Problem(
    height=4, width=5, channels=2, rank=3, batch=2, features=6, epsilon=0.02, patch=2
)  # entries of P P^T of about 3e-3 beside D
JOB = {
    "implementation": "ours",
    "operation": "gradients",
    "through_features": False,
    "problem": dataclasses.asdict(SMALL),
    "warm_up": 1,
    "repeats": 3,
}


@pytest.fixture(autouse=True)
def _eager():
    """Without traces, which take longer than the numbers."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def dense(problem):
    """loc, P, Sigma and x in float64."""
    arrays = problem.arrays()
    p = problem.factor(arrays).astype(np.float64)
    sigma = p @ p.transpose(0, 2, 1) + problem.epsilon * np.eye(problem.entries)
    return arrays["loc"].astype(np.float64), p, sigma, arrays["x"].astype(np.float64)


def test_factor_is_the_product_of_features_and_kernel():
    arrays = SMALL.arrays()
    p = SMALL.factor(arrays).reshape(2, 20, 2, 3)
    for b, s, c, r in np.ndindex(2, 20, 2, 3):
        wanted = arrays["features"][b, s] @ arrays["kernel"][:, c, r]
        assert p[b, s, c, r] == pytest.approx(wanted, abs=1e-6)
    np.testing.assert_array_equal(SMALL.arrays()["x"], arrays["x"])  # every process has the same


def test_mask_is_a_patch_in_the_middle():
    mask = SMALL.mask().reshape(4, 5, 2)
    wanted = np.zeros((4, 5, 2), bool)
    wanted[1:3, 1:3] = True
    np.testing.assert_array_equal(mask, wanted)


def test_least_bytes_are_those_of_what_is_read_and_written():
    loc, factor, features = 2 * 40 * 4, 2 * 40 * 3 * 4, 2 * 20 * 6 * 4
    for through, size in ((False, factor), (True, features)):
        assert SMALL.least_bytes("gradients", through) == 2 * size + 4 * loc
        assert SMALL.least_bytes("sample", through) == size + 2 * loc
        assert SMALL.least_bytes("condition", through) == size + 3 * loc
        assert SMALL.least_bytes("pixel_influence", through) == size + loc


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("name", ["ours", "tfp_covariance"])
def test_gradients_are_those_of_the_dense_formula(name, through):
    """log p + entropy = -1/2 r^T Sigma^-1 r + N / 2: with a = Sigma^-1 r the gradients are a by
    loc and a (a^T P) by P."""
    found = implementations.IMPLEMENTATIONS[name](SMALL, "gradients", through)()
    loc, p, sigma, x = dense(SMALL)
    a = np.linalg.solve(sigma, (x - loc)[..., None])
    by_factor = a @ (a.transpose(0, 2, 1) @ p)
    wanted = [a[..., 0], by_factor]
    if through:
        arrays = SMALL.arrays()
        split = by_factor.reshape(2, 20, 2, 3)
        wanted[1:] = [
            np.einsum("bscr,fcr->bsf", split, arrays["kernel"]),
            np.einsum("bscr,bsf->fcr", split, arrays["features"]),
        ]
    assert len(found) == len(wanted)
    for g, w in zip(found, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-3, atol=1e-4 * np.abs(w).max())


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("name", ["ours", "tfp_covariance"])
def test_samples_are_as_far_from_the_mean_as_the_covariance_says(name, through):
    """(x - loc)^T Sigma^-1 (x - loc) is chi-squared of 80 numbers: 80, with deviation 12.6. Along
    the columns of P alone, 6 with deviation 3.5."""
    sample = implementations.IMPLEMENTATIONS[name](SMALL, "sample", through)
    drawn = sample().numpy().astype(np.float64)
    np.testing.assert_array_equal(sample(), drawn.astype(np.float32))
    loc, p, sigma, _ = dense(SMALL)
    r = (drawn - loc)[..., None]
    assert abs(np.sum(r * np.linalg.solve(sigma, r)) - 80) < 4 * 12.6
    along = p.transpose(0, 2, 1) @ r
    assert np.sum(along * np.linalg.solve(p.transpose(0, 2, 1) @ sigma @ p, along)) < 6 + 4 * 3.5


def test_the_local_implementation_does_the_same_operations():
    build = implementations.IMPLEMENTATIONS["low rank and local"]
    found = sorted(tuple(g.shape) for g in build(SMALL, "gradients", True)())
    wanted = [(2, 40), (2, 40), (2, 20, 6), (6, 2, 3), (2, 4, 5, 1, 4, 1), (2, 4, 5, 2, 2)]
    assert found == sorted(wanted)
    observed = SMALL.mask()
    mean = build(SMALL, "condition", True)().numpy()
    np.testing.assert_array_equal(mean[:, observed], SMALL.arrays()["x"][:, observed])
    assert np.abs(mean[:, ~observed] - SMALL.arrays()["loc"][:, ~observed]).max() > 0.01
    assert build(SMALL, "sample", True)().shape == (2, 40)
    assert build(SMALL, "pixel_influence", True) is None
    assert build(SMALL, "sample", False) is None


@pytest.mark.parametrize("through", [False, True])
def test_conditional_mean_is_that_of_the_dense_formula(through):
    wanted = implementations.dense_formula(SMALL, "condition", False)()
    mean = implementations.ours(SMALL, "condition", through)().numpy()
    observed = SMALL.mask()
    np.testing.assert_allclose(mean[0, ~observed], wanted, rtol=1e-4)
    np.testing.assert_array_equal(mean[:, observed], SMALL.arrays()["x"][:, observed])
    assert np.abs(wanted - SMALL.arrays()["loc"][0, ~observed]).max() > 0.01  # not the prior's


@pytest.mark.parametrize("through", [False, True])
def test_pixel_influence_is_the_sum_of_squares_of_a_row(through):
    found = implementations.ours(SMALL, "pixel_influence", through)()
    np.testing.assert_allclose(found, np.sum(dense(SMALL)[2] ** 2, axis=2), rtol=1e-4)


# The process that measures one of them.


def test_worker_measures_what_there_is(monkeypatch):
    ticks = iter([0.0, 0.3, 1.0, 1.1, 2.0, 2.5])
    monkeypatch.setattr(worker, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    found = worker.measure(JOB)
    assert found["seconds"] == pytest.approx(0.3)  # the median
    assert found["peak_mb"] > 10
    for change in (
        {"implementation": "tfp_covariance", "operation": "condition"},
        {"implementation": "dense_formula"},
    ):
        assert worker.measure({**JOB, **change}) == {"error": "has no such operation"}


def test_worker_tells_why_there_is_no_time(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert worker.measure({**JOB, "implementation": "torch"}) == {"error": "torch is not installed"}

    def fails(*_):
        return lambda: np.linalg.cholesky(-np.eye(2))

    monkeypatch.setitem(implementations.IMPLEMENTATIONS, "ours", fails)
    assert worker.measure(JOB) == {"error": "LinAlgError"}


def test_worker_hands_other_suites_on(monkeypatch):
    monkeypatch.setattr(data, "measure", lambda problem: {"rate": problem["rate"]})
    monkeypatch.setattr(serving, "measure", lambda job: {"median": job["batch"]})
    assert worker.measure({"suite": "data", "problem": {"rate": 3}}) == {"rate": 3}
    assert worker.measure({"suite": "serving", "batch": 2}) == {"median": 2}


def test_wait_looks_at_a_number_of_a_nested_result():
    class Tensor:
        """As PyTorch's: an array only when it is detached."""

        detached = False

        def detach(self):
            self.detached = True
            return np.zeros(2)

    first = Tensor()
    worker._wait([(first, 1), 2])
    assert first.detached


def test_worker_prints_json():
    done = run(worker.__file__, json.dumps({**JOB, "implementation": "dense_formula"}))
    assert json.loads(done.stdout) == {"error": "has no such operation"}, done.stderr
