"""Refusal of arguments of a `StructuredVAE`, before it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from tf_structvae.models import class_labels, reachable_targets, variance_share
from tf_structvae.models.constraints import Constraint
from tf_structvae.priors.prior import Prior
from tf_structvae.utilities import checks


def check_networks(encoder: keras.Model, decoder: keras.Model, classes: int) -> None:
    """Refuses what are no networks, or take or emit what does not suit a VAE.

    Raises:
      TypeError: no Keras models.
      ValueError: other inputs, or an odd number of outputs of the encoder.
    """
    for label, network in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(network, keras.Model):
            raise TypeError(f"{label} must be a keras.Model, got {network!r}.")
    class_labels.check_networks(encoder, decoder, classes)
    if encoder.output_shape[-1] % 2:
        raise ValueError(
            "encoder must emit means and log-variances [B, 2 L], an even number; it emits "
            f"{encoder.output_shape}."
        )


def check_constraints(constraints: Sequence[Constraint], quantities: Sequence[str]) -> None:
    """
    Raises:
      TypeError: no constraints.
      ValueError: an unknown or doubled quantity.
    """
    for c in constraints:
        if not isinstance(c, Constraint):
            raise TypeError(f"constraints must be `Constraint`s, got {c!r}.")
    names = [c.name for c in constraints]
    unknown = set(names) - set(quantities)
    if unknown or len(set(names)) < len(names):
        raise ValueError(
            f"constraints must name different quantities of {quantities}, got {names}."
        )


def check_numbers(
    samples: Any, pretrain_steps: Any, pretrain_variance: Any, mixing_rate: Any, accumulate: Any
) -> None:
    """
    Raises:
      ValueError: one outside its range.
    """
    checks.integer("samples", samples, 1)
    checks.integer("pretrain_steps", pretrain_steps, 0)
    checks.integer("accumulate", accumulate, 1)
    if not (checks.is_finite(pretrain_variance) and pretrain_variance > 0):
        raise ValueError(f"pretrain_variance must be finite and > 0, got {pretrain_variance!r}.")
    if not callable(mixing_rate) and not (checks.is_finite(mixing_rate) and mixing_rate >= 0):
        raise ValueError(
            f"mixing_rate must be a finite number >= 0 or a schedule, got {mixing_rate!r}."
        )


def check_fit(
    decoder: keras.Model,
    head: keras.layers.Layer,
    image_shape: tuple[int, int, int],
    latent_dim: int,
) -> None:
    """Refuses networks that do not fit each other, as far as Keras knows their shapes.

    Raises:
      ValueError: they do not.
    """
    taken = getattr(decoder, "input_shape", None)
    if isinstance(taken, tuple) and taken[-1] not in (None, latent_dim):
        raise ValueError(
            f"decoder must take latents [B, {latent_dim}], half as many as the encoder emits; it "
            f"takes {taken}."
        )
    if type(head).__module__.startswith("keras."):
        raise ValueError(
            "decoder must end in a layer that emits a distribution, as a head of "
            f"tf_structvae.layers, got {head!r}."
        )
    emitted, size = getattr(decoder, "output_shape", None), math.prod(image_shape)
    if isinstance(emitted, tuple) and emitted[-1] not in (None, size):
        raise ValueError(
            f"decoder must emit a distribution over {size} entries, those of images "
            f"{image_shape}; it emits {emitted}."
        )


def check_prior(
    prior: Any, latent_dim: int, image_shape: tuple[int, int, int], classes: int
) -> None:
    """Refuses a prior of other latents, images or labels than those of the model.

    Raises:
      TypeError: it is no prior.
      ValueError: it does not fit.
    """
    if not isinstance(prior, Prior):
        raise TypeError(f"prior must be one of tf_structvae.priors, got {prior!r}.")
    if prior.latent_dim != latent_dim:
        raise ValueError(
            f"prior must be over the {latent_dim} latents of the model, got one over "
            f"{prior.latent_dim}."
        )
    if prior.classes not in (0, classes):
        raise ValueError(
            f"prior must be for the {classes} labels of the model, got one for {prior.classes}."
        )
    shown = getattr(prior, "image_shape", image_shape)
    if tuple(shown) != tuple(image_shape):
        raise ValueError(f"prior must have pseudo-inputs {tuple(image_shape)}, got {tuple(shown)}.")
    if classes and not prior.classes and hasattr(prior, "pseudo_inputs"):
        raise ValueError(
            "prior must be a Conditional of VampPriors in a conditional model, whose encoder takes "
            "labels; got a VampPrior."
        )


def check_targets(
    constraints: Sequence[Constraint],
    head: keras.layers.Layer,
    image_shape: tuple[int, int, int],
) -> None:
    """
    Raises:
      ValueError: targets that cannot be met.
    """
    wanted = {c.name: c.target for c in constraints}
    if variance_share.NAME in wanted and not getattr(head, "rank", 0):
        raise ValueError(
            f"a constraint on {variance_share.NAME} needs a head with a factor P, got "
            f"{type(head).__name__}."
        )
    # else D moves, and its entropy with it
    fixed = getattr(head, "noise", None) == "fixed" and not getattr(head, "standardize", False)
    reachable_targets.check(
        wanted.get("kl"),
        wanted.get("entropy") if fixed else None,
        image_shape,
        getattr(head, "epsilon", 1.0),
    )
