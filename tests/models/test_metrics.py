"""Metrics of a predicted distribution against dense float64 formulas."""

import keras
import numpy as np
import pytest
import reference

import tf_structvae as sv

COUNT, N, R = 9, 12, 3
SIZES = (5, 3, 1)  # batches of unlike size
RNG = np.random.default_rng(0)
X = RNG.normal(size=(COUNT, 2, 3, 4)).astype(np.float32)
Y = RNG.normal(size=(COUNT, 2, 3, 2)).astype(np.float32)
WEIGHTS = RNG.uniform(0.1, 3.0, size=COUNT).astype(np.float32)
ALL = [
    sv.metrics.LogProb,
    sv.metrics.Entropy,
    sv.metrics.MahalanobisDistance,
    sv.metrics.NoiseSquare,
    sv.metrics.RootMeanSquaredError,
]


@pytest.fixture(scope="module")
def head():
    return sv.layers.LowRankNormalHead(
        2, rank=R, epsilon=0.3, noise="per_pixel", factor_initial=0.4
    )


def slow(metric, p, weights):
    """The metric over all examples, each by itself and dense."""
    values = []
    for b in range(COUNT):
        loc, factor, diag, y = (
            np.asarray(v, np.float64) for v in (p.loc[b], p.cov_factor[b], p.cov_diag[b], Y[b])
        )
        y, sigma = y.reshape(N), reference.covariance(factor, diag)
        if metric is sv.metrics.LogProb:
            values.append(reference.log_prob(y, loc, factor, diag))
        elif metric is sv.metrics.Entropy:
            values.append(reference.entropy(factor, diag))
        elif metric is sv.metrics.MahalanobisDistance:
            values.append((y - loc) @ np.linalg.inv(sigma) @ (y - loc) / N)
        elif metric is sv.metrics.NoiseSquare:
            c, covariance = reference.noise_posterior(y, loc, factor, diag)
            values.append((c @ c + np.trace(covariance)) / R)
        else:
            values.append(np.mean((y - loc) ** 2))
    mean = np.average(values, weights=weights)
    return np.sqrt(mean) if metric is sv.metrics.RootMeanSquaredError else mean


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["image", "flat"])
def test_against_dense_formulas(head, metric, weighted, form):
    p = head(X)
    assert np.shape(p.cov_diag) == (COUNT, N)
    targets = Y if form == "image" else Y.reshape(COUNT, N)
    m, start = metric(), 0
    for size in SIZES:
        part = slice(start, start + size)
        m.update_state(targets[part], head(X[part]), WEIGHTS[part] if weighted else None)
        start += size
    wanted = slow(metric, p, WEIGHTS if weighted else None)
    np.testing.assert_allclose(m.result(), wanted, rtol=2e-5)
    m.reset_state()
    assert float(m.result()) == 0


def test_calibration_is_one_on_what_the_distribution_draws(head):
    """Both measures of it, within four standard errors of their means over 1800 draws."""
    p = head(np.repeat(X, 200, axis=0))
    y = p.sample(seed=(0, 1))
    mahalanobis, noise = sv.metrics.MahalanobisDistance(), sv.metrics.NoiseSquare()
    mahalanobis.update_state(y, p)
    noise.update_state(y, p)
    # chi-square with N degrees of freedom over N; E[omega^2 | y] varies less than omega^2
    assert abs(float(mahalanobis.result()) - 1) < 4 * np.sqrt(2 / N / 1800)
    assert abs(float(noise.result()) - 1) < 4 * np.sqrt(2 / R / 1800)


def test_of_an_independent_normal():
    p = sv.layers.IndependentNormalHead(2, epsilon=0.3, noise="fixed")(X)
    residual = Y.reshape(COUNT, N) - p.mean().numpy()
    m = sv.metrics.MahalanobisDistance()
    m.update_state(Y, p)
    np.testing.assert_allclose(m.result(), np.mean(residual**2) / 0.3, rtol=1e-5)
    with pytest.raises(ValueError, match=r"NoiseSquare needs.*LowRankNormalHead"):
        sv.metrics.NoiseSquare().update_state(Y, p)


def test_mahalanobis_distance_at_a_small_noise():
    """At D = 1e-5 I, where log-densities are large: the difference of nats is still exact."""
    head = sv.layers.LowRankNormalHead(2, rank=R, epsilon=1e-5, factor_initial=0.4, noise="fixed")
    p = head(X)
    y = p.sample(seed=(0, 1))
    forms = []
    for b in range(COUNT):
        sigma = reference.covariance(p.cov_factor[b], 1e-5)
        r = np.asarray(y[b], np.float64) - np.asarray(p.loc[b], np.float64)
        forms.append(r @ np.linalg.solve(sigma, r) / N)
    m = sv.metrics.MahalanobisDistance()
    m.update_state(y, p)
    np.testing.assert_allclose(m.result(), np.mean(forms), rtol=1e-3)


@pytest.mark.parametrize("metric", ALL)
def test_config(metric):
    m = metric(name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(m))
    assert (type(again), again.name) == (metric, "mine")
    assert metric().name == metric.NAME


def test_without_a_distribution():
    with pytest.raises(ValueError, match=r"LogProb needs a model whose output is a distribution"):
        sv.metrics.LogProb().update_state(Y, Y)
