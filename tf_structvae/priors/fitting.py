"""One way to fit each kind of prior to a trained model's posteriors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_structvae.priors import ascent
from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.priors.conditional import Conditional
from tf_structvae.priors.flow import Flow
from tf_structvae.priors.mixture import Mixture
from tf_structvae.priors.normal import Normal
from tf_structvae.priors.prior import Prior, StandardNormal
from tf_structvae.priors.vamp import VampPrior
from tf_structvae.utilities import checks

KINDS = ("standard_normal", "normal", "mixture", "vamp", "flow")


def least_images(kind: str, latent_dim: int, components: int = 50) -> int:
    """How many images a prior of some kind takes to be fitted; of a conditional model, by label.

    Args:
      kind: one of `KINDS`.
      latent_dim: L.
      components: of a mixture or VampPrior.
    """
    covariance = latent_dim + 1
    return {
        "standard_normal": 1,
        "normal": covariance,
        "mixture": max(covariance, components),
        "vamp": max(ascent.LEAST_IMAGES, components),
        "flow": max(ascent.LEAST_IMAGES, covariance),
    }[kind]


def fit(
    kind: str,
    posterior: AggregatedPosterior,
    components: int = 50,
    seed: int = 0,
    by_label: bool = False,
    encode: Callable | None = None,
    images: Any = None,
    steps: int = 1000,
    progress: bool = False,
) -> Prior:
    """A prior of some kind that posteriors fill; no training changes it afterwards.

    Args:
      kind: one of `KINDS`.
      posterior: of the training images.
      components: of a mixture or VampPrior, of each label.
      seed: of draws and starts.
      by_label: whether each label of a conditional model gets a prior of its own.
      encode: of a VampPrior, as `StructuredVAE.encode`.
      images: of a VampPrior, [N, H, W, C]: the first ones of those that `posterior` is of.
      steps: of gradient ascent, of a VampPrior or flow.
      progress: whether gradient ascent shows a bar.

    Raises:
      ValueError: an unknown kind, too few images, or labels where there are none.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    checks.integer("components", components)
    checks.integer("steps", steps)
    ascent = {"seed": seed, "steps": steps, "progress": progress}

    def one(own: AggregatedPosterior, encode: Callable | None, images: Any) -> Prior:
        if kind == "standard_normal":
            return StandardNormal(own.latent_dim)
        if kind == "normal":
            return Normal.fit(own)
        if kind == "mixture":
            return Mixture.fit(own, components, seed)
        if kind == "flow":
            return Flow.fit(own, **ascent)
        if encode is None or images is None:
            raise ValueError("a VampPrior needs encode and images, got none.")
        found = VampPrior(own.latent_dim, np.shape(images)[1:], components)
        found.attach(encode)
        return found.fit_to(own, images, **ascent)

    if by_label:
        found: Prior = _by_label(one, posterior, encode, images)
    else:
        found = one(posterior, encode, images)
    found.trainable = False
    return found


def _by_label(one: Callable, posterior, encode, images) -> Conditional:
    if posterior.labels is None:
        raise ValueError("by_label needs the posteriors of a conditional model; these have none.")
    classes = int(posterior.labels.max()) + 1
    priors = []
    for k in range(classes):
        own = posterior.labels == k
        if not own.any():
            raise ValueError(f"by_label needs images of each label, got none of label {k}.")
        of_label = None if images is None else np.asarray(images)[own[: len(images)]]
        given = None if encode is None else _given(encode, k)
        priors.append(one(posterior.subset(own), given, of_label))
    return Conditional(priors)


def _given(encode: Callable, label: int) -> Callable:
    return lambda images: encode(images, tf.fill([tf.shape(images)[0]], label))
