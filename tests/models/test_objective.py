"""What a forward pass tells of images, against float64 formulas that build Sigma."""

import numpy as np
import pytest
import reference
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.layers import IndependentNormalHead
from tf_structvae.models import objective

SAMPLES, B, N, R = 3, 2, 6, 2


def numbers():
    """Images [M * B, N], means, factors and noise variances of each."""
    rng = np.random.default_rng(0)
    m = SAMPLES * B
    x, loc = rng.normal(size=(2, m, N))
    return x, loc, rng.normal(size=(m, N, R)), rng.uniform(0.2, 2.0, (m, N))


def mean_of_samples(values):
    """[M * B, ...] of which the first B are those of the first sample -> [B, ...]."""
    return np.reshape(values, [SAMPLES, B, *np.shape(values)[1:]]).mean(0)


def test_observation_of_low_rank_normals():
    x, loc, factor, diag = numbers()
    p = LowRankMultivariateNormal(*map(tf.constant, (loc, factor, diag)))
    found = objective.observe(p, x, SAMPLES, lambda x, p: {"first": x[:, 0]})
    expected = []
    for x_i, loc_i, factor_i, diag_i in zip(x, loc, factor, diag, strict=True):
        entropy = reference.entropy(factor_i, diag_i)
        mean, covariance = reference.noise_posterior(x_i, loc_i, factor_i, diag_i)
        expected.append(
            (
                reference.log_prob(x_i, loc_i, factor_i, diag_i),
                entropy,
                entropy - 0.5 * np.log(2 * np.pi * np.e * diag_i).sum(),
                ((x_i - loc_i) ** 2).sum(),
                mean,
                np.outer(mean, mean) + covariance,
                x_i[0],
            )
        )
    names = (*objective.Observation._fields[:6], "first")
    for name, values in zip(names, zip(*expected, strict=True), strict=True):
        got = found.measured[name] if name == "first" else getattr(found, name)
        assert got.dtype == tf.float32
        np.testing.assert_allclose(got, mean_of_samples(values), rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("emitted", [False, True])
def test_observation_of_independent_normals(emitted):
    x, loc, _, _ = numbers()
    if emitted:
        head = IndependentNormalHead(N, epsilon=0.5, noise="fixed", dtype="float64")
        p = head(tf.constant(loc[:, np.newaxis]))
    else:
        p = tfp.distributions.MultivariateNormalDiag(tf.constant(loc), [0.5**0.5] * N)
    found = objective.observe(p, x, SAMPLES, lambda x, p: {})
    error = np.sum((x - p.mean().numpy()) ** 2, -1)
    entropy = np.full(len(x), 0.5 * N * np.log(2 * np.pi * np.e * 0.5))
    log_prob = -0.5 * (error / 0.5 + N * np.log(2 * np.pi * 0.5))
    for name, values in {
        "log_prob": log_prob,
        "entropy": entropy,
        "entropy_above_floor": np.zeros(len(x)),
        "squared_error": error,
        "noise_mean": np.zeros([len(x), 0]),
        "noise_moment": np.zeros([len(x), 0, 0]),
    }.items():
        got = getattr(found, name)
        np.testing.assert_allclose(got, mean_of_samples(values), rtol=1e-5, err_msg=name)


def test_quantities_that_can_be_constrained():
    """Larger is worse of each, so that an upper bound holds what it should."""
    x, loc, factor, diag = numbers()
    p = LowRankMultivariateNormal(*map(tf.constant, (loc, factor, diag)))
    seen = objective.observe(p, x, SAMPLES, lambda x, p: {"first": x[:, 0]})
    found = objective.quantities(tf.constant([2.0, 3.0]), seen)
    expected = {
        "kl": [2.0, 3.0],
        "entropy": seen.entropy,
        "negative_log_prob": mean_of_samples(-p.log_prob(x)),
        "squared_error": mean_of_samples(np.square(x - loc).sum(-1)),
        "first": mean_of_samples(x[:, 0]),
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
