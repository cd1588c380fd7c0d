"""Checkpoints of a small model."""

import binding
import keras
from small_vae import make

from tf_structvae.training.checkpoints import Checkpoints


def compiled(**options):
    model = make(constraints=binding.constraints(-20.0), **options)
    model.compile(keras.optimizers.Adam(0.01))
    model.optimizer.build(model.trainable_variables)
    return model


def bias(model):
    return model.head.mean_bias


def save_steps(directory, steps, values=None):
    """A model whose mean bias is the step, saved at each of `steps`."""
    model = compiled()
    checkpoints = Checkpoints(directory, model, keep=3)
    for i, step in enumerate(steps):
        bias(model).assign([step, step])
        checkpoints.save(step, None if values is None else values[i])
    return model, checkpoints
