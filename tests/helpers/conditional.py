"""A tiny conditional VAE of plain Keras layers, and data whose label decides the image."""

import keras
import numpy as np

from tf_structvae import StructuredVAE
from tf_structvae.layers import LowRankNormalHead

SHAPE, LATENT, CLASSES = (6, 5, 2), 3, 4
N = 60
# brightness of the left and the right half of each class's images
LEVELS = np.array([[0.2, 0.8], [0.8, 0.2], [0.35, 0.35], [0.7, 0.6]])


def make(head=None, constraints=(), classes=CLASSES, shape=SHAPE, **options):
    """As a user writes one: both networks of two inputs, the functional way."""
    keras.utils.set_random_seed(0)
    head = head or LowRankNormalHead(
        shape[-1],
        rank=3,
        epsilon=0.05,
        noise="learned",
        factor_scale="closed_form",
        factor_initial=0.1,
        mean_initial=0.5,
    )
    height, width, _ = shape
    image, label = keras.Input(shape), keras.Input((classes,))
    x = keras.layers.Conv2D(4, 3, activation="relu")(image)
    x = keras.layers.concatenate([keras.layers.Flatten()(x), label])
    x = keras.layers.Dense(8, activation="tanh")(x)
    encoder = keras.Model([image, label], keras.layers.Dense(2 * LATENT)(x))
    latent, label = keras.Input((LATENT,)), keras.Input((classes,))
    x = keras.layers.concatenate([latent, label])
    x = keras.layers.Dense(height * width * 4, activation="tanh")(x)
    decoder = keras.Model([latent, label], head(keras.layers.Reshape((height, width, 4))(x)))
    return StructuredVAE(encoder, decoder, list(constraints), classes=classes, **options)


def class_means():
    """[K, 6, 5, 2]: one level in columns 0 and 1, the other in 2 to 4."""
    columns = np.array([0, 0, 1, 1, 1])
    return np.broadcast_to(LEVELS[:, None, columns, None], (CLASSES, *SHAPE)).astype(np.float32)


def batch(count=64, seed=0):
    """Images and labels: the class's mean, one brightness for all pixels, and pixel noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    shared = 0.05 * rng.normal(size=(count, 1, 1, 1))
    images = class_means()[labels] + shared + 0.02 * rng.normal(size=(count, *SHAPE))
    return images.astype(np.float32), labels
