"""Densities, draws and KL divergences of priors, against float64 references written out."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

from tf_structvae import priors

L = 3
RNG = np.random.default_rng(0)


def covariance(seed, scale=1.0):
    a = np.random.default_rng(seed).normal(size=(L, L))
    return scale * (a @ a.T + 0.1 * np.eye(L))


def normal():
    prior = priors.Normal(L)
    prior.set_weights([np.array([1.0, -2.0, 0.5]), covariance(1)])
    return prior


WEIGHTS, MEANS = np.array([0.2, 0.5, 0.3]), RNG.normal(size=(3, L)) * 2
COVARIANCES = np.stack([covariance(s, 0.3) for s in (2, 3, 4)])


def mixture():
    return priors.Mixture.of(WEIGHTS, MEANS, COVARIANCES)


def vamp():
    """Its encoder takes the mean of an image as all latents' mean, and 0.5 as their deviation."""
    prior = priors.VampPrior(L, (2, 2, 1), components=4)

    def encode(images):
        level = tf.reduce_mean(images, axis=[1, 2, 3])[:, tf.newaxis]
        return tfp.distributions.MultivariateNormalDiag(
            tf.repeat(level, L, 1), 0.5 * tf.ones([4, L])
        )

    prior.attach(encode)
    return prior


def flow():
    prior = priors.Flow(L, couplings=3, hidden=8)
    rng = np.random.default_rng(5)
    prior.set_weights([0.3 * rng.normal(size=w.shape) for w in prior.weights])
    prior.root.assign(np.linalg.cholesky(covariance(6)))
    prior.shift.assign([0.5, 0.0, -1.0])
    return prior


def conditional():
    other = priors.Normal(L)
    other.set_weights([np.zeros(L), covariance(7)])
    return priors.Conditional([normal(), other])


def reference(name, z):
    if name == "standard":
        return stats.multivariate_normal(np.zeros(L)).logpdf(z)
    if name == "normal":
        return stats.multivariate_normal([1.0, -2.0, 0.5], covariance(1)).logpdf(z)
    if name == "mixture":
        parts = [
            w * stats.multivariate_normal(m, c).pdf(z)
            for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
        ]
        return np.log(np.sum(parts, 0))
    level = np.clip(vamp().pseudo_inputs.numpy(), 0, 1).mean((1, 2, 3))
    parts = [stats.multivariate_normal(np.full(L, m), 0.25).pdf(z) for m in level]
    return np.log(np.mean(parts, 0))


MAKE = {
    "standard": lambda: priors.StandardNormal(L),
    "normal": normal,
    "mixture": mixture,
    "vamp": vamp,
    "flow": flow,
}


@pytest.mark.parametrize("name", ["standard", "normal", "mixture", "vamp"])
def test_density(name):
    z = np.random.default_rng(1).normal(size=(4, 5, L)) * 2
    found = MAKE[name]().log_prob(tf.constant(z, tf.float64))
    np.testing.assert_allclose(found, reference(name, z), rtol=1e-6)
    # what a step asks for
    found = MAKE[name]().log_prob(tf.constant(z, tf.float32))
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, reference(name, z), rtol=1e-5)


@pytest.mark.parametrize("name", list(MAKE))
def test_draws_have_the_density(name):
    """E[exp(-log p) r] = 1 for any density r: here of a normal inside the prior's support."""
    prior = MAKE[name]()
    z = prior.sample(40_000, 0).numpy()
    assert z.shape == (40_000, L)
    log_p = prior.log_prob(tf.constant(z, tf.float64)).numpy()
    inside = stats.multivariate_normal(z.mean(0), 0.3 * np.cov(z.T)).logpdf(z)
    weights = np.exp(inside - log_p)
    error = weights.std() / np.sqrt(len(z))
    assert error < 0.05
    assert abs(weights.mean() - 1) < 5 * error


@pytest.mark.parametrize("name", ["normal", "mixture", "vamp"])
def test_moments_of_draws(name):
    prior = MAKE[name]()
    z = prior.sample(40_000, 1).numpy().astype(np.float64)
    whitened = np.linalg.cholesky(prior.precision().numpy()).T @ (z - z.mean(0)).T
    # of a covariance's entries the errors are at most sqrt(kurtosis / n)
    np.testing.assert_allclose(np.cov(whitened), np.eye(L), atol=5 * np.sqrt(6 / 40_000))


def test_flow_is_a_change_of_variables():
    """Its density from the Jacobian of its draws, column by column."""
    prior = flow()
    u = tf.constant(np.random.default_rng(2).normal(size=(6, L)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(u)
        z = prior.sample_from_noise(u)
    jacobian = tape.batch_jacobian(z, u).numpy().astype(np.float64)
    wanted = stats.multivariate_normal(np.zeros(L)).logpdf(u) - np.log(
        np.abs(np.linalg.det(jacobian))
    )
    np.testing.assert_allclose(prior.log_prob(z), wanted, rtol=1e-4, atol=1e-4)


def posterior(batch=6, seed=3):
    rng = np.random.default_rng(seed)
    loc = tf.constant(rng.normal(size=(batch, L)), tf.float32)
    stddev = tf.constant(0.2 + rng.random((batch, L)), tf.float32)
    return loc, stddev


def test_kl_of_normal_is_exact_and_so_is_its_gradient():
    prior, (loc, stddev) = normal(), posterior()
    full = tfp.distributions.MultivariateNormalFullCovariance(
        tf.constant([1.0, -2.0, 0.5], tf.float64), covariance(1)
    )
    wide = [tf.cast(x, tf.float64) for x in (loc, stddev)]

    def tfps(loc, stddev):
        q = tfp.distributions.MultivariateNormalFullCovariance(loc, tf.linalg.diag(stddev**2))
        return q.kl_divergence(full)

    def ours(loc, stddev):
        q = tfp.distributions.MultivariateNormalDiag(loc, stddev)
        return prior.kl_divergence(q, None)

    wanted, slopes = tfp.math.value_and_gradient(tfps, wide)
    found, gradients = tfp.math.value_and_gradient(ours, [loc, stddev])
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for gradient, slope in zip(gradients, slopes, strict=True):
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mixture", "flow"])
def test_kl_estimate_is_unbiased(name):
    """Against the integral by 20,000 other samples, within the error of both."""
    prior, (loc, stddev) = MAKE[name](), posterior()
    q = tfp.distributions.MultivariateNormalDiag(loc, stddev)
    assert not prior.has_exact_kl
    z = q.sample(20_000, seed=4)
    draws = q.log_prob(z) - prior.log_prob(z)
    other = q.sample(20_000, seed=5)
    error = np.sqrt(2) * np.std(draws, 0) / np.sqrt(20_000)
    found = prior.kl_divergence(q, other).numpy()
    assert np.all(np.abs(found - np.mean(draws, 0)) < 5 * error)


def test_conditional_takes_the_prior_of_each_label():
    prior, z = conditional(), RNG.normal(size=(2, 4, L)).astype(np.float32)
    labels = np.array([0, 1, 1, 0])
    found = prior.log_prob(z, labels).numpy()
    for k, own in enumerate(prior.priors):
        np.testing.assert_allclose(
            found[:, labels == k], own.log_prob(z[:, labels == k]), rtol=1e-6
        )
        noise = RNG.normal(size=(4, L)).astype(np.float32)
        drawn = prior.sample_from_noise(noise, labels).numpy()
        np.testing.assert_allclose(
            drawn[labels == k], own.sample_from_noise(noise[labels == k]), rtol=1e-5
        )
        np.testing.assert_allclose(
            prior.precision(labels)[int(np.argmax(labels == k))], own.precision()
        )
    loc, stddev = posterior(4)
    q = tfp.distributions.MultivariateNormalDiag(loc, stddev)
    kl = prior.kl_divergence(q, None, labels)
    for i, k in enumerate(labels):
        np.testing.assert_allclose(kl[i], prior.priors[k].kl_divergence(q, None)[i], rtol=1e-6)
    with pytest.raises(ValueError, match="labels must be integers"):
        prior.log_prob(z)


def test_draws_of_the_standard_normal_are_its_noise():
    wanted = np.random.default_rng(9).standard_normal([7, L]).astype(np.float32)
    np.testing.assert_array_equal(priors.StandardNormal(L).sample(7, 9), wanted)


@pytest.mark.parametrize("name", list(MAKE))
def test_config_makes_the_same_prior(name):
    prior = MAKE[name]()
    other = type(prior).from_config(prior.get_config())
    other.set_weights(prior.get_weights())
    if name == "vamp":
        other.attach(prior._encode)
    z = RNG.normal(size=(4, L)).astype(np.float32)
    np.testing.assert_array_equal(other.log_prob(z), prior.log_prob(z))
    assert other.trainable == prior.trainable


def test_frozen_vamp_is_the_same_without_its_encoder():
    prior = vamp()
    z, noise = (RNG.normal(size=(5, n)).astype(np.float32) for n in (L, L + 1))
    frozen = prior.frozen()
    np.testing.assert_allclose(frozen.log_prob(z), prior.log_prob(z), rtol=1e-5)
    np.testing.assert_allclose(
        frozen.sample_from_noise(noise), prior.sample_from_noise(noise), rtol=1e-5
    )
