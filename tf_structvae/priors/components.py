"""Mixtures of normals: what such priors share, choosing a component, and densities."""

from __future__ import annotations

import abc
import math

import tensorflow as tf

from tf_structvae.priors.prior import LOG_2_PI


class Components(abc.ABC):
    """Mixed into priors with components, of which one more number of the noise chooses one."""

    latent_dim: int

    @property
    def noise_size(self) -> int:
        return self.latent_dim + 1

    @abc.abstractmethod
    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """log p(z), float64 [n], for z [n, L]."""

    def log_prob(self, z, labels=None):
        z = tf.convert_to_tensor(z)
        found = self._log_prob(tf.reshape(z, [-1, self.latent_dim]))
        return tf.cast(tf.reshape(found, tf.shape(z)[:-1]), z.dtype)


def choose(noise: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The component that each standard normal number falls to, int32 [B].

    Args:
      noise: [B].
      logits: [K], of the weights.
    """
    uniform = 0.5 * tf.math.erfc(-tf.cast(noise, tf.float64) / math.sqrt(2.0))
    upper = tf.cumsum(tf.nn.softmax(tf.cast(logits, tf.float64)))[:-1]
    return tf.reduce_sum(tf.cast(uniform[:, tf.newaxis] > upper, tf.int32), axis=-1)


def full_log_prob(z, logits, means, roots) -> tf.Tensor:
    """log p(z) of a mixture with full covariances, float64 [n].

    Args:
      z: [n, L].
      logits: [K], of the weights.
      means: [K, L].
      roots: Cholesky factors of the covariances, [K, L, L].
    """
    z, logits, means, roots = (tf.cast(x, tf.float64) for x in (z, logits, means, roots))
    centred = tf.transpose(z[tf.newaxis] - means[:, tf.newaxis], [0, 2, 1])
    whitened = tf.linalg.triangular_solve(roots, centred)
    log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(roots)), axis=-1)
    constant = tf.nn.log_softmax(logits) - log_det - 0.5 * z.shape[-1] * LOG_2_PI
    exponent = constant[:, tf.newaxis] - 0.5 * tf.reduce_sum(whitened**2, axis=1)
    return tf.reduce_logsumexp(exponent, axis=0)


def diagonal_log_prob(z, logits, means, stddevs) -> tf.Tensor:
    """The same with diagonal covariances, float64 [n].

    Args:
      z: [n, L].
      logits: [K], of the weights.
      means: [K, L].
      stddevs: [K, L].
    """
    z, logits, means, stddevs = (tf.cast(x, tf.float64) for x in (z, logits, means, stddevs))
    centre = tf.stop_gradient(tf.reduce_mean(means, axis=0))  # large numbers lose digits
    z, means = z - centre, means - centre
    precision = stddevs**-2
    square = (
        tf.matmul(z**2, precision, transpose_b=True)
        - 2.0 * tf.matmul(z, means * precision, transpose_b=True)
        + tf.reduce_sum(means**2 * precision, axis=-1)
    )
    log_det = tf.reduce_sum(tf.math.log(stddevs), axis=-1)
    constant = tf.nn.log_softmax(logits) - log_det - 0.5 * z.shape[-1] * LOG_2_PI
    return tf.reduce_logsumexp(constant - 0.5 * square, axis=-1)


def precision(logits, means, covariances) -> tf.Tensor:
    """The inverse of the mixture's covariance, float64 [L, L].

    Args:
      logits: [K], of the weights.
      means: [K, L].
      covariances: [K, L, L].
    """
    logits, means, covariances = (tf.cast(x, tf.float64) for x in (logits, means, covariances))
    weights = tf.nn.softmax(logits)
    centred = means - tf.linalg.matvec(means, weights, transpose_a=True)
    between = tf.matmul(centred * weights[:, tf.newaxis], centred, transpose_a=True)
    return tf.linalg.inv(between + tf.einsum("k,kij->ij", weights, covariances))
