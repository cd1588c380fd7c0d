"""Scores of a model on images that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from tf_structvae import priors
from tf_structvae.distributions import pictures
from tf_structvae.distributions.summary import rank_of
from tf_structvae.evaluation.calibration import Calibration, CalibrationMeter, posterior_sample
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.models import class_labels
from tf_structvae.models.vae import StructuredVAE


def lag1_autocorrelation(fields: np.ndarray) -> np.ndarray:
    """Correlation of horizontal and vertical neighbours of each field [B, H, W, C], [B].

    The fields have mean zero by construction (sample minus mean), so none is subtracted.

    Args:
      fields: [B, H, W, C].

    Raises:
      ValueError: another shape.
    """
    x = np.asarray(fields, np.float64)
    if x.ndim != 4:
        raise ValueError(f"fields must be [B, H, W, C], got {x.shape}.")
    power = np.mean(x**2, axis=(1, 2, 3))
    across = np.mean(x[:, :, 1:] * x[:, :, :-1], axis=(1, 2, 3))
    down = np.mean(x[:, 1:] * x[:, :-1], axis=(1, 2, 3))
    return 0.5 * (across + down) / power


def bits_per_dimension(log_density, entries: int):
    """-log2 p(x) / N + 8, for densities log p(x) in nats of images [0, 1]^N.

    The density at the image times the volume 256^-N of a bin of 8-bit numbers, as if it were
    constant in the bin. The images are not dequantised: this is a continuous density at lattice
    points and no code length, can be negative, and compares only within the same convention.

    Args:
      log_density: nats, [B] or scalar.
      entries: N.
    """
    return 8.0 - np.asarray(log_density, np.float64) / (math.log(2.0) * entries)


def effective_rank(scales) -> np.ndarray:
    """exp of the entropy of the normalised squared singular values, [B] in [1, R]; 0 where P = 0.

    After Roy & Vetterli (2007), who normalise the singular values; their squares are variances.

    Args:
      scales: singular values of P [B, R].
    """
    power = np.square(np.asarray(scales, np.float64))
    total = power.sum(-1, keepdims=True)
    share = power / np.where(total > 0, total, 1.0)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)), axis=-1)
    return np.where(total[..., 0] > 0, np.exp(entropy), 0.0)


def held_out(
    model: StructuredVAE, batches: Iterable, seed: int = 0
) -> tuple[dict[str, Estimate], Calibration]:
    """Scores of a model over batches of images [B, H, W, C], and its calibration on them.

    Args:
      model: a trained one.
      batches: of images [B, H, W, C]; of a conditional model (images, labels [B]).
      seed: of z and of samples.

    Returns:
      elbo, log_prob (one sample of z an image), kl, entropy and entropy_above_floor, in nats per
      image; elbo_bits and log_prob_bits (see `bits_per_dimension`); effective_rank, if there is a
      P; and the lag-1 spatial autocorrelation of sample minus mean, of pictures (eq. 3 with
      omega_d = 0 for a low-rank model) and with the noise of every pixel.
    """
    values: dict[str, list[np.ndarray]] = {}
    meter = CalibrationMeter()
    for i, batch_of_data in enumerate(batches):
        images, *labels = class_labels.split(batch_of_data)
        q = model.encode(images, *labels)
        z = posterior_sample(q, [seed, i])
        kl = priors.of(model, z.shape[-1]).kl_divergence(q, z[tf.newaxis], *labels)
        p = model.decode(z, *labels)
        flat = tf.reshape(images, [tf.shape(images)[0], -1])
        log_prob, entropy = p.log_prob(flat), p.entropy()
        floor = p.entropy_floor() if hasattr(p, "entropy_floor") else entropy
        shape = tuple(images.shape[1:])
        batch = {
            "elbo": log_prob - kl,
            "log_prob": log_prob,
            "kl": kl,
            "entropy": entropy,
            "entropy_above_floor": entropy - floor,
            "elbo_bits": bits_per_dimension(log_prob - kl, flat.shape[-1]),
            "log_prob_bits": bits_per_dimension(log_prob, flat.shape[-1]),
        }
        if rank_of(p):
            batch["effective_rank"] = effective_rank(p.principal_components().scales)
        for name, noisy in (("autocorrelation", False), ("autocorrelation_with_noise", True)):
            sample = pictures.sample_picture(p, seed=[seed, i], pixel_noise=noisy)
            batch[name] = lag1_autocorrelation(pictures.to_images(sample - p.mean(), shape))
        for name, value in batch.items():
            values.setdefault(name, []).append(np.asarray(value, np.float64))
        meter.update(p, flat)
    scores = {name: Estimate.of(np.concatenate(parts)) for name, parts in values.items()}
    return scores, meter.result()
