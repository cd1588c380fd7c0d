"""A prior for each label of a conditional model."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from tf_structvae.priors.prior import Prior


@keras.saving.register_keras_serializable(package="tf_structvae")
class Conditional(Prior):
    """p(z | y): one prior for each of K labels."""

    def __init__(self, priors: Sequence[Prior], **kwargs):
        """
        Args:
          priors: K of them, of one kind, over latents of one size.
          **kwargs: of `keras.layers.Layer`.

        Raises:
          ValueError: none, or other ones.
        """
        priors = list(priors)
        if not priors or not all(isinstance(p, Prior) and not p.classes for p in priors):
            raise ValueError(f"priors must be priors without labels, at least one, got {priors}.")
        kinds = {(type(p).__name__, p.latent_dim, p.noise_size) for p in priors}
        if len(kinds) > 1:
            raise ValueError(f"priors must be of one kind and size, got {sorted(kinds)}.")
        kwargs.pop("latent_dim", None)
        super().__init__(priors[0].latent_dim, **kwargs)
        for k, p in enumerate(priors):  # attributes, which checkpoints follow, as they do no lists
            setattr(self, f"prior_{k}", p)
        self.classes = len(priors)
        self.has_exact_kl = priors[0].has_exact_kl

    @property
    def priors(self) -> list[Prior]:
        """That of each label."""
        return [getattr(self, f"prior_{k}") for k in range(self.classes)]

    @property
    def noise_size(self) -> int:
        return self.priors[0].noise_size

    def log_prob(self, z, labels=None):
        return _select(self._given(labels), [p.log_prob(z) for p in self.priors])

    def sample_from_noise(self, noise, labels=None):
        found = [p.sample_from_noise(noise) for p in self.priors]
        return _select(self._given(labels)[:, tf.newaxis], found)

    def kl_divergence(self, posterior, latents, labels=None):
        found = [p.kl_divergence(posterior, latents) for p in self.priors]
        return _select(self._given(labels), found)

    def precision(self, labels=None):
        return tf.gather(tf.stack([p.precision() for p in self.priors]), self._given(labels))

    def attach(self, encode):
        for k, p in enumerate(self.priors):
            p.attach(lambda images, k=k: encode(images, tf.fill([tf.shape(images)[0]], k)))

    def statistics(self, posterior, labels=None):
        labels = self._given(labels)
        found = {}
        for k, p in enumerate(self.priors):
            own = tf.cast(tf.equal(labels, k), tf.float32)
            parts = p.statistics(posterior)
            for name, value in parts.items():
                weights = tf.reshape(own, [-1] + [1] * (value.shape.rank - 1))
                found[f"{k} {name}"] = weights * value
            if parts:
                found[f"{k} share"] = own
        return found

    def update(self, means, weight=1.0):
        for k, p in enumerate(self.priors):
            own = {n.removeprefix(f"{k} "): v for n, v in means.items() if n.startswith(f"{k} ")}
            if not own:
                continue
            share = own.pop("share")
            own = {n: tf.math.divide_no_nan(v, share) for n, v in own.items()}
            # as far as images of the label are in the batch; on average as without labels
            p.update(own, weight * tf.minimum(share * self.classes, 1.0))

    def frozen(self):
        return Conditional([p.frozen() for p in self.priors], name=self.name)

    def describe(self):
        return f"for each of {self.classes} labels a {self.priors[0].describe()}"

    def _given(self, labels) -> tf.Tensor:
        if labels is None:
            raise ValueError(
                f"labels must be integers [B] from 0 to {self.classes - 1}, got none: this prior "
                "has one for each label."
            )
        return tf.convert_to_tensor(labels)

    def get_config(self):
        config = super().get_config()
        config.pop("latent_dim")
        return {**config, "priors": [keras.saving.serialize_keras_object(p) for p in self.priors]}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        found = [keras.saving.deserialize_keras_object(p) for p in config.pop("priors")]
        return cls(found, **config)


def _select(labels: tf.Tensor, values: Sequence[tf.Tensor]) -> tf.Tensor:
    """Of K tensors that labels broadcast to the one of each label."""
    chosen = values[0]
    for k, value in enumerate(values):
        chosen = tf.where(tf.equal(labels, tf.cast(k, labels.dtype)), value, chosen)
    return chosen
