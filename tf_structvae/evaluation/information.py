"""What a KL divergence is spent on: information about the image, or a prior that does not fit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tf_structvae import priors
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.priors import AggregatedPosterior, Normal, Prior

_BLOCK = 200  # images at a time
_DRAWS = 8  # of z, where there is no closed form


def information(posterior: AggregatedPosterior, prior: Prior, seed: int = 0) -> dict[str, Estimate]:
    """The two parts of the mean KL divergence (Hoffman & Johnson 2016), nats per image.

    E KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)), where q(z) is the aggregated posterior of all
    images there are. With few images neither part can be computed, but both can be bounded:

    * the mismatch KL(q(z) || p(z)) from below by what N(m, C) would save, the mean of
      KL(q(z|x) || p(z)) - KL(q(z|x) || N(m, C)), with the moments of one half of the images for
      those of the other. It is 0 where there are too few images for a covariance.
    * the mutual information I(x; z) from above by the rest of the KL divergence, and from below by
      that of z and the number of the image among those given, which is log N at most.

    Of a prior for each label all of it is given the label.

    Args:
      posterior: of N images.
      prior: p(z).
      seed: of z.

    Returns:
      kl, prior_mismatch (at least), mutual_information (at most), mutual_information_found (at
      least).
    """
    drawn = posterior.sample(_DRAWS, seed).reshape(_DRAWS, *posterior.loc.shape)
    kl, z = np.concatenate([*_divergence(prior, posterior, drawn)]), drawn[0]
    square = ((z - posterior.loc) / posterior.stddev) ** 2
    given_image = np.sum(-0.5 * (square + priors.LOG_2_PI) - np.log(posterior.stddev), 1)
    own_label = prior.classes and posterior.labels is not None
    labels = np.asarray(posterior.labels if own_label else np.zeros(len(z), np.int64))
    rest, index = kl.copy(), np.zeros(len(z))
    for k in np.unique(labels):
        own = np.flatnonzero(labels == k)
        group = posterior.subset(own)
        index[own] = given_image[own] - group.log_prob(z[own])
        if len(own) >= 2 * (group.latent_dim + 1):
            rest[own] = _to_normal(group)
    if rest.mean() > kl.mean():
        rest = kl
    return {
        "kl": Estimate.of(kl),
        "prior_mismatch": Estimate.of(kl - rest),
        "mutual_information": Estimate.of(rest),
        "mutual_information_found": Estimate.of(index),
    }


def _divergence(prior: Prior, posterior: AggregatedPosterior, drawn: np.ndarray) -> Iterator:
    """KL(q(z | x) || p(z)) of each image."""
    for start in range(0, len(posterior), _BLOCK):
        part = np.arange(start, min(start + _BLOCK, len(posterior)))
        own = posterior.labels if prior.classes else None
        labels = () if own is None else (tf.constant(own[part], tf.int32),)
        q = posterior.subset(part).as_distribution()
        latents = tf.constant(drawn[:, part], tf.float32)
        yield np.asarray(prior.kl_divergence(q, latents, *labels), np.float64)


def _to_normal(posterior: AggregatedPosterior) -> np.ndarray:
    """KL(q(z | x) || N(m, C)) of each image, the moments being those of the other half."""
    found = np.zeros(len(posterior))
    for half in (0, 1):
        own = np.arange(len(posterior)) % 2 == half
        normal = Normal.fit(posterior.subset(~own))
        found[own] = normal.kl_divergence(posterior.subset(own).as_distribution(), None)
    return found
