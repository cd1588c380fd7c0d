"""The log-likelihood of images, from below, by importance sampling (Burda et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tf_structvae import priors
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.heldout import bits_per_dimension
from tf_structvae.models import class_labels


def log_weights(
    model, images, samples: int, seed: int = 0, first: int = 0, labels: tuple = ()
) -> np.ndarray:
    """log p(x | z_k) + log p(z_k) - log q(z_k | x) at z_k ~ q(z | x), float64 [samples, B], nats.

    Only one z an image is decoded at a time. The noise of an image depends on the seed and on its
    number alone, and fewer samples are the first of more.

    Args:
      model: anything with `encode` (images -> a diagonal normal with `loc` and `stddev`) and
        `decode` (z -> p(x | z)); without a `prior` it has N(0, I).
      images: [B, H, W, C].
      samples: K.
      seed: of z.
      first: the number of the first image.
      labels: (labels [B],) of a conditional model, which then stand behind each |.
    """
    q = model.encode(images, *labels)
    flat = tf.reshape(images, [len(images), -1])
    loc, scale = np.asarray(q.loc, np.float64), np.asarray(q.stddev(), np.float64)
    noise = np.stack(
        [
            np.random.default_rng([seed, first + i]).standard_normal([samples, loc.shape[-1]])
            for i in range(len(loc))
        ],
        axis=1,
    )
    z = (loc + scale * noise).astype(np.float32)  # rounded: densities and decoder agree on z
    of_prior = np.asarray(priors.of(model, loc.shape[-1]).log_prob(z.astype(np.float64), *labels))
    square = ((z - loc) / scale) ** 2
    of_posterior = np.sum(-0.5 * (square + priors.LOG_2_PI) - np.log(scale), -1)
    of_images = np.stack(
        [np.asarray(model.decode(row, *labels).log_prob(flat), np.float64) for row in z]
    )
    return of_images + of_prior - of_posterior


def log_mean_exp(x: np.ndarray) -> np.ndarray:
    """log of the mean over axis 0 of exp(x).

    Args:
      x: [K, B].
    """
    top = x.max(0)
    return top + np.log(np.mean(np.exp(x - top), axis=0))


def effective_samples(log_weights: np.ndarray) -> np.ndarray:
    """(sum w)^2 / sum w^2 over axis 0 (Kish): near one, a single sample decides.

    Args:
      log_weights: [K, B].
    """
    w = np.exp(log_weights - log_weights.max(0))
    return w.sum(0) ** 2 / np.sum(w**2, 0)


def log_likelihood(
    model, batches: Iterable, samples: int = 50, seed: int = 0
) -> dict[str, Estimate]:
    """The importance-weighted bound of log p(x) (Burda et al. 2016, eq. 8) over batches of images.

    The bound rises to log p(x) with `samples`; with one it is the ELBO.

    Args:
      model: see `log_weights`.
      batches: of images [B, H, W, C]; of (images, labels) for a conditional model.
      samples: of z, for each image.
      seed: of z.

    Returns:
      log_likelihood, nats per image; log_likelihood_bits, see `heldout.bits_per_dimension`;
      importance_gain over the ELBO of the same images and samples; and
      importance_effective_samples: where it stays near one, more samples would raise the bound.

    Raises:
      ValueError: fewer than one sample, or no image.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}.")
    bounds, gains, effective, seen, entries = [], [], [], 0, 1
    for batch in batches:
        images, *labels = class_labels.split(batch)
        w = log_weights(model, images, samples, seed, seen, tuple(labels))
        bounds.append(log_mean_exp(w))
        gains.append(bounds[-1] - w.mean(0))
        effective.append(effective_samples(w))
        seen += len(images)
        entries = int(np.prod(images.shape[1:]))
    if not seen:
        raise ValueError("a log-likelihood needs at least one image, got none.")
    bound = np.concatenate(bounds)
    return {
        "log_likelihood": Estimate.of(bound),
        "log_likelihood_bits": Estimate.of(bits_per_dimension(bound, entries)),
        "importance_gain": Estimate.of(np.concatenate(gains)),
        "importance_effective_samples": Estimate.of(np.concatenate(effective)),
    }
