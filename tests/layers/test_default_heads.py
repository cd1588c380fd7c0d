"""The heads as a new user makes them: no options but the size, plain `fit`, unscaled targets."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_structvae as sv

OUTPUTS, FEATURES, COUNT = 20, 30, 2000


def regression():
    """x, y of linear means and correlated errors, and log p(y | x) under the truth, each [n, ...].

    Outputs have means of hundreds, and standard deviations from 0.01 to 100.
    """
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(FEATURES, OUTPUTS)) / np.sqrt(FEATURES)
    common, own = 0.6 * rng.normal(size=(OUTPUTS, 3)), rng.uniform(0.05, 0.6, OUTPUTS)
    root = np.linalg.cholesky(common @ common.T + np.diag(own**2))
    x = rng.normal(size=(COUNT + 1000, FEATURES))
    noise = rng.normal(size=(len(x), OUTPUTS))
    scale, offset = np.geomspace(0.01, 100, OUTPUTS), rng.uniform(-500, 500, OUTPUTS)
    y = offset + scale * (x @ slopes + noise @ root.T)
    log_det = np.log(np.diag(root) * scale).sum()
    log_prob = -0.5 * np.sum(noise**2 + np.log(2 * np.pi), 1) - log_det
    return x.astype(np.float32), y.astype(np.float32), log_prob


@pytest.mark.parametrize(
    ("head", "within"),
    [  # nats
        # measured: 6.5 nats below the truth, of which a longer training wins most
        (lambda: sv.layers.LowRankNormalHead(OUTPUTS, rank=5), 8.0),
        # 17 below, as it takes the errors to be independent
        pytest.param(
            lambda: sv.layers.IndependentNormalHead(OUTPUTS), 20.0, marks=pytest.mark.long
        ),
    ],
)
def test_plain_fit_on_unscaled_targets_comes_near_the_truth(head, within):
    keras.utils.set_random_seed(0)
    x, y, truth = regression()
    model = keras.Sequential([keras.Input((FEATURES,)), head()])
    loss = sv.losses.NegativeLogLikelihood()
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=True)
    model.fit(x[:COUNT], y[:COUNT], batch_size=32, epochs=10, verbose=0)
    found = -model.evaluate(x[COUNT:], y[COUNT:], batch_size=1000, verbose=0)
    assert truth[COUNT:].mean() - within < found < truth[COUNT:].mean()


FORM = (4, 3, 2)


def image_model(head, metrics, **options):
    model = keras.Sequential([keras.Input((*FORM[:2], 5)), head])
    model.compile("adam", sv.losses.NegativeLogLikelihood(), metrics=metrics, **options)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(10, *FORM[:2], 5)).astype(np.float32)
    return model, x, rng.normal(size=(10, *FORM)).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LowRankNormalHead", {}),
        ("LowRankNormalHead", {"run_eagerly": True}),
        ("IndependentNormalHead", {"steps_per_execution": 2}),
    ],
)
def test_metrics_of_keras_take_images(kind, options):
    head = getattr(sv.layers, kind)(2)
    model, x, y = image_model(head, ["mse", "mae", sv.metrics.RootMeanSquaredError()], **options)
    model.fit(x, y, batch_size=4, verbose=0)
    found = model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    error = model.predict(x, verbose=0).reshape(y.shape) - y  # of predict, still flat
    np.testing.assert_allclose(found["mse"], np.mean(error**2), rtol=1e-5)
    np.testing.assert_allclose(found["mae"], np.mean(np.abs(error)), rtol=1e-5)
    np.testing.assert_allclose(found["rmse"], np.sqrt(np.mean(error**2)), rtol=1e-5)
    model.compile(loss=model.loss, metrics=["mse", "mae", sv.metrics.RootMeanSquaredError()])
    flat = model.evaluate(x, y.reshape(10, -1), batch_size=4, verbose=0, return_dict=True)
    assert flat == pytest.approx(found, rel=1e-5)


@pytest.mark.parametrize("kind", ["LowRankNormalHead", "IndependentNormalHead"])
def test_densities_take_images(kind):
    model, x, y = image_model(getattr(sv.layers, kind)(2), [])
    p, flat = model(x), y.reshape(10, -1)
    log_prob = p.log_prob(flat)
    assert log_prob.shape == (10,)
    np.testing.assert_array_equal(p.log_prob(y), log_prob)
    np.testing.assert_array_equal(p.log_prob(y.astype(np.float64)), log_prob)
    np.testing.assert_array_equal(p.prob(y), p.prob(flat))
    through = tf.function(lambda x, y: model(x).log_prob(y))(x, y)
    np.testing.assert_allclose(through, log_prob, rtol=1e-5)
    if kind == "LowRankNormalHead":
        for a, b in zip(p.noise_posterior(y), p.noise_posterior(flat), strict=True):
            np.testing.assert_array_equal(a, b)
    several = np.stack([flat, flat + 1])  # [samples, B, N], as everywhere in TFP
    assert p.log_prob(several).shape == (2, 10)
    np.testing.assert_allclose(p.log_prob(several)[0], log_prob, rtol=1e-5)
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        p.log_prob(y[:, :2])
