"""What one pass over the pixels finds of a value."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf


class Summary(NamedTuple):
    """What one pass over the pixels finds of a value, `LowRankMultivariateNormal.summarize`."""

    log_prob: tf.Tensor
    entropy: tf.Tensor
    noise_mean: tf.Tensor
    noise_covariance: tf.Tensor


class StructuredNormal:
    """Mixed into distributions that may have a factor P: what all of them can do."""

    batch_shape: Any
    condition: Any
    covariance_row: Any
    entropy_floor: Any
    event_shape: Any
    mean: Any
    rank: Any
    sample_from_noise: Any
    standardized_residual: Any
    structured_variance: Any
    summarize: Any

    def noise_posterior(self, value) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean c and covariance of omega_p given a value; with D, c = K^-1 P^T D^-1 r and K^-1.

        Args:
          value: [*sample, *batch, N].

        Returns:
          Mean [*sample, *batch, R] and covariance [*batch, R, R].
        """
        summary = self.summarize(value)
        return summary.noise_mean, summary.noise_covariance


def rank_of(p: Any) -> int:
    """R, the number of columns of the factor P of a distribution; 0 of one that has none.

    Args:
      p: any distribution.
    """
    return p.rank if isinstance(p, StructuredNormal) else 0


def mahalanobis(p: Any, value: tf.Tensor) -> tf.Tensor:
    """(y - mean)^T Sigma^-1 (y - mean) of any multivariate normal: N - 2 (log p(y) + entropy).

    Args:
      p: with batch [B] and event [N].
      value: [*sample, B, N].

    Returns:
      [*sample, B].
    """
    size = tf.cast(tf.shape(value)[-1], value.dtype)
    return size - 2.0 * (p.log_prob(value) + p.entropy())
