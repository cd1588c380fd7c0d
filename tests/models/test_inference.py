"""Inference in slices is inference."""

import keras
import numpy as np
import tensorflow as tf
from small_vae import LATENT, images, make

from tf_structvae.models import sliced_inference


def test_slices_are_the_network(monkeypatch):
    model, x = make(), images(7)
    shape = model.image_shape
    monkeypatch.setattr(sliced_inference, "_PIXELS_AT_ONCE", 3 * shape[0] * shape[1])
    sliced = sliced_inference.Slices(model.encoder, shape)
    np.testing.assert_allclose(sliced(x), model.encoder(x), atol=1e-6)
    np.testing.assert_allclose(sliced(x[:2]), model.encoder(x[:2]), atol=1e-6)
    seen = []
    body = sliced_inference.before(model.head, model.decoder)
    run = sliced_inference.Slices(body, shape)
    whole = run._run
    run._run = lambda z: seen.append(len(z)) or whole(z)
    z = np.random.default_rng(0).standard_normal([7, LATENT]).astype(np.float32)
    np.testing.assert_allclose(run(z), body(z), atol=1e-6)
    assert seen == [3, 3, 1]


def test_model_decodes_as_its_decoder_does():
    model = make()
    z = tf.random.stateless_normal([5, LATENT], (0, 1))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(z)
        ours, direct = model.decode(z).mean(), model.decoder(z).mean()
    np.testing.assert_allclose(ours, direct, atol=1e-6)
    np.testing.assert_allclose(tape.gradient(ours, z), tape.gradient(direct, z), atol=1e-5)
    model.head.mean_bias.assign_add([0.5] * model.image_shape[-1])  # seen by the traced graph
    np.testing.assert_allclose(model.decode(z).mean(), ours + 0.5, atol=1e-6)
    assert len(model.decoder.weights) == len({v.path for v in model.decoder.weights})


def test_a_subclassed_decoder_is_left_alone():
    model = make()

    class Wrapped(keras.Model):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, z, training=False):
            return self.inner(z, training=training)

    assert sliced_inference.before(model.head, Wrapped(model.decoder)) is None
    nested = keras.Sequential([keras.Input((LATENT,)), model.decoder])
    assert sliced_inference.before(model.head, nested) is None
