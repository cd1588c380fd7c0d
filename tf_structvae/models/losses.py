"""Losses for plain `compile` and `fit` of networks that end in a distribution."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_structvae.models import event_targets, replicas
from tf_structvae.models.component_loss import PosteriorComponents
from tf_structvae.models.segmentation_loss import SegmentationLogLikelihood
from tf_structvae.utilities import checks

__all__ = ["NegativeLogLikelihood", "PosteriorComponents", "SegmentationLogLikelihood"]


@keras.saving.register_keras_serializable(package="tf_structvae")
class NegativeLogLikelihood(keras.losses.Loss):
    """Mean of -log p(y_true), nats per example, for a network whose output is a distribution p.

    Weights, `reduction` and replicas are treated as by every Keras loss. In training it also gives
    a head what its own weights do not hold: the first targets, which set the units of a head that
    standardises them, and what moves a closed-form scale. Metrics of Keras, such as "mse", see
    the mean in the form of the targets after it.

    Args:
      name: of the loss.
      mixing_rate: step of a closed-form scale, >= 0; 0 leaves it where it is.
      **kwargs: of `keras.losses.Loss`.

    Raises:
      ValueError: a mixing_rate outside its range.

    Examples:
      >>> import keras, numpy as np, tf_structvae as sv
      >>> model = keras.Sequential([keras.Input((8, 8, 1)), sv.layers.LowRankNormalHead(1, rank=2)])
      >>> model.compile("adam", sv.losses.NegativeLogLikelihood())
      >>> images = np.ones([6, 8, 8, 1], np.float32)
      >>> history = model.fit(images, images, epochs=2, verbose=0).history
      >>> len(history["loss"])
      2
    """

    def __init__(self, name: str = "negative_log_likelihood", mixing_rate: float = 0.02, **kwargs):
        super().__init__(name=name, **kwargs)
        if not (checks.is_finite(mixing_rate) and mixing_rate >= 0):
            raise ValueError(f"mixing_rate must be a finite number >= 0, got {mixing_rate!r}.")
        self.mixing_rate = float(mixing_rate)

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
        value = event_targets.show(y_true, y_pred, type(self).__name__)
        match_noise = getattr(y_pred, "match_noise", None)
        if match_noise is None or not self.mixing_rate:
            losses = -y_pred.log_prob(value)
            weights = event_targets.as_weights(sample_weight, losses)
        else:
            summary = y_pred.summarize(value)
            losses = -summary.log_prob
            weights = event_targets.as_weights(sample_weight, losses)
            match_noise(*self._moments(summary, weights))
        return super().__call__(tf.zeros_like(losses), losses, weights)

    def _moments(self, summary, weights):
        """Weighted mean moments of the noise posterior over the global batch, and the rate."""
        mean = summary.noise_mean
        second = mean[:, :, tf.newaxis] * mean[:, tf.newaxis, :] + summary.noise_covariance
        weights = tf.ones_like(mean[:, 0]) if weights is None else tf.cast(weights, mean.dtype)
        weights = tf.reshape(weights, [-1])
        sums = (
            tf.reduce_sum(weights),
            tf.linalg.matvec(mean, weights, transpose_a=True),
            tf.einsum("b,bij->ij", weights, second),
        )
        total, first, second = replicas.global_sum(sums)
        rate = self.mixing_rate * tf.cast(total > 0, total.dtype)  # a batch may weigh nothing
        return tf.math.divide_no_nan(first, total), tf.math.divide_no_nan(second, total), rate

    def get_config(self):
        return {**super().get_config(), "mixing_rate": self.mixing_rate}

    def call(self, y_true, y_pred):
        """The losses, which `__call__` has computed.

        Args:
          y_true: zeros, [B].
          y_pred: -log p of each example, [B].
        """
        return y_pred
