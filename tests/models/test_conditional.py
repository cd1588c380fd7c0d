"""Conditional models: against formulas, against a model for each class, and what they refuse."""

import conditional
import keras
import numpy as np
import pytest
import small_vae
import tensorflow as tf
from batch_parts import assert_same
from conditional import CLASSES, LATENT, SHAPE, N, batch, make

from tf_structvae import StructuredVAE
from tf_structvae.layers import LowRankNormalHead
from tf_structvae.models import networks
from tf_structvae.models.constraints import Constraint


def dense(layer, x):
    return x @ np.asarray(layer.kernel, np.float64) + np.asarray(layer.bias, np.float64)


def by_hand(model, images, labels, noise):
    """KL divergence and log-density of each image at a z, in float64 by NumPy alone."""
    hot = np.eye(CLASSES)[labels]
    conv, *hidden = [la for la in model.encoder.layers if la.weights]
    kernel, b = np.asarray(conv.kernel, np.float64), len(images)
    x = np.zeros((b, 4, 3, 4))
    for row in range(4):
        for column in range(3):
            part = images[:, row : row + 3, column : column + 3].astype(np.float64)
            x[:, row, column] = np.einsum("bijc,ijco->bo", part, kernel)
    x = np.maximum(x + np.asarray(conv.bias, np.float64), 0).reshape(b, -1)
    x = np.tanh(dense(hidden[0], np.concatenate([x, hot], 1)))
    mean, log_variance = np.split(dense(hidden[1], x), 2, 1)
    kl = 0.5 * np.sum(mean**2 + np.exp(log_variance) - 1 - log_variance, 1)
    z = mean + np.exp(0.5 * log_variance) * noise
    first = next(la for la in model.decoder.layers if la.weights)
    h = np.tanh(dense(first, np.concatenate([z, hot], 1))).reshape(b, 30, 4)
    p = model.head(tf.constant(h.reshape(b, 6, 5, 4), tf.float32))  # the head has tests of its own
    loc, factor = np.asarray(p.mean(), np.float64), np.asarray(p.cov_factor, np.float64)
    sigma = factor @ factor.swapaxes(1, 2) + float(np.ravel(p.cov_diag)[0]) * np.eye(N)
    e = images.reshape(b, N) - loc
    square = np.einsum("bi,bi->b", e, np.linalg.solve(sigma, e[..., None])[..., 0])
    return kl, -0.5 * (square + np.linalg.slogdet(sigma)[1] + N * np.log(2 * np.pi))


def test_step_is_equation_2_given_the_labels():
    kl = Constraint("kl", 0.3, rate=0.5, damping=2.0, initial_multiplier=1.5)
    model = make(constraints=[kl], samples=2, mixing_rate=0.0)
    model.compile(keras.optimizers.SGD(0.0))
    x, y = batch(8)
    logs = model.train_on_batch(x, y, return_dict=True)
    noise = tf.random.stateless_normal([2, 8, LATENT], [0, 0]).numpy()
    found = [by_hand(model, x, y, e) for e in noise]
    divergence = found[0][0].mean()
    log_prob = np.mean([log_prob for _, log_prob in found])
    np.testing.assert_allclose(logs["kl"], divergence, rtol=1e-4)
    np.testing.assert_allclose(logs["log_prob"], log_prob, rtol=1e-4)
    loss = -log_prob + (1.5 + 2.0 * (divergence - 0.3)) * (divergence - 0.3)
    np.testing.assert_allclose(logs["loss"], loss, rtol=1e-4)


@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_each_row_is_that_of_its_own_class(kind):
    """One call with many labels, and K calls with one label each."""
    if kind == "plain":
        model = make()
    else:
        head = LowRankNormalHead(
            2,
            rank=2,
            factor_initial=0.1,
            noise="fixed",
            epsilon=1e-5,
            mean_initial=0.5,
            factor_scale="kernel",
        )
        parts = {"norm": "group", "classes": CLASSES}
        model = StructuredVAE(
            networks.residual_encoder(SHAPE, LATENT, 4, [(4, 2)], **parts),
            networks.residual_decoder(SHAPE, LATENT, head, [(4, 2)], 4, **parts),
            classes=CLASSES,
        )
    x, y = batch(12)
    z = np.random.default_rng(1).normal(size=(12, LATENT)).astype(np.float32)
    flat = x.reshape(12, N)
    q, p, at_mean = model.encode(x, y), model.decode(z, y), model(x, y)
    means = []
    for k in range(CLASSES):
        own, same = y == k, np.full(12, k)
        np.testing.assert_allclose(q.mean()[own], model.encode(x, same).mean()[own], atol=1e-6)
        np.testing.assert_allclose(q.stddev()[own], model.encode(x, same).stddev()[own], atol=1e-6)
        other = model.decode(z, same)
        np.testing.assert_allclose(p.log_prob(flat)[own], other.log_prob(flat)[own], rtol=1e-5)
        np.testing.assert_allclose(at_mean.mean()[own], model(x, same).mean()[own], atol=1e-6)
        means.append(np.asarray(other.mean()))
    assert min(np.abs(a - b).max() for a in means for b in means if a is not b) > 1e-3
    encoded = [np.asarray(model.encode(x, np.full(12, k)).mean()) for k in range(2)]
    assert np.abs(encoded[0] - encoded[1]).max() > 1e-4


@pytest.mark.long
def test_samples_of_a_class_have_its_mean(tmp_path):
    """Learned from data in which the label decides the image; saved and loaded."""
    model = make(constraints=[Constraint("kl", 1.0, rate=0.2, damping=2.0)], mixing_rate=0.05)
    model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(batch(512)).batch(64).repeat()
    model.fit(data, steps_per_epoch=500, epochs=1, verbose=0)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    assert again.classes == CLASSES
    draws = 2000
    rng = np.random.default_rng(2)
    z = rng.normal(size=(draws, LATENT)).astype(np.float32)
    omega = rng.normal(size=(draws, 3)).astype(np.float32)
    for k in range(CLASSES):
        labels = np.full(draws, k)
        p = model.decode(z, labels)
        samples = p.sample_from_noise(omega).numpy().reshape(draws, *SHAPE).astype(np.float64)
        error = samples.std(0) / np.sqrt(draws)
        # what the 512 training images of about 128 a class leave open, and Adam's last steps
        learned = 4 * 0.054 / np.sqrt(128) + 0.01
        difference = np.abs(samples.mean(0) - conditional.class_means()[k])
        assert np.all(difference < 4 * error + learned), (k, difference.max())
        np.testing.assert_array_equal(p.mean(), again.decode(z, labels).mean())
    x, y = batch(64, seed=3)
    assert model.evaluate(x, y, verbose=0) == again.evaluate(x, y, verbose=0)
    means = model.predict(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), verbose=0)
    np.testing.assert_allclose(means, model(x, y).mean(), atol=1e-5)
    np.testing.assert_allclose(model.predict([x, y], verbose=0), means, atol=1e-5)


def test_configs_of_before_are_unconditional():
    config = small_vae.make().get_config()
    assert config.pop("classes") == 0
    assert StructuredVAE.from_config(config).classes == 0


@pytest.mark.parametrize("accumulate", [3, pytest.param(8, marks=pytest.mark.long)])
def test_parts_of_a_batch_give_its_step(accumulate):
    def trained(parts):
        keras.backend.clear_session()
        kl = Constraint("kl", 2.0, rate=0.5, damping=2.0, initial_multiplier=0.5)
        model = make(constraints=[kl], samples=2, pretrain_steps=1, accumulate=parts)
        model.compile(keras.optimizers.SGD(1e-3))
        before = {v.path: np.array(v) for v in model.variables}
        logs = [model.train_on_batch(*batch(8, seed), return_dict=True) for seed in range(4)]
        return logs, before, {v.path: np.array(v) for v in model.variables}

    assert_same(trained(accumulate), trained(1))


def test_slices_carry_their_labels(monkeypatch):
    monkeypatch.setattr("tf_structvae.models.sliced_inference._PIXELS_AT_ONCE", 5 * 30)
    model = make()
    x, y = batch(13)
    emitted = model.encoder([x, np.eye(CLASSES)[y]])
    np.testing.assert_allclose(model.encode(x, y).mean(), emitted[:, :LATENT], atol=1e-6)
    z = np.random.default_rng(0).normal(size=(13, LATENT)).astype(np.float32)
    direct = model.decoder([z, np.eye(CLASSES)[y]])
    np.testing.assert_allclose(model.decode(z, y).mean(), direct.mean(), atol=1e-6)


BAD = [
    (None, "got none: this model has 4 classes"),
    ([0, 1, 4], "from 0 to 3, got 4 in row 2"),
    ([0, -1, 2], "got -1 in row 1"),
    ([0, 1], "B = 3; got 2"),
    ([[0], [1], [2]], r"got int32 of shape \(3, 1\)"),
    ([0.0, 1.0, 2.0], r"got float32 of shape \(3,\)"),
    ([True, False, True], r"got bool of shape \(3,\)"),
    (np.eye(4, dtype=np.float32)[:3], r"got float32 of shape \(3, 4\)"),
]


@pytest.mark.parametrize(("labels", "message"), BAD)
def test_bad_labels(labels, message):
    model = make()
    x, _ = batch(3)
    for call in (model.encode, lambda x, y: model.decode(x[:, 0, :3, 0], y)):
        with pytest.raises(ValueError, match=f"labels must be integers .*{message}"):
            call(x, labels)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_bad_labels_in_training(accumulate):
    model = make(accumulate=accumulate)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    x, y = batch(4)
    with pytest.raises(ValueError, match="got none: this model has 4 classes"):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match="labels must be integers"):
        model.fit(x, y.astype(np.float32), verbose=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be integers"):
        model.fit(x, y + 4, verbose=0)


def test_xla_answers_bad_labels_by_nan():
    """It has no checks; a loss that is not finite stops a run."""
    model = make()
    model.compile(keras.optimizers.SGD(0.0), jit_compile=True)
    x, y = batch(4)
    assert np.isfinite(model.test_on_batch(x, y, return_dict=True)["loss"])
    assert np.isnan(model.test_on_batch(x, y + 4, return_dict=True)["loss"])


def test_labels_of_an_unconditional_model():
    model = small_vae.make()
    x, y = batch(3)
    z = np.zeros((3, small_vae.LATENT), np.float32)
    model.compile(keras.optimizers.SGD(0.0))
    for call in (model.encode, model, lambda _, y: model.decode(z, y), model.train_on_batch):
        with pytest.raises(ValueError, match="labels must not be given: this model is uncond"):
            call(x, y)
    assert np.isfinite(model.train_on_batch(x, x, return_dict=True)["loss"])  # as Keras users do


def test_networks_must_fit_the_classes():
    one, two = small_vae.make(), make()
    for classes in (-1, 2.0, True):
        with pytest.raises(ValueError, match="classes must be an integer >= 0"):
            StructuredVAE(one.encoder, one.decoder, classes=classes)
    with pytest.raises(ValueError, match=r"encoder must have two inputs, \[images, one-hot"):
        StructuredVAE(one.encoder, two.decoder, classes=CLASSES)
    with pytest.raises(ValueError, match=r"decoder must have two inputs, \[latents, one-hot"):
        StructuredVAE(two.encoder, one.decoder, classes=CLASSES)
    with pytest.raises(ValueError, match=r"one-hot labels \[B, 5\]\], where classes = 5"):
        StructuredVAE(two.encoder, two.decoder, classes=5)
    with pytest.raises(ValueError, match="encoder must have one input, the images"):
        StructuredVAE(two.encoder, two.decoder)
