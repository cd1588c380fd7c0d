"""The importance-weighted bound where log p(x) is known: a linear model with normal noise."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.evaluation.heldout import bits_per_dimension
from tf_structvae.evaluation.importance import log_likelihood, log_mean_exp, log_weights

tfd = tfp.distributions
SHAPE, N, L, NOISE = (3, 2, 2), 12, 3, 0.3
_columns = np.linalg.qr(np.random.default_rng(0).normal(size=(N, N)))[0]
# orthogonal columns make the posterior of z diagonal; those of P are orthogonal to them
W, P = _columns[:, :L] * [2.0, 1.0, 0.5], _columns[:, L : L + 2] * [1.5, 0.7]
B = np.random.default_rng(1).normal(size=N)


class Linear:
    """x = B + W z (+ P omega) + noise; its encoder is the posterior, `stretch` times as wide."""

    def __init__(self, structured=False, stretch=1.0):
        self.structured, self.stretch = structured, stretch

    def covariance(self):
        return W @ W.T + NOISE * np.eye(N) + (P @ P.T if self.structured else 0)

    def encode(self, images):
        x = np.reshape(images, [-1, N]).astype(np.float64)
        precision = 1 + np.sum(W**2, 0) / NOISE
        mean = (x - B) @ W / NOISE / precision
        scale = np.broadcast_to(self.stretch / np.sqrt(precision), mean.shape)
        return tfd.MultivariateNormalDiag(tf.constant(mean), scale_diag=tf.constant(scale))

    def decode(self, z):
        loc = tf.cast(z, tf.float64) @ W.T + B
        if self.structured:
            factor = tf.broadcast_to(tf.constant(P), [len(z), N, 2])
            return LowRankMultivariateNormal(loc, factor, tf.constant(NOISE, tf.float64))
        return tfd.MultivariateNormalDiag(loc, scale_diag=tf.ones_like(loc) * NOISE**0.5)

    def draw(self, count, seed=0):
        rng = np.random.default_rng(seed)
        return rng.multivariate_normal(B, self.covariance(), count).reshape(count, *SHAPE)

    def log_prob(self, x):
        flat = x.reshape(len(x), N)
        return scipy.stats.multivariate_normal(B, self.covariance()).logpdf(flat)


@pytest.mark.parametrize("structured", [False, True])
def test_with_the_exact_posterior_every_weight_is_the_likelihood(structured):
    model = Linear(structured)
    x = model.draw(20)
    w = log_weights(model, tf.constant(x), 7)
    assert w.shape == (7, 20)
    assert w.dtype == np.float64
    # z is float32
    np.testing.assert_allclose(w, np.tile(model.log_prob(x), [7, 1]), atol=1e-4)
    found = log_likelihood(model, [tf.constant(x)], 7)
    assert found["log_likelihood"].value == pytest.approx(model.log_prob(x).mean(), abs=1e-4)
    expected = np.std(model.log_prob(x), ddof=1) / np.sqrt(20)
    assert found["log_likelihood"].error == pytest.approx(expected, rel=1e-3)
    assert found["importance_effective_samples"].value == pytest.approx(7, abs=1e-4)
    assert found["importance_gain"].value == pytest.approx(0, abs=1e-4)


def test_the_bound_rises_from_the_elbo_to_the_likelihood():
    model = Linear(stretch=1.6)
    x = model.draw(400)
    found = {k: log_likelihood(model, [tf.constant(x)], k) for k in (1, 4, 20, 100)}
    bounds = [found[k]["log_likelihood"].value for k in found]
    exact = model.log_prob(x).mean()
    assert bounds[0] < bounds[1] < bounds[2] < bounds[3]
    # a posterior s times too wide costs L (s^2 / 2 - 1 / 2 - log s) nats; the noise of one sample
    # is sqrt(L / 2) (s^2 - 1) nats an image
    elbo = exact - L * (1.6**2 / 2 - 0.5 - np.log(1.6))
    error = np.sqrt(1.5) * (1.6**2 - 1) / np.sqrt(400)
    assert bounds[0] == pytest.approx(elbo, abs=4 * error)
    gain = found[100]["importance_gain"]
    assert gain.value == pytest.approx(exact - elbo, abs=4 * error / np.sqrt(100) + 0.03)
    assert bounds[3] == pytest.approx(exact, abs=0.03)
    assert 1 < found[20]["importance_effective_samples"].value < 20


def test_numbers_do_not_depend_on_batches_and_few_samples_are_the_first_of_many():
    model = Linear(stretch=1.5)
    x = model.draw(11)
    once = log_likelihood(model, [tf.constant(x)], 5, seed=3)
    parts = log_likelihood(model, [tf.constant(v) for v in np.split(x, [4, 5])], 5, seed=3)
    for name, value in once.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-9)
    assert log_likelihood(model, [tf.constant(x)], 5, seed=4) != once
    few, many = (log_weights(model, tf.constant(x), k, seed=3) for k in (5, 9))
    np.testing.assert_allclose(many[:5], few, rtol=1e-9)


def test_weights_far_below_the_smallest_number_are_averaged():
    """A log-likelihood of an image is tens of thousands of nats away from zero."""
    x = np.array([[-50000.0, 80000.0], [-50001.0, 80000.0]])
    expected = [-50000 + np.log((1 + np.exp(-1)) / 2), 80000]
    np.testing.assert_allclose(log_mean_exp(x), expected, rtol=1e-15)


def test_bits_per_dimension():
    """The uniform density on [0, 1]^N gives 8 bits; 256 times as high in every entry, none."""
    assert bits_per_dimension(0.0, N) == 8
    assert bits_per_dimension(N * np.log(256.0), N) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(bits_per_dimension(np.array([0, np.log(2.0)]), 2), [8, 7.5])


def test_refusals():
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        log_likelihood(Linear(), [], 0)
    with pytest.raises(ValueError, match="at least one image"):
        log_likelihood(Linear(), [], 1)
