"""Losses for plain `compile` and `fit` of networks that end in a distribution."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_structvae import observations


@keras.saving.register_keras_serializable(package="tf_structvae")
class NegativeLogLikelihood(keras.losses.Loss):
    """Mean of -log p(y_true), nats per example, for a network whose output is a distribution p.

    Weights, `reduction` and replicas are treated as by every Keras loss.

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
          y_true: [B, ...], as many numbers an example as the event of y_pred has entries, flat or
            in the form of the image.
          y_pred: a distribution with batch [B] and event [N].
          sample_weight: [B], [B, 1] or None.

        Raises:
          ValueError: y_pred is no such distribution, or a size does not fit.
        """
        value = observations.as_event(y_true, y_pred, type(self).__name__)
        losses = -y_pred.log_prob(value)
        weights = observations.as_weights(sample_weight, losses)
        return super().__call__(tf.zeros_like(losses), losses, weights)

    def call(self, y_true, y_pred):
        """The losses, which `__call__` has computed.

        Args:
          y_true: zeros, [B].
          y_pred: -log p of each example, [B].
        """
        return y_pred
