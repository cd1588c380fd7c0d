"""What every prior of the latents can do, and the paper's N(0, I)."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.utilities import checks

tfd = tfp.distributions

LOG_2_PI = math.log(2.0 * math.pi)


class Prior(keras.layers.Layer, abc.ABC):
    """p(z), or p(z | y) of a conditional model, over latents z with L entries.

    Densities are in nats. Arguments `labels` are integers [B] of a `Conditional` and None of any
    other prior, which takes no notice of them.

    Attributes:
      latent_dim: L.
      classes: K of a prior for each of K labels; 0 of one that has no labels.
      has_exact_kl: whether `kl_divergence` is a closed form; else it is an unbiased estimate from
        the samples of z.
    """

    has_exact_kl = False
    classes = 0
    _least_latents = 1

    def __init__(self, latent_dim: int, **kwargs):
        """
        Args:
          latent_dim: L.
          **kwargs: of `keras.layers.Layer`.

        Raises:
          ValueError: latent_dim is no positive integer.
        """
        checks.integer("latent_dim", latent_dim, self._least_latents)
        super().__init__(**{"name": "prior", **kwargs, "dtype": "float32"})
        self.latent_dim = int(latent_dim)
        self.built = True

    def state(self, name: str, shape: tuple[int, ...], initial: Any) -> keras.Variable:
        """A float32 weight that no gradient changes, the same on every replica.

        Args:
          name: of the weight.
          shape: of its value.
          initial: its value, or the name of an initialiser.
        """
        given = keras.initializers.get(initial) if isinstance(initial, str) else None
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=given or (lambda shape, dtype=None: tf.constant(initial, dtype, shape)),
            trainable=False,
            aggregation="only_first_replica",
        )

    # --- The distribution ----------------------------------------------------------------------

    @property
    def noise_size(self) -> int:
        """How many standard normal numbers a draw takes; the first L are those of N(0, I)."""
        return self.latent_dim

    @abc.abstractmethod
    def log_prob(self, z, labels=None) -> tf.Tensor:
        """log p(z), or log p(z | y), nats, [..., B], in the dtype of z.

        Args:
          z: [..., B, L].
          labels: see the class.
        """

    @abc.abstractmethod
    def sample_from_noise(self, noise, labels=None) -> tf.Tensor:
        """The draws that standard normal noise becomes, [B, L].

        Args:
          noise: [B, noise_size].
          labels: see the class.
        """

    def sample(self, count: int, rng: np.random.Generator | int = 0, labels=None) -> tf.Tensor:
        """Draws, float32 [count, L]; those of N(0, I) are `rng.standard_normal([count, L])`.

        Args:
          count: how many.
          rng: where the noise comes from, or a seed.
          labels: see the class.
        """
        rng = np.random.default_rng(rng)
        noise = rng.standard_normal([count, self.latent_dim])
        if more := self.noise_size - self.latent_dim:
            noise = np.concatenate([noise, rng.standard_normal([count, more])], axis=1)
        return self.sample_from_noise(tf.constant(noise, tf.float32), labels)

    def kl_divergence(self, posterior, latents, labels=None) -> tf.Tensor:
        """KL(q(z | x) || p(z)), nats per image, [B]: exact, or the mean over M samples.

        Args:
          posterior: q, a diagonal normal with `loc` and `stddev()` [B, L].
          latents: samples of q, [M, B, L].
          labels: see the class.
        """
        difference = posterior.log_prob(latents) - self.log_prob(latents, labels)
        return tf.reduce_mean(difference, axis=0)

    def precision(self, labels=None) -> tf.Tensor:
        """The inverse covariance of a normal like it, float64 [L, L] or, given labels, [B, L, L].

        Args:
          labels: see the class.
        """
        return tf.eye(self.latent_dim, dtype=tf.float64)

    # --- In a model ----------------------------------------------------------------------------

    def attach(self, encode: Callable) -> None:
        """Hands over the encoder of the model that it becomes a part of.

        Args:
          encode: images [K, H, W, C] -> q(z | x).
        """
        del encode

    def statistics(self, posterior, labels=None) -> dict[str, tf.Tensor]:
        """What `update` needs of each image, [B, ...]; {} where no closed form moves the weights.

        Args:
          posterior: see `kl_divergence`.
          labels: see the class.
        """
        return {}

    def update(self, means: Mapping[str, tf.Tensor], weight: Any = 1.0) -> None:
        """Moves the weights once a training step, after the gradients.

        Args:
          means: of `statistics` over the global batch.
          weight: by which the step is shortened, in [0, 1].
        """
        del means, weight

    def frozen(self) -> Prior:
        """The same distribution without the encoder, as an export holds it."""
        return self

    def describe(self) -> str:
        """What it is, in words, for cards, logs and captions."""
        return type(self).__name__

    def get_config(self):
        return {**super().get_config(), "latent_dim": self.latent_dim}

    def call(self, z):
        """log p(z).

        Args:
          z: [B, L].
        """
        return self.log_prob(z)

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]


@keras.saving.register_keras_serializable(package="tf_structvae")
class StandardNormal(Prior):
    """N(0, I), the paper's."""

    has_exact_kl = True
    _least_latents = 0  # of a model without any

    def log_prob(self, z, labels=None):
        z = tf.convert_to_tensor(z)
        return -0.5 * (tf.reduce_sum(z * z, axis=-1) + self.latent_dim * LOG_2_PI)

    def sample_from_noise(self, noise, labels=None):
        return tf.convert_to_tensor(noise)

    def kl_divergence(self, posterior, latents, labels=None):
        return posterior.kl_divergence(tfd.MultivariateNormalDiag(tf.zeros([self.latent_dim])))

    def describe(self):
        return "N(0, I)"


def of(model, latent_dim: int | None = None) -> Prior:
    """The prior of a model; N(0, I) of one that has none.

    Args:
      model: with `prior` or, if `latent_dim` is not given, `latent_dim`.
      latent_dim: L of its N(0, I).
    """
    found = getattr(model, "prior", None)
    if found is not None:
        return found
    return StandardNormal(model.latent_dim if latent_dim is None else int(latent_dim))
