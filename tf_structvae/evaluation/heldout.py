"""What a model is worth on images it has not seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_structvae import figures
from tf_structvae.evaluation.calibration import Calibration, CalibrationMeter, posterior_sample
from tf_structvae.vae import StructuredVAE


class Estimate(NamedTuple):
    """A mean over images and its standard error."""

    value: float
    error: float

    @classmethod
    def of(cls, x: np.ndarray) -> Estimate:
        """From one value an image, [B]."""
        return cls(float(np.mean(x)), float(np.std(x, ddof=1) / np.sqrt(len(x))))

    def __str__(self) -> str:
        """The value to the second digit of its error."""
        if not self.error > 0:
            return f"{self.value:.6g}"
        digits = max(0, 1 - math.floor(math.log10(self.error)))
        return f"{self.value:.{digits}f} +- {self.error:.{digits}f}"


def lag1_autocorrelation(fields: np.ndarray) -> np.ndarray:
    """Correlation of horizontal and vertical neighbours of each field [B, H, W, C], [B].

    The fields have mean zero by construction (sample minus mean), so none is subtracted.
    """
    x = np.asarray(fields, np.float64)
    power = np.mean(x**2, axis=(1, 2, 3))
    across = np.mean(x[:, :, 1:] * x[:, :, :-1], axis=(1, 2, 3))
    down = np.mean(x[:, 1:] * x[:, :-1], axis=(1, 2, 3))
    return 0.5 * (across + down) / power


def held_out(
    model: StructuredVAE, batches: tf.data.Dataset, seed: int = 0
) -> tuple[dict[str, Estimate], Calibration]:
    """Scores of a model over batches of images [B, H, W, C], and its calibration on them.

    Returns:
      elbo, log_prob (one sample of z an image), kl, entropy and entropy_above_floor, in nats per
      image; and the lag-1 spatial autocorrelation of sample minus mean, of pictures (eq. 3 with
      omega_d = 0 for a low-rank model) and with the noise of every pixel.
    """
    values: dict[str, list[np.ndarray]] = {}
    meter = CalibrationMeter()
    for i, images in enumerate(batches):
        q = model.encode(images)
        z = posterior_sample(q, [seed, i])
        kl = q.kl_divergence(type(q)(tf.zeros_like(q.loc), tf.ones_like(q.loc)))
        p = model.decode(z)
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
        }
        for name, noisy in (("autocorrelation", False), ("autocorrelation_with_noise", True)):
            sample = figures.sample_picture(p, seed=[seed, i], pixel_noise=noisy)
            batch[name] = lag1_autocorrelation(figures.to_images(sample - p.mean(), shape))
        for name, value in batch.items():
            values.setdefault(name, []).append(np.asarray(value, np.float64))
        meter.update(p, flat)
    scores = {name: Estimate.of(np.concatenate(parts)) for name, parts in values.items()}
    return scores, meter.result()
