"""Keras metrics of a predicted distribution, for `compile(metrics=[...])`.

Keras hands `metrics` no sample weights; those in `weighted_metrics` get them. All are means over
the examples seen since the last reset, so batches of unlike size do no harm.
"""

from __future__ import annotations

import abc

import keras
import tensorflow as tf

from tf_structvae.distributions.summary import mahalanobis, rank_of
from tf_structvae.models import event_targets


class DistributionMetric(keras.metrics.Mean, abc.ABC):
    """The mean over examples of a number that a target and its predicted distribution give.

    Args:
      name: of the metric.
      **kwargs: of `keras.metrics.Mean`.
    """

    NAME: str

    def __init__(self, name: str | None = None, **kwargs):
        super().__init__(name=name or self.NAME, **kwargs)

    @abc.abstractmethod
    def measure(self, y: tf.Tensor, p) -> tf.Tensor:
        """One number an example, [B].

        Args:
          y: values, [B, N].
          p: a distribution with batch [B] and event [N].
        """

    def update_state(self, y_true, y_pred, sample_weight=None):
        """
        Args:
          y_true: [B, ...], N numbers an example, flat or in the form of the image.
          y_pred: a distribution with batch [B] and event [N].
          sample_weight: [B], [B, 1] or None.

        Raises:
          ValueError: y_pred is no such distribution, or a size does not fit.
        """
        values = self.measure(event_targets.as_event(y_true, y_pred, type(self).__name__), y_pred)
        super().update_state(values, event_targets.as_weights(sample_weight, values))


@keras.saving.register_keras_serializable(package="tf_structvae")
class LogProb(DistributionMetric):
    """Mean of log p(y), nats per example: the larger the better."""

    NAME = "log_prob"

    def measure(self, y, p):
        return p.log_prob(y)


@keras.saving.register_keras_serializable(package="tf_structvae")
class Entropy(DistributionMetric):
    """Mean entropy of the predicted distributions, nats per example; targets do not matter."""

    NAME = "entropy"

    def measure(self, y, p):
        return p.entropy()


@keras.saving.register_keras_serializable(package="tf_structvae")
class MahalanobisDistance(DistributionMetric):
    """Mean of (y - mean)^T Sigma^-1 (y - mean) / N: 1 if the whole distribution is calibrated.

    Above 1 the distribution is too narrow for the targets, below 1 too wide. For any multivariate
    normal the form is N - 2 (log p(y) + entropy).
    """

    NAME = "mahalanobis"

    def measure(self, y, p):
        size = tf.cast(tf.shape(y)[1], y.dtype)
        return mahalanobis(p, y) / size


@keras.saving.register_keras_serializable(package="tf_structvae")
class NoiseSquare(DistributionMetric):
    """Mean of E[|omega_p|^2 | y] / R, the second moment of the noise posterior: 1 is calibrated.

    It looks along the factor P alone, which `MahalanobisDistance` hardly does: P has R of the N
    directions. Above 1 samples vary too little, below 1 too much. The same number as
    `noise_square` in the logs of `StructuredVAE`.
    """

    NAME = "noise_square"

    def measure(self, y, p):
        if not rank_of(p):
            raise ValueError(
                "NoiseSquare needs a distribution with a factor P, as LowRankNormalHead emits; "
                f"y_pred is a {type(p).__name__} without one."
            )
        mean, covariance = p.noise_posterior(y)
        square = tf.reduce_sum(tf.square(mean), axis=-1) + tf.linalg.trace(covariance)
        return square / tf.cast(tf.shape(mean)[-1], y.dtype)


@keras.saving.register_keras_serializable(package="tf_structvae")
class RootMeanSquaredError(DistributionMetric):
    """Root of the mean over examples and entries of (y - mean)^2, in the unit of the targets."""

    NAME = "rmse"

    def measure(self, y, p):
        return tf.reduce_mean(tf.square(y - p.mean()), axis=-1)

    def result(self):
        return keras.ops.sqrt(super().result())
