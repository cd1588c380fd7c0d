"""The distribution of latents that `log_prob` draws from, fitted to each image."""

import exports
import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_structvae import StructuredVAE
from tf_structvae.export import signatures
from tf_structvae.layers import IndependentNormalHead


def linear():
    """A VAE of 4x4x3 images with a linear decoder, and an encoder that knows nothing."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(6, kernel_initializer="zeros"),
        ]
    )
    head = IndependentNormalHead(3, epsilon=0.05, noise="fixed")
    decoder = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(80), keras.layers.Reshape((4, 4, 5)), head]
    )
    head.mean_kernel.assign(np.random.default_rng(0).normal(size=head.mean_kernel.shape))
    return StructuredVAE(encoder, decoder)


def score(model, given, **options):
    """What the signature answers, as traced for an export."""
    function = signatures(model, **options)["log_prob"].function
    found = tf.function(function, autograph=False)(**{k: tf.constant(v) for k, v in given.items()})
    return {k: v.numpy() for k, v in found.items()}


def test_of_a_linear_model_it_is_the_posterior():
    """Then every sample has the same weight, which is p(x)."""
    model = linear()
    p = model.decode(tf.concat([tf.zeros([1, 3]), tf.eye(3)], 0))
    loc, *others = np.asarray(p.mean(), np.float64)
    slopes = np.stack(others, 1) - loc[:, np.newaxis]
    covariance = slopes @ slopes.T + np.diag(np.asarray(p.variance(), np.float64)[0])
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal(loc, covariance, 5).astype(np.float32)
    r = x - loc
    truth = -0.5 * np.sum(r * np.linalg.solve(covariance, r.T).T, 1)
    truth -= 0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    given = {"images": x.reshape(-1, 4, 4, 3), "seeds": np.arange(10, dtype=np.int32).reshape(5, 2)}
    found = score(model, given, proposal_steps=200)
    # a maximum missed by d standard deviations costs d^2 / 2 nats on average; Adam comes to 0.05
    np.testing.assert_allclose(found["log_likelihood"], truth, atol=0.02)
    assert found["effective_samples"].min() > 15
    plain = score(model, given)
    assert plain["effective_samples"].max() < 8


@pytest.mark.parametrize("kind", ["low_rank", "standard", "conditional"])
def test_it_scores_like_many_samples_of_the_encoder(kind):
    """Both bounds average, over their samples, to p(x)."""
    model = exports.build(kind)
    given = exports.requests(kind, 6)["log_prob"]
    fitted = score(model, given, proposal_steps=60)
    many = score(model, given, importance_samples=500)
    told = fitted["effective_samples"] > 4
    assert np.sum(told) >= 3
    # a mean of weights of which E count has a relative standard error near 1 / sqrt(E)
    error = np.sqrt(1 / fitted["effective_samples"] + 1 / many["effective_samples"])
    assert np.all(np.abs(fitted["log_likelihood"] - many["log_likelihood"])[told] < 4 * error[told])


def test_the_card_tells_what_log_prob_does():
    model = exports.build("low_rank")
    plain = signatures(model)["log_prob"].description
    assert "with 16 samples of z from the encoder's q(z given x)" in plain
    assert "effective number. Where that is near one" in plain
    fitted = signatures(model, importance_samples=8, proposal_steps=3)["log_prob"].description
    assert (
        "with 8 samples of z from Laplace's normal around a maximum of p(x, z), 3 steps" in fitted
    )
