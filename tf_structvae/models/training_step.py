"""One step of a `StructuredVAE` on a batch: its loss, gradients and means over the batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tf_structvae.models import accumulation, class_labels, objective, replicas
from tf_structvae.models.accumulation import Batch

LOGGED = (
    "loss",
    "elbo",
    "log_prob",
    "kl",
    "entropy",
    "entropy_above_floor",
    "noise_square",
)
# Sums over a replica's images, or means over the global batch, of what is constrained, by name.
Values = Mapping[str, tf.Tensor]


class Totals(NamedTuple):
    """What a step needs of all images, as sums over this replica's or means over all."""

    logged: dict[str, tf.Tensor]  # by the names in `LOGGED`, and what else is constrained
    constrained: dict[str, tf.Tensor]  # by the name of the constraint
    noise: dict[str, tf.Tensor]  # moments of the noise posterior, if the head is set by them
    prior: dict[str, tf.Tensor]  # what moves the prior, if a closed form does


class Model(Protocol):
    """What a step uses of a model; see `vae.StructuredVAE`."""

    samples: int
    latent_dim: int
    image_shape: tuple[int, int, int]
    pretrain_steps: int
    pretrain_variance: float
    constraints: Sequence[Any]
    closed_form: bool
    optimizer: Any
    prior: Any
    trainable_variables: Any
    non_trainable_variables: Any

    @property
    def head(self) -> Any: ...

    def encode(self, images, labels=None, training: bool = False) -> Any: ...

    def observe(
        self, images, latents, labels=None, training: bool = False
    ) -> objective.Observation: ...


class Step:
    """A step on the images of this replica; nothing here changes the model.

    Args:
      model: whose networks and constraints are used.
      images: [B, H, W, C]; B differs from replica to replica, and may be 0 if there are several.
      labels: [B] of a conditional model, else None.
      seed: of the noise of z, two integers.
      training: whether layers behave as in training.
      pretraining: whether the loss is that of the mean alone.
    """

    def __init__(
        self,
        model: Model,
        images,
        labels,
        seed,
        training: bool,
        pretraining: tf.Tensor,
    ):
        self.model = model
        self.training = training
        self.pretraining = pretraining
        self.batch = self._batch(images, labels, seed)
        self.count = replicas.global_sum(tf.cast(tf.shape(images)[0], tf.float32))
        self.active = objective.active(model.constraints, pretraining)

    def _batch(self, images, labels, seed) -> Batch:
        count = tf.shape(images)[0]
        noise = replicas.noise_of_global_batch(
            self.model.samples, count, self.model.latent_dim, seed
        )
        weights = tf.ones([count if images.shape[0] is None else images.shape[0]])
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            # A replica may have no image, which some convolutions cannot stand: it gets one.
            spare = tf.maximum(1 - count, 0)
            images = tf.pad(images, [[0, spare], [0, 0], [0, 0], [0, 0]])
            noise = tf.pad(noise, [[0, 0], [0, spare], [0, 0]])
            weights = tf.pad(weights, [[0, spare]])
            labels = None if labels is None else tf.pad(labels, [[0, spare]])
        return Batch(images, tf.transpose(noise, [1, 0, 2]), weights, labels)

    def _posterior(self, batch: Batch):
        """q(z | x), samples of it [M, B, L], and its KL divergence to the prior, [B]."""
        given = class_labels.given(batch.labels)
        posterior = self.model.encode(batch.images, **given, training=self.training)
        noise = tf.transpose(batch.noise, [1, 0, 2])
        latents = posterior.loc + posterior.stddev() * noise
        return posterior, latents, self.model.prior.kl_divergence(posterior, latents, batch.labels)

    def _observe(self, batch: Batch, latents: tf.Tensor) -> objective.Observation:
        given = class_labels.given(batch.labels)
        return self.model.observe(batch.images, latents, **given, training=self.training)

    def _quantities(self, batch: Batch) -> dict[str, tf.Tensor]:
        _, latents, kl = self._posterior(batch)
        return objective.quantities(kl, self._observe(batch, latents))

    def _coefficients(self, constrained: Values) -> Values:
        """The coefficient of each constraint, from sums over this replica's images."""
        sums = replicas.global_sum(constrained)
        means = {name: value / self.count for name, value in sums.items()}
        return objective.coefficients(self.model.constraints, means, self.active)

    def _log_prob(self, observation: objective.Observation) -> tf.Tensor:
        """What is maximised for each image, [B]."""
        if not self.model.pretrain_steps:
            return observation.log_prob
        mean_only = objective.mean_only_log_prob(
            observation.squared_error,
            math.prod(self.model.image_shape),
            self.model.pretrain_variance,
        )
        return tf.where(self.pretraining, mean_only, observation.log_prob)

    def _share(self, batch: Batch, coefficients: Values | None) -> tuple[tf.Tensor, Totals]:
        """What images add to the loss, which is a mean over the global batch, and to the sums.

        Args:
          batch: all images of this replica, or a part of them.
          coefficients: of the constraints; None if they follow from this batch.
        """
        posterior, latents, kl = self._posterior(batch)
        observation = self._observe(batch, latents)
        quantities = objective.quantities(kl, observation)
        constrained = {
            c.name: accumulation.weighted_sum(batch, quantities[c.name])
            for c in self.model.constraints
        }
        if coefficients is None:
            coefficients = self._coefficients(constrained)
        log_prob = self._log_prob(observation)
        loss = objective.lagrangian(log_prob, quantities, self.model.constraints, coefficients)
        trace = tf.linalg.trace(observation.noise_moment)
        logged = {
            "loss": loss,
            "elbo": observation.log_prob - kl,
            "log_prob": observation.log_prob,
            "kl": kl,
            "entropy": observation.entropy,
            "entropy_above_floor": observation.entropy_above_floor,
            "noise_square": trace / max(getattr(self.model.head, "rank", 0), 1),
        }
        logged |= {name: quantities[name] for name in constrained if name not in logged}
        noise = {}
        if self.model.closed_form:
            noise = {"first": observation.noise_mean, "second": observation.noise_moment}
        prior = self.model.prior.statistics(posterior, batch.labels) if self.training else {}
        logged, noise, prior = accumulation.weighted_sum(batch, (logged, noise, prior))
        return logged["loss"] / self.count, Totals(logged, constrained, noise, prior)

    def _means(self, sums: Totals) -> Totals:
        return tf.nest.map_structure(lambda v: v / self.count, replicas.global_sum(sums))

    def means(self) -> Totals:
        """The means over the global batch, the same on every replica."""
        return self._means(self._share(self.batch, None)[1])

    def _gradients(self, batch: Batch, coefficients: Values | None = None):
        with tf.GradientTape() as tape:
            loss, sums = self._share(batch, coefficients)
            loss = self.model.optimizer.scale_loss(loss)
        return sums, tape.gradient(loss, self.model.trainable_variables)

    def gradients(self) -> tuple[Totals, list[tf.Tensor | None]]:
        """The means over the global batch, and the gradients of this replica's part of the loss."""
        sums, gradients = self._gradients(self.batch)
        return self._means(sums), gradients

    def gradients_by_parts(self, parts: int):
        """As `gradients`, but of one part of the batch after the other.

        The coefficients depend on all images, so constraints with damping take a forward pass of
        their own. It costs less than the other way, a backward pass for each quantity with the
        coefficients put in afterwards: by CPU time of the default network, 13% more than a step
        without it instead of 19% for the KL divergence, 36% instead of 79% for it and the entropy.

        Returns:
          Means, gradients, and what is to be assigned to variables such as moving statistics.
        """
        variables = self.model.non_trainable_variables
        known = {c.name: tf.constant(0.0) for c in self.model.constraints}
        damped = {c.name for c in self.model.constraints if c.damping}

        def constrained(part: Batch) -> Values:
            only_kl = damped == {"kl"}
            values = {"kl": self._posterior(part)[2]} if only_kl else self._quantities(part)
            return accumulation.weighted_sum(part, {name: values[name] for name in damped})

        if damped:
            known |= accumulation.sum_over_parts(constrained, self.batch, parts, variables)[0]
        coefficients = self._coefficients(known)
        batch = accumulation.after(coefficients, self.batch)
        (sums, gradients), updates = accumulation.sum_over_parts(
            lambda part: self._gradients(part, coefficients), batch, parts, variables
        )
        return self._means(sums), gradients, updates
