"""A data set whose images tell their numbers."""

import numpy as np
import tensorflow as tf

from tf_structvae.datasets.source import Source

COUNT, SHAPE = 250, (6, 5, 3)


def pixels(count=COUNT):
    return np.random.default_rng(0).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def source(count=COUNT, encoded_bytes=90.0):
    """Raw bytes stand for an encoded image."""
    images = pixels(count)
    examples = tf.data.Dataset.from_tensor_slices(
        {
            "image": [x.tobytes() for x in images],
            "label": np.arange(count),
            "boxes": tf.ragged.constant([[1] * (i % 3) for i in range(count)]),
        }
    )

    def decode(encoded):
        return tf.ensure_shape(tf.reshape(tf.io.decode_raw(encoded, tf.uint8), SHAPE), SHAPE)

    return Source(examples, decode, count, SHAPE, encoded_bytes, None)
