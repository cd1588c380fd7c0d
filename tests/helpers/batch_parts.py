"""Models whose batches are split into parts."""

import keras
import numpy as np
from small_vae import LATENT, SHAPE, make

from tf_structvae import StructuredVAE
from tf_structvae.models.constraints import Constraint

BATCH, STEPS = 8, 4


def calibrated(**options):
    """The default recipe: closed-form scale, a constraint on the KL divergence, no norm."""
    kl = Constraint("kl", 0.02, rate=0.5, damping=2.0, initial_multiplier=0.5)
    model = make(constraints=[kl], samples=2, pretrain_steps=1, **options)
    model.compile(keras.optimizers.SGD(1e-3))
    return model


def normalized(norm, head, constraints, **options):
    """A VAE with a layer norm(name=...) in each half; float32 out of the encoder."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(4, 3, name="stem"),
            norm(name="stem_norm"),
            keras.layers.ReLU(),
            keras.layers.Flatten(),
            keras.layers.Dense(2 * LATENT, dtype="float32"),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((LATENT,)),
            keras.layers.Dense(6 * 5 * 4),
            keras.layers.Reshape((6, 5, 4)),
            norm(name="decoder_norm"),
            keras.layers.ReLU(),
            head,
        ]
    )
    return StructuredVAE(encoder, decoder, constraints, **options)


def assert_same(part, whole):
    """Equal logs, and equal changes of each variable.

    Sums over few images in another order: in float32 some 1e-7 of the terms, which cancel to a
    tenth or so. SGD takes such errors as they are; Adam would make whole steps of the smallest.
    """
    for a, b in zip(part[0], whole[0], strict=True):
        assert a.keys() == b.keys()
        for name in b:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6, err_msg=name)
    for path, b in whole[2].items():
        if "seed" in path:
            continue
        change = np.abs(b - whole[1][path]).max()
        # half a unit in the last place of the weight itself is lost at each assignment
        rounding = STEPS * np.spacing(np.abs(b).max().astype(np.float32))
        error = np.abs(part[2][path] - b).max()
        assert error <= 1e-5 * change + rounding, (path, error, change)
