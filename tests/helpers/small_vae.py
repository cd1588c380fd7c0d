"""A small structured VAE, and images for it."""

import keras
import numpy as np
import tensorflow as tf

from tf_structvae import StructuredVAE
from tf_structvae.layers import LowRankNormalHead

SHAPE, LATENT = (6, 5, 2), 3


N = 60


def make(head=None, constraints=(), **kwargs):
    """A VAE of plain Keras layers, as a user would write one."""
    keras.utils.set_random_seed(0)
    head = head or LowRankNormalHead(
        2,
        rank=3,
        epsilon=0.05,
        noise="learned",
        factor_scale="closed_form",
        factor_initial=0.1,
        mean_initial=0.5,
    )
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2 * LATENT),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((LATENT,)),
            keras.layers.Dense(6 * 5 * 4, activation="relu"),
            keras.layers.Reshape((6, 5, 4)),
            head,
        ]
    )
    return StructuredVAE(encoder, decoder, list(constraints), **kwargs)


def images(count=64, seed=0):
    """Images whose brightness varies as one factor, and whose slope varies as another."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-1, 1, 6)[:, None, None] * np.ones(SHAPE)
    x = (
        0.5
        + 0.2 * rng.normal(size=(count, 1, 1, 1))
        + 0.1 * rng.normal(size=(count, 1, 1, 1)) * slope
    )
    return (x + 0.02 * rng.normal(size=(count, *SHAPE))).astype(np.float32)


@keras.saving.register_keras_serializable(package="tests")
class EdgeVAE(StructuredVAE):
    """A constraint of the user's own: the error of vertical differences (GECO)."""

    QUANTITIES = (*StructuredVAE.QUANTITIES, "edge_error")

    def measure(self, x, p):
        error = tf.reshape(x - p.mean(), [-1, *self.image_shape])
        return {"edge_error": tf.reduce_sum((error[:, 1:] - error[:, :-1]) ** 2, [1, 2, 3])}
