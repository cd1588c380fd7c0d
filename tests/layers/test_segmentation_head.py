"""The head over label maps: what it emits, its bounds, and its life in Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_structvae as sv


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def network(rank=3, classes=3, **options):
    return keras.Sequential(
        [
            keras.Input((6, 5, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            sv.layers.LowRankSegmentationHead(classes, rank, **options),
        ]
    )


def data(annotators=2):
    rng = np.random.default_rng(0)
    x = rng.normal(size=[12, 6, 5, 1]).astype(np.float32)
    return x, rng.integers(0, 3, [12, 6, 5, annotators]).astype(np.int32)


@pytest.mark.parametrize("rank", [0, 3])
def test_logits_are_linear_in_the_features_and_bounded(rank):
    head = sv.layers.LowRankSegmentationHead(3, rank, limit=2.0, factor_scale="kernel")
    features = np.random.default_rng(0).normal(0, 3, [4, 6, 5, 8]).astype(np.float32)
    p = head(features)
    flat = features.reshape(4, 30, 8).astype(np.float64)
    mean = flat @ head.mean_kernel.numpy() + head.mean_bias.numpy()
    np.testing.assert_allclose(
        p.logits.mean(), (2 * np.tanh(mean / 2)).reshape(4, -1), rtol=1e-4, atol=1e-5
    )
    noise = np.exp(flat @ head.noise_kernel.numpy() + head.noise_bias.numpy())
    variance = noise / (1 + noise / 4)
    if rank:
        with_one = np.concatenate([flat, np.ones([4, 30, 1])], -1)
        rows = np.einsum("bsf,fcr->bscr", with_one, head.factor_kernel.numpy())
        rows /= np.sqrt(1 + np.sum(rows**2, -1, keepdims=True) / 4)
        np.testing.assert_allclose(p.logits.cov_factor, rows.reshape(4, 90, 3), atol=1e-5)
        variance = variance + np.sum(rows**2, -1)
    np.testing.assert_allclose(p.logits.variance(), variance.reshape(4, -1), rtol=1e-4)


@pytest.mark.parametrize("rank", [0, 3])
def test_weights_without_limit_leave_the_covariance_bounded(rank):
    """Where the likelihood has no maximum, as on a uniform image: issue 4 of the authors' code."""
    head = sv.layers.LowRankSegmentationHead(2, rank, limit=10.0, factor_scale="kernel")
    head.build((None, 4, 4, 2))
    for w in head.weights:
        w.assign(1e6 * tf.sign(w + 1e-9))
    p = head(np.ones([1, 4, 4, 2], np.float32))
    assert np.abs(p.logits.mean()).max() <= 10.0
    assert p.logits.variance().numpy().max() <= 200.0 * 1.001
    assert np.isfinite(p.log_likelihoods(np.zeros([1, 16, 1], np.int32))).all()


def test_a_uniform_image_trains_on_without_end():
    model = network(classes=2)
    model.compile(keras.optimizers.Adam(0.5), sv.losses.SegmentationLogLikelihood())
    x, y = np.ones([8, 6, 5, 1], np.float32), np.zeros([8, 6, 5], np.int32)
    losses = model.fit(x, y, epochs=60, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert 0 <= losses[-1] < 1 < losses[0]
    assert np.isfinite(model(x).logits.variance()).all()


@pytest.mark.parametrize("rank", [0, 2])
def test_the_life_of_a_keras_model(rank, tmp_path):
    x, y = data()
    model = network(rank)
    metrics = [keras.metrics.SparseCategoricalAccuracy()]
    model.compile(keras.optimizers.Adam(0.02), sv.losses.SegmentationLogLikelihood())
    losses = model.fit(x, y, batch_size=4, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    p = model(x)
    predicted = model.predict(x, batch_size=5, verbose=0)
    assert predicted.shape == (12, 6, 5, 3)
    np.testing.assert_allclose(
        predicted, p.probabilities().numpy().reshape(predicted.shape), rtol=1e-5
    )
    np.testing.assert_allclose(predicted.sum(-1), 1, rtol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    maps = y.reshape(12, 30, 2)
    np.testing.assert_array_equal(
        loaded(x).log_likelihoods(maps, seed=(0, 1)), p.log_likelihoods(maps, seed=(0, 1))
    )
    # metrics of Keras see the probabilities
    model.compile("adam", sv.losses.SegmentationLogLikelihood(), metrics=metrics)
    found = model.evaluate(x, y[..., 0], verbose=0, return_dict=True)
    accuracy = np.mean(predicted.argmax(-1) == y[..., 0])
    np.testing.assert_allclose(found["sparse_categorical_accuracy"], accuracy, rtol=1e-5)


def test_the_loss_is_a_mean_over_annotators_and_images():
    x, y = data(3)
    p = network()(x)
    tf.random.set_seed(1)
    loss = sv.losses.SegmentationLogLikelihood()(y, p)
    tf.random.set_seed(1)
    wanted = -p.log_likelihoods(y.reshape(12, 30, 3)).numpy().mean()
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    tf.random.set_seed(1)
    weights = np.arange(12.0)
    weighted = sv.losses.SegmentationLogLikelihood()(y, p, weights)
    tf.random.set_seed(1)
    each = -p.log_likelihoods(y.reshape(12, 30, 3)).numpy().mean(-1)
    np.testing.assert_allclose(weighted, np.mean(weights * each), rtol=1e-5)


def test_a_missing_annotator_does_not_count():
    x, y = data(2)
    missing = np.concatenate([y, np.full_like(y[..., :1], -1)], -1)
    p = network()(x)
    losses = []
    for labels in (y, missing):
        tf.random.set_seed(1)
        losses.append(float(sv.losses.SegmentationLogLikelihood()(labels, p)))
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_all_arguments_are_kept():
    head = sv.layers.LowRankSegmentationHead(
        3, 2, 7, -5, 4.0, 0.3, "learned", "kernel", 0.2, use_bias=False, variance_floor=1e-3
    )
    copy = sv.layers.LowRankSegmentationHead.from_config(head.get_config())
    assert copy.get_config() == head.get_config()
    assert (copy.use_bias, copy.variance_floor, copy.ignored) == (False, 1e-3, -5)


def test_wrong_input():
    head = sv.layers.LowRankSegmentationHead
    for call, pattern in (
        (lambda: head(1), "classes must be an integer of at least 2, got 1"),
        (lambda: head(2, -1), "rank must be an integer of at least 0, got -1"),
        (lambda: head(2, draws=0), "draws must be a positive integer, got 0"),
        (lambda: head(2, limit=0), "limit must be a finite positive number, got 0"),
        (lambda: head(2, ignored=0.5), "ignored must be an integer, got 0.5"),
        (lambda: head(2, factor_scale="closed_form"), "factor_scale must be one of"),
    ):
        with pytest.raises(ValueError, match=pattern):
            call()
    x, y = data()
    p = network()(x)
    loss = sv.losses.SegmentationLogLikelihood()
    with pytest.raises(ValueError, match=r"with 30 pixels an image, got \(12, 6, 4\)"):
        loss(y[:, :, :4, 0], p)
    with pytest.raises(ValueError, match="needs a model that ends in LowRankSegmentationHead"):
        loss(y, sv.layers.IndependentNormalHead(3)(np.ones([12, 4], np.float32)))
