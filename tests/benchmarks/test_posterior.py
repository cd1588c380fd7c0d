"""The benchmarks of wrapped predictors and of segmentation: their problems and their tables."""

import numpy as np
import pytest

from tf_structvae.benchmarks import annotators, posterior


def test_the_posterior_is_that_of_the_joint_normal():
    problem = posterior.super_resolution()
    a, c = problem.measurement, problem.prior
    # the information form, by other inverses
    precision = np.linalg.inv(c) + a.T @ a / posterior._NOISE**2
    np.testing.assert_allclose(problem.covariance, np.linalg.inv(precision), atol=1e-9)
    np.testing.assert_allclose(
        problem.gain, np.linalg.solve(precision, a.T) / posterior._NOISE**2, atol=1e-7
    )
    values = np.linalg.eigvalsh(problem.covariance)[::-1]
    np.testing.assert_allclose(values[:4], [7.0, 2.1, 1.3, 0.4], atol=0.05)
    x, y = problem.draw(4000, seed=3)
    residual = y - x @ problem.gain.T
    found = np.cov(residual.T)
    assert np.abs(found - problem.covariance).max() < 6 * problem.covariance.max() / np.sqrt(4000)
    chi_square = -2 * posterior._log_prob(problem, x, y) - 64 * np.log(2 * np.pi)
    chi_square -= np.linalg.slogdet(problem.covariance)[1]
    assert abs(chi_square.mean() - 64) < 4 * np.sqrt(128 / 4000)


@pytest.mark.long
def test_components_come_near_the_posteriors():
    job = posterior.jobs(quick=True)[0]["problem"]
    found = posterior.measure({**job, "epochs": 15})
    assert found["angles"][0] < 25
    assert abs(found["variances"][0] - 1) < 0.2
    # a rank of 5 leaves out what the other 59 directions have in common
    assert found["log_prob_of_the_truth"] - 30 < found["log_prob"] < found["log_prob_of_the_truth"]
    for kind in ("ellipsoid", "components", "pixels"):
        assert abs(found[f"coverage {kind}"] - 0.9) < 4 * np.sqrt(0.09 * (1 / 500 + 1 / 2000))
    assert found["volume ellipsoid"] < found["volume pixels"]


@pytest.mark.long
def test_low_rank_logits_beat_independent_ones():
    size = {"seed": 0, "epochs": 6, "images": 600}
    of = {name: annotators.measure({"head": name, **size}) for name in annotators.HEADS}
    low, independent = of["low rank"], of["independent"]
    assert low["distance"] < independent["distance"]
    assert low["log_prob"] > independent["log_prob"] + 50


def test_tables():
    of_posterior = {
        "log_prob": -1.0,
        "log_prob_of_the_truth": -0.5,
        "angles": [1.0, 2.0, 3.0, 4.0],
        "subspace": 5.0,
        "variances": [1.0, 0.5, 0.25],
        **{f"coverage {k}": 0.9 for k in ("ellipsoid", "components", "pixels")},
        **{f"volume {k}": v for k, v in (("ellipsoid", 1), ("components", 2), ("pixels", 4))},
    }
    jobs = posterior.jobs(quick=False)
    assert len(jobs) == 6
    text = posterior.table([{**jobs[0], **of_posterior}, {**jobs[1], "error": "ended"}])
    assert "| likelihood | 0 | -1.00 | -0.50 | 1°, 2°, 3° | 5° | 1.00, 0.50, 0.25 |" in text
    assert "| -3.0, -2.0 |" in text
    assert "| components | 0 | ended |" in text
    jobs = annotators.jobs(quick=True)
    names = ("distance", "matching", "diversity", "diversity_of_annotations")
    text = annotators.table([{**jobs[0], "log_prob": -3.0, **dict.fromkeys(names, 0.25)}])
    assert "| low rank | 0 | -3.0 | 0.250 | 0.250 | 0.250 | 0.250 |" in text
