"""The variational mixture of posteriors (Tomczak & Welling 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.priors import ascent
from tf_structvae.priors import components as lib
from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.priors.mixture import diagonal
from tf_structvae.priors.prior import Prior
from tf_structvae.utilities import checks


@keras.saving.register_keras_serializable(package="tf_structvae")
class VampPrior(lib.Components, Prior):
    """1/K sum_k q(z | u_k): the posteriors of K learned images, the pseudo-inputs u.

    In a model in training they are learned by gradient, through the encoder, which is taken as in
    inference (moving statistics). Of a conditional model it goes into a `Conditional`.

    Attributes:
      pseudo_inputs: [K, H, W, C], clipped to [0, 1] where they are used.
    """

    def __init__(self, latent_dim: int, image_shape: Any, components: int = 50, **kwargs):
        """
        Args:
          latent_dim: L.
          image_shape: (H, W, C) of the model's images.
          components: K.
          **kwargs: of `keras.layers.Layer`.

        Raises:
          ValueError: an argument is not as above.
        """
        super().__init__(latent_dim, **kwargs)
        checks.image_shape(tuple(image_shape))
        checks.integer("components", components)
        self.image_shape = tuple(image_shape)
        self.components = int(components)
        self._encode: Callable | None = None
        self.pseudo_inputs = self.add_weight(
            name="pseudo_inputs",
            shape=(components, *self.image_shape),
            # so far apart that they move apart
            initializer=keras.initializers.RandomUniform(0.0, 1.0, seed=0),
        )

    def start_at(self, images: Any) -> None:
        """Takes images as pseudo-inputs.

        Args:
          images: at least K, [N, H, W, C] in [0, 1]; the first ones are taken.

        Raises:
          ValueError: fewer, or another shape.
        """
        images = np.asarray(images)
        checks.shape("images", images.shape, self.image_shape)
        if len(images) < self.components:
            raise ValueError(
                f"images must be at least {self.components}, one for each component, got "
                f"{len(images)}."
            )
        self.pseudo_inputs.assign(images[: self.components])

    def attach(self, encode):
        self._encode = encode

    def _components(self):
        """Means and standard deviations, [K, L]."""
        if self._encode is None:
            raise ValueError(
                "a VampPrior must be the prior of a StructuredVAE, whose encoder it needs."
            )
        q = self._encode(tf.clip_by_value(self.pseudo_inputs.value, 0.0, 1.0))
        return q.loc, q.stddev()

    def _log_prob(self, z):
        return lib.diagonal_log_prob(z, tf.zeros([self.components]), *self._components())

    def sample_from_noise(self, noise, labels=None):
        noise = tf.convert_to_tensor(noise)
        chosen = lib.choose(noise[:, -1], tf.zeros([self.components]))
        mean, stddev = (tf.gather(x, chosen) for x in self._components())
        return mean + stddev * noise[:, :-1]

    def precision(self, labels=None):
        mean, stddev = self._components()
        return lib.precision(tf.zeros([self.components]), mean, tf.linalg.diag(stddev**2))

    def fit_to(self, posterior: AggregatedPosterior, images: Any, **options: Any) -> VampPrior:
        """Fits the pseudo-inputs to posteriors, the encoder being left as it is.

        Args:
          posterior: of many images.
          images: of at least K of them, where the pseudo-inputs start.
          **options: of `ascent.climb`.

        Returns:
          Itself, attached.
        """
        self.start_at(images)
        ascent.climb(self, posterior, **options)
        return self

    def frozen(self):
        mean, stddev = (np.asarray(x, np.float32) for x in self._components())
        return diagonal(np.zeros(self.components), mean, stddev)

    def describe(self):
        return f"VampPrior with {self.components} pseudo-inputs"

    def get_config(self):
        config = {**super().get_config(), "components": self.components}
        return {**config, "image_shape": list(self.image_shape)}
