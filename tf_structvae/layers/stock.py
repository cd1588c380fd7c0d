"""The same head on TFP's own class, for comparison."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.layers.emitted import MeanAsTensor
from tf_structvae.layers.low_rank import LowRankNormalHead

tfd = tfp.distributions


class StockLowRankNormal(MeanAsTensor, tfd.MultivariateNormalDiagPlusLowRankCovariance):  # type: ignore[name-defined]
    """TFP's class for Sigma = P P^T + D, with the floor of its entropy beside it.

    Args:
      loc: [..., N].
      cov_diag: [..., N].
      cov_factor: P, [..., N, R].
    """

    def __init__(self, loc, cov_diag, cov_factor, name="StockLowRankNormal"):
        parameters = dict(locals())
        super().__init__(loc, cov_diag, cov_factor, name=name)
        self._parameters = parameters
        self._cov_diag = cov_diag

    def entropy_floor(self) -> tf.Tensor:
        """Entropy of N(loc, D), nats, [*batch]."""
        log_variance = tf.math.log(self._cov_diag) + math.log(2 * math.pi * math.e)
        return 0.5 * tf.reduce_sum(log_variance, axis=-1)


@keras.saving.register_keras_serializable(package="tf_structvae")
class StockLowRankNormalHead(LowRankNormalHead):
    """`LowRankNormalHead` with the same weights, but P is built and TFP's class does the algebra.

    It shows what float32 costs without the care of `LowRankMultivariateNormal`: use it to compare,
    not to train. It has no closed-form scale, which needs the noise posterior.
    """

    _FACTOR_SCALES = ("kernel", "log_scale")

    def _distribution(self, loc, features, kernel, cov_diag):
        p = super()._distribution(loc, features, kernel, cov_diag)
        return StockLowRankNormal(loc, tf.broadcast_to(cov_diag, tf.shape(loc)), p.cov_factor)
