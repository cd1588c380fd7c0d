"""Where the variance is, of a linear model in which everybody can see it."""

import numpy as np
import pytest
import scipy.stats
import tensorflow_probability as tfp

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.evaluation.heldout import effective_rank, held_out
from tf_structvae.evaluation.variance import VarianceMeter, observation_variance, variance_shares

tfd = tfp.distributions
N, L, R = 8, 3, 2
rng = np.random.default_rng(0)
W, P = rng.normal(size=(N, L)).astype(np.float32), rng.normal(size=(N, R)).astype(np.float32)
D = rng.uniform(0.1, 0.5, N).astype(np.float32)
PARTS = np.array([np.sum(W**2), np.sum(P**2) * (1 + 0.3**2), np.sum(D)])


def observe(z, diag=D, structured=True):
    """mu = 0.5 + W z, and a P whose variance grows with z_0 by a factor that is 1.09 on average."""
    loc = (0.5 + z @ W.T).astype(np.float32)
    if not structured:
        return tfd.MultivariateNormalDiag(loc, np.sqrt(np.broadcast_to(diag, loc.shape)))
    factor = np.sqrt(1 + 0.3**2 * z[:, :1, None] ** 2) * P
    return LowRankMultivariateNormal(loc, factor.astype(np.float32), diag)


def measure(seed, count, parts=1, **options):
    z = np.random.default_rng([1, seed]).normal(size=(count, L))
    return variance_shares(observe(part, **options) for part in np.array_split(z, parts))


def test_shares_of_a_linear_model():
    found = measure(0, 20_000, parts=7)
    expected = PARTS / PARTS.sum()
    for name, value in zip(("latent", "structured", "noise"), expected, strict=True):
        estimate = found[f"share_{name}"]
        # 5 for 4, since the error of 20 blocks is itself uncertain
        assert abs(estimate.value - value) < 5 * estimate.error
        assert estimate.error < 0.01
    total = found["total_variance"]
    assert abs(total.value - PARTS.sum()) < 5 * total.error
    assert sum(found[f"share_{n}"].value for n in ("latent", "structured", "noise")) == (
        pytest.approx(1)
    )


def test_shares_do_not_depend_on_batches():
    once, parts = measure(1, 101), measure(1, 101, parts=9)
    for name, estimate in once.items():
        np.testing.assert_allclose(parts[name], estimate, rtol=1e-5)


def test_errors_are_the_spread_of_fresh_draws():
    found = [measure(seed, 100) for seed in range(150)]
    for name in found[0]:
        values, errors = np.transpose([f[name] for f in found])
        # the spread is told to 6%, the errors to 16% / sqrt(150)
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(np.std(values, ddof=1), rel=0.22)


def test_without_p_the_rest_is_noise():
    found = measure(2, 200, structured=False)
    assert found["share_structured"].value == 0
    assert found["share_noise"].value + found["share_latent"].value == pytest.approx(1)
    latent, noise = np.sum(W**2), np.sum(D)
    error = found["share_latent"].error
    assert abs(found["share_latent"].value - latent / (latent + noise)) < 5 * error


@pytest.mark.parametrize("diag", [np.float32(0.2), np.array([0.2], np.float32), D])
def test_observation_variance_with_every_shape_of_d(diag):
    z = np.random.default_rng(3).normal(size=(4, L))
    structured, noise = observation_variance(observe(z, diag))
    np.testing.assert_allclose(noise, np.full(4, np.broadcast_to(diag, N).sum()), rtol=1e-6)
    np.testing.assert_allclose(structured, np.sum(P**2) * (1 + 0.09 * z[:, 0] ** 2), rtol=1e-5)


def test_too_few_draws():
    with pytest.raises(ValueError, match="at least 40 images, got 39"):
        measure(4, 39)
    meter = VarianceMeter()
    meter.update(observe(np.zeros([40, L])))
    assert meter.result()["share_latent"].value == 0


def test_effective_rank():
    scales = np.array([[2.0, 2, 2, 0], [5, 0, 0, 0], [0, 0, 0, 0], [1, 2, 3, 4]])
    power = np.array([1, 4, 9, 16]) / 30
    expected = [3, 1, 0, np.exp(scipy.stats.entropy(power))]
    np.testing.assert_allclose(effective_rank(scales), expected)


def test_held_out_scores_have_the_rank_of_p_and_bits():
    """Of a P with singular values 3 and 1, the rank is exp(entropy of 0.9 and 0.1)."""

    class Model:
        factor = (np.linalg.qr(rng.normal(size=(N, R)))[0] * [3.0, 1.0]).astype(np.float32)

        def encode(self, images):
            zeros = np.zeros([len(images), L], np.float32)
            return tfd.MultivariateNormalDiag(zeros, zeros + 1)

        def decode(self, z):
            factor = np.broadcast_to(self.factor, [len(z), N, R])
            return LowRankMultivariateNormal(np.zeros([len(z), N], np.float32), factor, D)

    x = np.random.default_rng(5).uniform(size=(6, 2, 2, 2)).astype(np.float32)
    scores, _ = held_out(Model(), [x])
    expected = np.exp(scipy.stats.entropy([0.9, 0.1]))
    assert scores["effective_rank"].value == pytest.approx(expected, rel=1e-5)
    covariance = Model.factor @ Model.factor.T + np.diag(D)
    log_prob = scipy.stats.multivariate_normal(np.zeros(N), covariance).logpdf(x.reshape(6, N))
    bits = 8 - log_prob.mean() / N / np.log(2)
    assert scores["log_prob_bits"].value == pytest.approx(bits, rel=1e-5)
    assert scores["elbo_bits"].value == pytest.approx(bits, rel=1e-5)  # KL is zero
    assert scores["log_prob_bits"].error == pytest.approx(
        scores["log_prob"].error / N / np.log(2), rel=1e-5
    )
