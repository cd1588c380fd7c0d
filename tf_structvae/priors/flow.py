"""A normalising flow of affine couplings (RealNVP, Dinh et al. 2017), of TFP's bijectors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.priors import ascent
from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.priors.normal import regularised
from tf_structvae.priors.prior import LOG_2_PI, Prior
from tf_structvae.utilities import checks

tfb = tfp.bijectors
_LARGEST = 2.0  # of the logarithm of a coupling's scale, so that no step makes it overflow


@keras.saving.register_keras_serializable(package="tf_structvae")
class Flow(Prior):
    """z = m + A f(u), u ~ N(0, I): couplings f behind an affine map.

    Each coupling scales and shifts one half of the entries by a network of the other half; the
    entries are reversed in between. New couplings are the identity. In a model in training they
    are learned by gradient, m and A staying 0 and I; `fit` sets these by the posteriors' moments.

    Attributes:
      shift: m, [L].
      root: A, lower triangular, [L, L].
    """

    def __init__(self, latent_dim: int, couplings: int = 6, hidden: int = 128, **kwargs):
        """
        Args:
          latent_dim: L, at least 2.
          couplings: how many.
          hidden: units of each of the two hidden layers of a coupling's network.
          **kwargs: of `keras.layers.Layer`.

        Raises:
          ValueError: a number is too small.
        """
        super().__init__(latent_dim, **kwargs)
        checks.integer("latent_dim", latent_dim, 2)
        checks.integer("couplings", couplings)
        checks.integer("hidden", hidden)
        self.couplings, self.hidden = int(couplings), int(hidden)
        self.shift = self.state("shift", (latent_dim,), "zeros")
        self.root = self.state("root", (latent_dim, latent_dim), "identity")
        kept = latent_dim // 2
        for i in range(couplings):  # attributes, which checkpoints follow, as they do no lists
            network = _network(kept, latent_dim - kept, hidden, f"coupling_{i}")
            setattr(self, f"coupling_{i}", network)

    @classmethod
    def fit(
        cls,
        posterior: AggregatedPosterior,
        couplings: int = 6,
        hidden: int = 128,
        **options: Any,
    ) -> Flow:
        """The affine map in closed form, the couplings by gradient ascent.

        Args:
          posterior: of more than L images.
          couplings: see `Flow`.
          hidden: see `Flow`.
          **options: of `ascent.climb`.

        Raises:
          ValueError: too few images, or an argument outside its range.
        """
        posterior.check_count("a full covariance", posterior.latent_dim + 1)
        found = cls(posterior.latent_dim, couplings, hidden)
        mean, covariance = posterior.moments()
        found.shift.assign(mean)
        found.root.assign(np.linalg.cholesky(regularised(covariance)))
        ascent.climb(found, posterior, **options)
        return found

    def _bijector(self) -> tfp.bijectors.Bijector:
        kept = self.latent_dim // 2
        reverse = tfb.Permute(list(range(self.latent_dim))[::-1])
        parts: list = []
        for i in range(self.couplings):
            network = getattr(self, f"coupling_{i}")
            parts += [tfb.RealNVP(kept, shift_and_log_scale_fn=_scales_of(network)), reverse]
        return tfb.Chain([*parts[:-1]])

    def log_prob(self, z, labels=None):
        z = tf.convert_to_tensor(z)
        root, shift = (tf.cast(w.value, tf.float64) for w in (self.root, self.shift))
        centred = tf.reshape(tf.cast(z, tf.float64) - shift, [-1, self.latent_dim])
        whitened = tf.transpose(tf.linalg.triangular_solve(root, tf.transpose(centred)))
        whitened = tf.cast(whitened, tf.float32)
        bijector = self._bijector()
        u = bijector.inverse(whitened)
        found = -0.5 * (tf.reduce_sum(u * u, axis=-1) + self.latent_dim * LOG_2_PI)
        found += bijector.inverse_log_det_jacobian(whitened, event_ndims=1)
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(root)))
        found = tf.cast(found, tf.float64) - log_det
        return tf.cast(tf.reshape(found, tf.shape(z)[:-1]), z.dtype)

    def sample_from_noise(self, noise, labels=None):
        drawn = self._bijector().forward(tf.cast(noise, tf.float32))
        return self.shift.value + tf.matmul(drawn, self.root.value, transpose_b=True)

    def precision(self, labels=None):
        root = tf.cast(self.root.value, tf.float64)
        return tf.linalg.cholesky_solve(root, tf.eye(self.latent_dim, dtype=tf.float64))

    def describe(self):
        return f"normalising flow of {self.couplings} affine couplings"

    def get_config(self):
        config = super().get_config()
        return {**config, "couplings": self.couplings, "hidden": self.hidden}


def _network(size: int, emitted: int, hidden: int, name: str) -> keras.Model:
    """[B, size] -> shift and raw log-scale [B, 2 emitted], zero at the start."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((size,)),
            layers.Dense(hidden, "relu", dtype="float32"),
            layers.Dense(hidden, "relu", dtype="float32"),
            layers.Dense(2 * emitted, kernel_initializer="zeros", dtype="float32"),
        ],
        name=name,
    )


def _scales_of(network: keras.Model):
    def shift_and_log_scale(kept, _):
        shift, raw = tf.split(network(kept), 2, axis=-1)
        return shift, _LARGEST * tf.tanh(raw / _LARGEST)

    return shift_and_log_scale
