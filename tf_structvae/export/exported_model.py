"""What the signatures need of a model."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.export import likelihoods
from tf_structvae.export.likelihoods import Likelihood
from tf_structvae.models import class_labels
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.priors import LOG_2_PI, Prior


@dataclasses.dataclass(frozen=True)
class View:
    """A model, and what its decoder emits.

    Attributes:
      model: a built one.
      likelihood: the kind of p(x | z).
      prior: p(z), without the encoder.
      labels: int32 [B], given which a conditional model encodes and decodes.
      importance_samples: of z, of `log_prob`.
      proposal_steps: of the fit of its proposal; 0: the encoder's.
    """

    model: StructuredVAE
    likelihood: Likelihood
    prior: Prior
    labels: tf.Tensor | None = None
    importance_samples: int = 16
    proposal_steps: int = 0

    @classmethod
    def of(cls, model: StructuredVAE) -> View:
        """
        Args:
          model: a built one.

        Raises:
          ValueError: the decoder emits another distribution.
        """
        labels = [tf.zeros([1], tf.int32)] if model.classes else []
        p = model.decode(tf.zeros([1, model.latent_dim]), *labels)
        kind = likelihoods.of(p, math.prod(model.image_shape))
        return cls(model, kind, model.prior.frozen())

    @property
    def rank(self) -> int:
        """R; 0 without a factor P."""
        return self.likelihood.rank

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.model.image_shape

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.model.latent_dim

    @property
    def size(self) -> int:
        """N = H * W * C."""
        return math.prod(self.shape)

    def images(self, flat: tf.Tensor) -> tf.Tensor:
        """[B, N] -> [B, H, W, C]."""
        return tf.reshape(flat, [-1, *self.shape])

    def clipped(self, flat: tf.Tensor) -> tf.Tensor:
        """[B, N] -> [B, H, W, C] in [0, 1]."""
        return tf.clip_by_value(self.images(flat), 0.0, 1.0)

    def flat(self, images: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C] -> [B, N]."""
        return tf.reshape(images, [-1, self.size])

    def given(self, labels: tf.Tensor | None) -> View:
        """The same, given labels [B]."""
        return dataclasses.replace(self, labels=labels)

    def decode(self, latents: tf.Tensor) -> tfp.distributions.Distribution:
        """p(x | z), given the labels if there are any."""
        return self.model.decode(latents, **class_labels.given(self.labels))

    def log_prior(self, latents: tf.Tensor) -> tf.Tensor:
        """log p(z) + L/2 log(2 pi), [B], in the dtype of the latents."""
        constant = 0.5 * self.latent_dim * LOG_2_PI
        return self.prior.log_prob(latents, self.labels) + constant

    def encode(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and standard deviation of q(z | x), [B, L], float32 whatever the encoder's dtype."""
        q = self.model.encode(images, **class_labels.given(self.labels))
        return tf.cast(q.mean(), tf.float32), tf.cast(q.stddev(), tf.float32)

    def factor_noise(self, p, images: tf.Tensor) -> tf.Tensor:
        """E[omega_p | x], [B, R]."""
        if not self.rank:
            return tf.zeros([tf.shape(images)[0], 0])
        return p.noise_posterior(self.flat(images))[0]
