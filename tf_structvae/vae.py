"""The structured variational autoencoder as a Keras model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae import replicas
from tf_structvae.constraints import Constraint
from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.targets import check

tfd = tfp.distributions


class Observation(NamedTuple):
    """What images tell of p(x | z): one value an image, averaged over the samples of z."""

    log_prob: tf.Tensor  # nats, [B]
    entropy: tf.Tensor  # nats, [B]
    entropy_above_floor: tf.Tensor  # entropy minus that of D alone, nats, [B]
    squared_error: tf.Tensor  # |x - mean|^2, [B]
    noise_mean: tf.Tensor  # E[omega_p | x], [B, R]; R = 0 without a factor
    noise_moment: tf.Tensor  # E[omega_p omega_p^T | x], [B, R, R]
    measured: dict[str, tf.Tensor]  # of `StructuredVAE.measure`, each [B]


@keras.saving.register_keras_serializable(package="tf_structvae")
class StructuredVAE(keras.Model):
    """A VAE whose decoder emits a distribution over all pixels (paper, section 3).

    `train_step` minimises, per image and averaged over the global batch (eq. 2),

    ```none
    -1/M sum_m log p(x | z_m)  +  sum_k coefficient_k (quantity_k - target_k)
    ```

    with `Constraint`s on the quantities "kl", "entropy", "negative_log_prob" and "squared_error",
    and on those that a subclass adds by `measure`; without a constraint on "kl" the KL divergence
    enters with weight one (eq. 1).

    ```python
    vae = StructuredVAE(encoder, decoder, [Constraint("kl", target=30.0)])
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.fit(images)  # a tf.data.Dataset of float images [B, H, W, C] in [0, 1]
    ```
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        constraints: Sequence[Constraint] = (),
        samples: int = 1,
        pretrain_steps: int = 0,
        pretrain_variance: float = 0.01,
        mixing_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.02,
        seed: int = 0,
        **kwargs,
    ):
        """
        Args:
          encoder: images [B, H, W, C] -> [B, 2 L]: mean and log-variance of q(z | x).
          decoder: latents [B, L] -> a distribution with batch [B] and event [H * W * C], as a head
            of `tf_structvae.layers` emits.
          constraints: at most one for each quantity.
          samples: M, the number of samples of z for each image.
          pretrain_steps: for so many steps only the mean is trained, under an independent normal
            of variance `pretrain_variance` (mean pre-training, section 3.2).
          pretrain_variance: see there.
          mixing_rate: step of the closed-form scale of a head that has one, a number or a schedule.
          seed: of the noise of z.

        Raises:
          ValueError: an unknown or doubled constraint, or shapes that do not fit.
        """
        super().__init__(**kwargs)
        if encoder.output_shape[-1] % 2:
            raise ValueError(
                "encoder must emit means and log-variances [B, 2 L], an even number; it emits "
                f"{encoder.output_shape}."
            )
        names = [c.name for c in constraints]
        unknown = set(names) - set(self.QUANTITIES)
        if unknown or len(set(names)) < len(names):
            raise ValueError(
                f"constraints must name different quantities of {self.QUANTITIES}, got {names}."
            )
        for label, value, least in (("samples", samples, 1), ("pretrain_steps", pretrain_steps, 0)):
            if value < least:
                raise ValueError(f"{label} must be at least {least}, got {value}.")
        self.encoder = encoder
        self.decoder = decoder
        self.constraints = list(constraints)
        self.samples = samples
        self.pretrain_steps = pretrain_steps
        self.pretrain_variance = pretrain_variance
        self.mixing_rate = mixing_rate
        self.seed = seed
        self.image_shape = tuple(encoder.input_shape[1:])
        self.latent_dim = encoder.output_shape[-1] // 2
        # not the optimiser's count, which leaves out the steps that a loss scale skips
        self.steps = self.add_weight(
            name="steps",
            shape=(),
            dtype="int32",
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )
        self._check_targets()
        replicas.check_variables(*(c.multiplier for c in constraints))
        self._means = {name: replicas.GlobalMean(name=name) for name in self._LOGGED}
        self._rank = getattr(self.head, "rank", 0)
        self._closed_form = getattr(self.head, "closed_form", False)
        self.built = True

    def _check_targets(self):
        head, targets = self.head, {c.name: c.target for c in self.constraints}
        fixed = getattr(head, "noise", None) == "fixed"  # else D moves, and its entropy with it
        check(
            targets.get("kl"),
            targets.get("entropy") if fixed else None,
            self.image_shape,
            getattr(head, "epsilon", 1.0),
        )

    _LOGGED = (
        "loss",
        "elbo",
        "log_prob",
        "kl",
        "entropy",
        "entropy_above_floor",
        "noise_square",
    )
    QUANTITIES = ("kl", "entropy", "negative_log_prob", "squared_error")

    # --- The model ----------------------------------------------------------------------------

    def encode(self, images, training: bool = False) -> tfp.distributions.Distribution:
        """q(z | x): a diagonal normal with batch [B] and event [L]."""
        mean, log_variance = tf.split(self.encoder(images, training=training), 2, axis=-1)
        return tfd.MultivariateNormalDiag(mean, tf.exp(0.5 * tf.maximum(log_variance, -20.0)))

    def decode(self, latents, training: bool = False) -> tfp.distributions.Distribution:
        """p(x | z): a distribution with batch [B] and event [H * W * C]."""
        return self.decoder(latents, training=training)

    def call(self, images, training: bool = False):
        """p(x | z) at the mean of q(z | x)."""
        return self.decode(self.encode(images, training).mean(), training)

    @property
    def head(self):
        """The layer that emits the distribution."""
        layer = self.decoder
        while isinstance(layer, keras.Model):
            layer = layer.layers[-1]
        return layer

    # --- Training -----------------------------------------------------------------------------

    def observe(self, images, latents, training: bool = False) -> Observation:
        """Scores images [B, H, W, C] under p(x | z) at latents [M, B, L]."""
        samples, batch = tf.shape(latents)[0], tf.shape(images)[0]
        p = self.decode(tf.reshape(latents, [-1, self.latent_dim]), training)
        x = tf.tile(tf.reshape(images, [batch, p.event_shape[0]]), [samples, 1])
        if isinstance(p, LowRankMultivariateNormal):
            s = p.summarize(x)
            outer = s.noise_mean[..., tf.newaxis] * s.noise_mean[..., tf.newaxis, :]
            above = s.entropy - p.entropy_floor()
            values = (s.log_prob, s.entropy, above, s.noise_mean, outer + s.noise_covariance)
        else:
            entropy = p.entropy()
            nothing = tf.zeros([samples * batch, 0])
            above = entropy - (p.entropy_floor() if hasattr(p, "entropy_floor") else entropy)
            values = (p.log_prob(x), entropy, above, nothing, nothing[..., tf.newaxis])
        error = tf.reduce_sum(tf.square(x - p.mean()), -1)

        def mean_of_samples(v):
            return tf.reduce_mean(tf.reshape(v, [samples, batch, *v.shape[1:]]), 0)

        measured = {k: mean_of_samples(v) for k, v in self.measure(x, p).items()}
        return Observation(*map(mean_of_samples, (*values[:3], error, *values[3:])), measured)  # type: ignore[call-arg]

    def measure(self, x, p) -> dict[str, tf.Tensor]:
        """Quantities of a subclass's own, for its constraints; it adds their names to `QUANTITIES`.

        Args:
          x: images, [B', H * W * C].
          p: the distribution that the decoder emits for them, batch [B'].

        Returns:
          For each name a tensor [B'].
        """
        return {}

    def _forward(self, images, seed, training):
        """KL divergence [B] and observation of a batch of images, with noise from `seed`."""
        batch = tf.shape(images)[0]
        noise = replicas.noise_of_global_batch(self.samples, batch, self.latent_dim, seed)
        several = tf.distribute.get_strategy().num_replicas_in_sync > 1
        if several:
            # A replica may have no image, which some convolutions cannot stand: it gets one.
            spare = tf.maximum(1 - batch, 0)
            images = tf.pad(images, [[0, spare], [0, 0], [0, 0], [0, 0]])
            noise = tf.pad(noise, [[0, 0], [0, spare], [0, 0]])
        posterior = self.encode(images, training)
        latents = posterior.loc + posterior.stddev() * noise
        kl = posterior.kl_divergence(tfd.MultivariateNormalDiag(tf.zeros([self.latent_dim])))
        observation = self.observe(images, latents, training)
        if several:
            kl, observation = tf.nest.map_structure(lambda v: v[:batch], (kl, observation))
        return kl, observation

    def _lagrangian(self, log_prob, quantities, active):
        """Eq. 2 for each image, [B], and the global mean of each constrained quantity."""
        loss = -log_prob
        if "kl" not in [c.name for c in self.constraints]:
            loss += quantities["kl"]
        values = {c.name: replicas.global_mean(quantities[c.name]) for c in self.constraints}
        for c in self.constraints:
            loss += active[c.name] * c.coefficient(values[c.name]) * c.gap(quantities[c.name])
        return loss, values

    def _quantities(self, kl, observation):
        return {
            "kl": kl,
            "entropy": observation.entropy,
            "negative_log_prob": -observation.log_prob,
            "squared_error": observation.squared_error,
            **observation.measured,
        }

    def _step(self, images, seed, training, pretraining):
        """One pass over a batch: the loss of this replica, and what is needed to update."""
        kl, observation = self._forward(images, seed, training)
        log_prob = observation.log_prob
        n = tf.cast(tf.reduce_prod(self.image_shape), tf.float32)
        if self.pretrain_steps:
            variance = self.pretrain_variance
            mean_only = -0.5 * (
                observation.squared_error / variance + n * math.log(2 * math.pi * variance)
            )
            log_prob = tf.where(pretraining, mean_only, log_prob)
        # Only the KL divergence has a meaning while the mean alone is trained.
        active = {c.name: 1.0 for c in self.constraints}
        active.update({k: tf.where(pretraining, 0.0, 1.0) for k in active if k != "kl"})
        quantities = self._quantities(kl, observation)
        per_image, values = self._lagrangian(log_prob, quantities, active)
        updates = {
            "loss": per_image,
            "elbo": observation.log_prob - kl,
            "log_prob": observation.log_prob,
            "kl": kl,
            "entropy": observation.entropy,
            "entropy_above_floor": observation.entropy_above_floor,
            "noise_square": tf.linalg.trace(observation.noise_moment) / max(self._rank, 1),
        }
        count = replicas.global_sum(tf.cast(tf.shape(images)[0], tf.float32))
        # the same on every replica, since Keras averages over replicas of unlike batches
        means = replicas.global_mean(tf.stack(list(updates.values()), axis=-1))
        for name, mean in zip(updates, tf.unstack(means), strict=True):
            self._means[name].update_state(mean, sample_weight=count)
        return tf.reduce_sum(per_image) / count, values, active, observation

    def train_step(self, data):
        images = keras.utils.unpack_x_y_sample_weight(data)[0]
        step = tf.convert_to_tensor(self.steps)
        pretraining = step < self.pretrain_steps
        with tf.GradientTape() as tape:
            loss, values, active, observation = self._step(
                images, tf.stack([self.seed, step]), True, pretraining
            )
            loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for c in self.constraints:
            c.update(values[c.name], active[c.name])
        if self._closed_form:
            rate = self.mixing_rate(step) if callable(self.mixing_rate) else self.mixing_rate
            rate = tf.where(pretraining, 0.0, rate)
            moments = (
                replicas.global_mean(observation.noise_mean),
                replicas.global_mean(observation.noise_moment),
            )
            self.head.match_noise(*moments, rate)
        self.steps.assign(step + 1)
        return self._logs()

    def test_step(self, data):
        images = keras.utils.unpack_x_y_sample_weight(data)[0]
        # The number of images seen so far seeds the noise, so every evaluation draws the same.
        seen = tf.cast(self._means["kl"].count, tf.int32)
        self._step(images, tf.stack([self.seed + 1, seen]), False, tf.constant(False))
        return self._logs()

    def predict_step(self, data):
        """The means of p(x | z) at the mean of q(z | x), [B, H * W * C]."""
        return self(keras.utils.unpack_x_y_sample_weight(data)[0]).mean()

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras adds up the replicas' batches here to learn their shape, which fails where they
        # differ in size; all there is to build is the optimiser.
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _logs(self):
        logs = self.get_metrics_result()
        for c in self.constraints:
            logs[f"{c.name}_multiplier"] = tf.convert_to_tensor(c.multiplier)
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Keras averages over workers along axis 0 there (its issue 20585).
            logs = {name: tf.reshape(value, [1]) for name, value in logs.items()}
        return logs

    # --- Saving -------------------------------------------------------------------------------

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "constraints": [serialize(c) for c in self.constraints],
            "samples": self.samples,
            "pretrain_steps": self.pretrain_steps,
            "pretrain_variance": self.pretrain_variance,
            "mixing_rate": serialize(self.mixing_rate),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        def deserialize(item):
            return keras.saving.deserialize_keras_object(item, custom_objects)

        config = dict(config)
        config["encoder"] = deserialize(config["encoder"])
        config["decoder"] = deserialize(config["decoder"])
        config["constraints"] = [deserialize(c) for c in config["constraints"]]
        config["mixing_rate"] = deserialize(config["mixing_rate"])
        return cls(**config)
