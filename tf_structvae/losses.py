"""Losses for plain `compile` and `fit` of networks that end in a distribution."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tf_structvae")
class NegativeLogLikelihood(keras.losses.Loss):
    """Mean of -log p(y_true), nats per example, for a network whose output is a distribution p.

    Args:
      name: of the loss.
      **kwargs: of `keras.losses.Loss`.

    Examples:
      >>> import keras, numpy as np, tf_structvae as sv
      >>> model = keras.Sequential([keras.Input((8, 8, 1)), sv.layers.LowRankNormalHead(1, rank=2)])
      >>> model.compile("adam", sv.losses.NegativeLogLikelihood())
      >>> images = np.ones([6, 8, 8, 1], np.float32)
      >>> history = model.fit(images, images, epochs=2, verbose=0).history
      >>> len(history["loss"])
      2
    """

    def __init__(self, name: str = "negative_log_likelihood", **kwargs):
        super().__init__(name=name, **kwargs)

    # Not `call`: before that, Keras would turn the distribution into a tensor.
    def __call__(self, y_true, y_pred, sample_weight=None):
        """
        Args:
          y_true: [B, ...], as many numbers an example as the event of y_pred has entries.
          y_pred: a distribution with batch [B] and event [N].
          sample_weight: [B] or None.
        """
        y_true = tf.cast(y_true, y_pred.dtype)
        flat = tf.reshape(y_true, [tf.shape(y_true)[0], y_pred.event_shape[0]])
        losses = -y_pred.log_prob(flat)
        if sample_weight is not None:
            losses *= tf.cast(tf.reshape(sample_weight, [-1]), losses.dtype)
        return tf.reduce_mean(losses)
