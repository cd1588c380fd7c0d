"""A user's own Keras model that ends in a head."""

import keras
import numpy as np

import tf_structvae as sv

SHAPES = {2: (6,), 3: (5, 3), 4: (4, 3, 2), 5: (2, 3, 2, 2)}  # of an example's input


CHANNELS = 2


COUNT, BATCH = 22, 8  # the last batch is smaller


@keras.saving.register_keras_serializable(package="test_drop_in")
class Subclassed(keras.Model):
    def __init__(self, head, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(6, activation="tanh")
        self.head = head

    def call(self, x):
        return self.head(self.dense(x))

    def get_config(self):
        head = keras.saving.serialize_keras_object(self.head)
        return {**super().get_config(), "head": head}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("head")), **config)


def new_head(kind, rank=2, name=None):
    if kind == "independent":
        return sv.layers.IndependentNormalHead(CHANNELS, epsilon=0.5, noise="per_pixel", name=name)
    return sv.layers.LowRankNormalHead(
        CHANNELS, rank=rank, epsilon=0.5, noise="learned", factor_initial=0.3, name=name
    )


def new_model(kind, ndim, head):
    if kind == "subclassed":
        return Subclassed(head)
    dense = keras.layers.Dense(6, activation="tanh")
    inputs = keras.Input(SHAPES[ndim])
    if kind == "sequential":
        return keras.Sequential([inputs, dense, head])
    return keras.Model(inputs, head(dense(inputs)))


def data(ndim):
    rng = np.random.default_rng(ndim)
    x = rng.normal(size=(COUNT, *SHAPES[ndim])).astype(np.float32)
    y = rng.normal(size=(COUNT, *SHAPES[ndim][:-1], CHANNELS)).astype(np.float32)
    return x, y
