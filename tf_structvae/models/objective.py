"""What a training step minimises (eq. 2), from what a forward pass gives for each image."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_structvae.distributions.summary import StructuredNormal
from tf_structvae.models.constraints import Constraint


class Observation(NamedTuple):
    """Quantities of p(x | z): one value an image, averaged over the samples of z."""

    log_prob: tf.Tensor  # nats, [B]
    entropy: tf.Tensor  # nats, [B]
    entropy_above_floor: tf.Tensor  # entropy minus that of D alone, nats, [B]
    squared_error: tf.Tensor  # |x - mean|^2, [B]
    noise_mean: tf.Tensor  # E[omega_p | x], [B, R]; R = 0 without a factor
    noise_moment: tf.Tensor  # E[omega_p omega_p^T | x], [B, R, R]
    measured: dict[str, tf.Tensor]  # of `StructuredVAE.measure`, each [B]


def observe(p, x, samples, measure) -> Observation:
    """Scores images under distributions of which M belong to each.

    Args:
      p: a distribution with batch [M * B] and event [N].
      x: the images, each M times, [M * B, N].
      samples: M.
      measure: (x, p) -> more quantities, each [M * B].

    Raises:
      ValueError: p is in half precision.
    """
    if p.dtype.size < 4:
        raise ValueError(
            f"the decoder must emit a distribution in float32 or float64, got {p.dtype.name}: half "
            "precision cannot hold a density over all pixels."
        )
    x = tf.cast(x, p.dtype)
    count = tf.shape(x)[0]
    if isinstance(p, StructuredNormal):
        s = p.summarize(x)
        outer = s.noise_mean[..., tf.newaxis] * s.noise_mean[..., tf.newaxis, :]
        above = s.entropy - p.entropy_floor()
        values = (s.log_prob, s.entropy, above, s.noise_mean, outer + s.noise_covariance)
    else:
        entropy = p.entropy()
        nothing = [tf.zeros(shape, p.dtype) for shape in ([count, 0], [count, 0, 0])]
        above = entropy - (p.entropy_floor() if hasattr(p, "entropy_floor") else entropy)
        values = (p.log_prob(x), entropy, above, *nothing)
    error = tf.reduce_sum(tf.square(x - p.mean()), -1)

    def mean_of_samples(v):
        v = tf.reshape(v, [samples, count // samples, *v.shape[1:]])
        return tf.cast(tf.reduce_mean(v, 0), tf.float32)

    measured = {k: mean_of_samples(v) for k, v in measure(x, p).items()}
    return Observation(*map(mean_of_samples, (*values[:3], error, *values[3:])), measured)  # type: ignore[call-arg]


def quantities(kl: tf.Tensor, observation: Observation) -> dict[str, tf.Tensor]:
    """What can be constrained, by name, each [B]."""
    return {
        "kl": kl,
        "entropy": observation.entropy,
        "negative_log_prob": -observation.log_prob,
        "squared_error": observation.squared_error,
        **observation.measured,
    }


def mean_only_log_prob(squared_error: tf.Tensor, size: int, variance: float) -> tf.Tensor:
    """The log-density of `size` independent entries of that variance, [B]."""
    return -0.5 * (squared_error / variance + size * math.log(2 * math.pi * variance))


def active(constraints: Sequence[Constraint], pretraining: tf.Tensor) -> dict[str, tf.Tensor]:
    """Whether each constraint takes part, 0 or 1.

    Only the KL divergence has a meaning while the mean alone is trained.
    """
    others = tf.where(pretraining, 0.0, 1.0)
    return {c.name: tf.constant(1.0) if c.name == "kl" else others for c in constraints}


def coefficients(
    constraints: Sequence[Constraint],
    means: Mapping[str, tf.Tensor],
    weights: Mapping[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """The coefficient of each constraint, from the means over the global batch."""
    return {c.name: weights[c.name] * c.coefficient(means[c.name]) for c in constraints}


def lagrangian(
    log_prob: tf.Tensor,
    quantities: Mapping[str, tf.Tensor],
    constraints: Sequence[Constraint],
    coefficients: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """Eq. 2 for each image, [B]; eq. 1 as far as the KL divergence has no constraint."""
    loss = -log_prob
    if "kl" not in coefficients:
        loss += quantities["kl"]
    for c in constraints:
        loss += coefficients[c.name] * c.gap(quantities[c.name])
    return loss
