"""Known covariances, the scores of what is fitted to them, and the table of the benchmark."""

import numpy as np
import pytest
import scipy.stats

from tf_structvae.benchmarks import covariance, truths


@pytest.mark.parametrize("name", truths.NAMES)
def test_draws_have_the_moments_that_they_are_said_to_have(name):
    truth = truths.of(name)
    conditions, examples = truth.draw(300, seed=0)
    assert conditions.shape == (300, truth.conditions)
    means, covariances = truth.moments(conditions)
    normal = scipy.stats.multivariate_normal
    wanted = [normal(means[b], covariances[b]).logpdf(examples[b]) for b in range(3)]
    np.testing.assert_allclose(truth.log_prob(conditions, examples)[:3], wanted, rtol=1e-8)
    # each whitened example has N squares of mean one
    roots = np.linalg.cholesky(covariances)
    white = np.linalg.solve(roots, (examples - means)[..., None])
    assert abs(np.mean(white**2) - 1) < 5 * np.sqrt(2 / white.size)
    repeated = np.repeat(conditions[:1], 4, 0)
    np.testing.assert_array_equal(truth.moments(repeated)[1][3], covariances[0])


def test_a_field_has_a_sparse_precision_and_factors_do_not():
    grid = truths.of("field").grid
    precision = np.linalg.inv(truths.of("field").moments(np.zeros([1, 0]))[1][0])
    at = truths._positions(grid)
    far = np.abs(at[:, None] - at).sum(-1) > 1
    assert np.abs(precision[far]).max() < 1e-9 * precision.max()
    values = np.linalg.eigvalsh(truths.of("factors").moments(np.zeros([1, 0]))[1][0])
    np.testing.assert_allclose(values[:-5], 0.01, rtol=1e-6)
    assert values[-5] > 1.0


@pytest.mark.long
def test_local_wins_on_a_field_and_low_rank_on_factors():
    def gap(truth, family):
        problem = {"truth": truth, "family": family, "network": False, "steps": 250}
        found = covariance.measure(problem)
        assert found["gap"] > -5 * found["gap_error"]  # nothing is above the truth
        assert found["energy"] > 0.9
        return found["gap"]

    low_rank = "low rank, noise of each pixel"
    assert gap("field", "local") < gap("field", low_rank) - 5
    assert gap("factors", low_rank) < gap("factors", "local") - 5


def test_jobs_and_table():
    jobs = covariance.jobs(False)
    assert len(jobs) == 4 * (2 * 3 + 2)
    assert len(covariance.jobs(True)) == 4 * 2 * 3
    results = [
        {**job, "log_prob": 1.0, "log_prob_error": 0.1, "gap": float(i), "gap_error": 0.1,
         "covariance_error": 0.2, "energy": 1.1, "variogram": 1.2}
        for i, job in enumerate(jobs[:4])
    ]  # fmt: skip
    results[3] = {**jobs[3], "error": "ResourceExhaustedError"}
    rows = covariance.table(results).splitlines()
    assert rows[2] == (
        "| field | free | low rank, one noise variance | 1.0 ± 0.1 | **0.00 ± 0.10** | 0.200 "
        "| 1.100 | 1.200 |"
    )
    assert "**" not in rows[3]
    assert rows[5].startswith("| field | free | low rank and local | ResourceExhaustedError |")
