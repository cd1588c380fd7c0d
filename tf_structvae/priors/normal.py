"""One normal with full covariance: the best normal prior in closed form."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.priors.prior import LOG_2_PI, Prior
from tf_structvae.utilities import checks

_FLOOR = 1e-6  # of eigenvalues, as a part of the largest


def regularised(covariance: np.ndarray) -> np.ndarray:
    """The covariance with eigenvalues of at least 1e-6 of the largest, so that it has an inverse.

    Args:
      covariance: float64 [L, L].
    """
    values, vectors = np.linalg.eigh(covariance)
    if values[0] >= _FLOOR * values[-1]:
        return covariance
    return (vectors * np.maximum(values, _FLOOR * values[-1])) @ vectors.T


@keras.saving.register_keras_serializable(package="tf_structvae")
class Normal(Prior):
    """N(m, C): the moments of the aggregated posterior, which minimise the mean KL divergence.

    In a model in training it is learned without a gradient: each step moves the moments by `rate`
    towards those of the batch, m = E[mean] and C = Cov[mean] + E[diag variance] over all replicas.
    The KL divergence is exact; what a KL target then pays for is information about the image alone
    (Hoffman & Johnson 2016).

    Attributes:
      mean: [L].
      covariance: [L, L].

    Examples:
      >>> import tf_structvae as sv
      >>> prior = sv.priors.Normal(2)
      >>> print(f"{prior.log_prob([[0.0, 0.0]]).numpy()[0]:.4f}")
      -1.8379
    """

    has_exact_kl = True

    def __init__(self, latent_dim: int, rate: float = 0.02, **kwargs):
        """
        Args:
          latent_dim: L.
          rate: at which a training step moves the moments, in [0, 1]; 0 leaves them as they are.
          **kwargs: of `keras.layers.Layer`.

        Raises:
          ValueError: an argument is not as above.
        """
        super().__init__(latent_dim, **kwargs)
        if not (checks.is_finite(rate) and 0 <= rate <= 1):
            raise ValueError(f"rate must be a number in [0, 1], got {rate!r}.")
        self.rate = float(rate)
        self.mean = self.state("mean", (latent_dim,), "zeros")
        self.covariance = self.state("covariance", (latent_dim, latent_dim), "identity")

    @classmethod
    def fit(cls, posterior: AggregatedPosterior) -> Normal:
        """The normal of the aggregated posterior's moments, in closed form.

        Eigenvalues of the covariance below 1e-6 of the largest are raised to that.

        Args:
          posterior: of more than L images.

        Raises:
          ValueError: of fewer images.
        """
        posterior.check_count("a full covariance", posterior.latent_dim + 1)
        mean, covariance = posterior.moments()
        found = cls(posterior.latent_dim, rate=0.0)
        found.set_weights([mean, regularised(covariance)])
        return found

    def _moments(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean, and Cholesky factor of the covariance, float64."""
        covariance = tf.cast(self.covariance.value, tf.float64)
        return tf.cast(self.mean.value, tf.float64), tf.linalg.cholesky(covariance)

    def log_prob(self, z, labels=None):
        z = tf.convert_to_tensor(z)
        mean, root = self._moments()
        centred = tf.reshape(tf.cast(z, tf.float64) - mean, [-1, self.latent_dim])
        whitened = tf.linalg.triangular_solve(root, tf.transpose(centred))
        square = tf.reshape(tf.reduce_sum(whitened**2, axis=0), tf.shape(z)[:-1])
        found = -0.5 * (square + self.latent_dim * LOG_2_PI) - _half_log_det(root)
        return tf.cast(found, z.dtype)

    def sample_from_noise(self, noise, labels=None):
        noise = tf.convert_to_tensor(noise)
        mean, root = self._moments()
        drawn = mean + tf.matmul(tf.cast(noise, tf.float64), root, transpose_b=True)
        return tf.cast(drawn, noise.dtype)

    def kl_divergence(self, posterior, latents, labels=None):
        loc = tf.convert_to_tensor(posterior.loc)
        stddev = tf.cast(posterior.stddev(), tf.float64)
        mean, root = self._moments()
        inverse = tf.linalg.triangular_solve(root, tf.eye(self.latent_dim, dtype=tf.float64))
        offset = tf.matmul(tf.cast(loc, tf.float64) - mean, inverse, transpose_b=True)
        trace = tf.reduce_sum(stddev**2 * tf.reduce_sum(inverse**2, axis=0), axis=-1)
        square = tf.reduce_sum(offset**2, axis=-1)
        log_det = _half_log_det(root) - tf.reduce_sum(tf.math.log(stddev), axis=-1)
        return tf.cast(0.5 * (trace + square - self.latent_dim) + log_det, loc.dtype)

    def precision(self, labels=None):
        _, root = self._moments()
        return tf.linalg.cholesky_solve(root, tf.eye(self.latent_dim, dtype=tf.float64))

    def statistics(self, posterior, labels=None):
        if not self.rate:
            return {}
        loc, variance = tf.stop_gradient(posterior.loc), tf.stop_gradient(posterior.variance())
        centred = loc - self.mean.value  # so that a sum of squares keeps its digits
        second = centred[:, :, tf.newaxis] * centred[:, tf.newaxis, :] + tf.linalg.diag(variance)
        return {"first": centred, "second": second}

    def update(self, means, weight=1.0):
        if not self.rate:
            return
        move, rate = means["first"], self.rate * weight
        spread = means["second"] - move[:, tf.newaxis] * move
        between = (1 - rate) * move[:, tf.newaxis] * move
        covariance = self.covariance.value
        self.covariance.assign((1 - rate) * covariance + rate * (spread + between))
        self.mean.assign_add(rate * move)

    def describe(self):
        return "N(m, C), full covariance"

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


def _half_log_det(root: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root)), axis=-1)
