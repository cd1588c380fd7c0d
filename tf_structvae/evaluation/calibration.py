"""Whether the noise a model infers from held-out images is the noise it draws from.

Under a calibrated model the noise posterior c = E[omega_p | x] has mean square near one along every
component, and so has the rest of the image, each pixel over its standard deviation. Below one the
samples vary too much (their colours are too bright), above one too little.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_structvae.distributions.summary import StructuredNormal, rank_of
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.models import class_labels

# A component that carries less of P's variance is not judged.
LEAST_SHARE = 0.01


class Calibration(NamedTuple):
    """Means over images; component k is the k-th strongest principal component of each image's P.

    Without a factor (the standard VAE) the first three are empty.
    """

    share: np.ndarray  # of P's variance that component k carries, [R]
    mean_square: np.ndarray  # E[c_k^2], [R]
    standard_error: np.ndarray  # of `mean_square`, [R]
    displacement: float  # |E[c]|^2, the squared bias of the mean along P; R / images if unbiased
    residual: np.ndarray  # E of the squared standardized residual, [N]
    displacement_error: float  # its standard error
    residual_error: float  # standard error of the mean of `residual` over the pixels

    @property
    def is_judged(self) -> np.ndarray:
        """Which components carry at least `LEAST_SHARE` of P's variance, bool [R]."""
        return self.share >= LEAST_SHARE

    @property
    def judged(self) -> np.ndarray:
        """Their mean squares."""
        return self.mean_square[self.is_judged]

    def summary(self) -> dict[str, float]:
        """The extremes over the judged components, the bias along P, the mean over the pixels."""
        found = {"residual_square": float(self.residual.mean())}
        if self.judged.size:
            found["component_square_min"] = float(self.judged.min())
            found["component_square_max"] = float(self.judged.max())
            found["displacement"] = self.displacement
        return found

    def estimates(self) -> dict[str, Estimate]:
        """`summary` with standard errors; an extreme has that of the component found there."""
        errors = {"residual_square": self.residual_error, "displacement": self.displacement_error}
        if self.judged.size:
            of_judged = self.standard_error[self.is_judged]
            errors["component_square_min"] = of_judged[self.judged.argmin()]
            errors["component_square_max"] = of_judged[self.judged.argmax()]
        return {k: Estimate(v, float(errors[k])) for k, v in self.summary().items()}


class CalibrationMeter:
    """Collects `Calibration` batch by batch."""

    def __init__(self) -> None:
        self._squares: list[np.ndarray] = []
        self._shares: list[np.ndarray] = []
        self._means: list[np.ndarray] = []
        self._residual: np.ndarray | float = 0.0
        self._residuals: list[np.ndarray] = []
        self._count = 0

    def update(self, p, x) -> None:
        """Adds images.

        Args:
          p: batch [B], event [N].
          x: [B, N].
        """
        if rank_of(p):
            c = p.noise_posterior(x)[0]
            components = p.principal_components()
            along = tf.linalg.matvec(components.rotation, c, transpose_a=True)
            power = np.square(components.scales, dtype=np.float64)
            self._squares.append(np.square(along, dtype=np.float64))
            self._shares.append(power / np.maximum(power.sum(-1, keepdims=True), 1e-300))
            self._means.append(np.asarray(c, np.float64))
        if isinstance(p, StructuredNormal):
            residual = p.standardized_residual(x)
        else:
            residual = (x - p.mean()) / p.stddev()
        squares = np.square(residual, dtype=np.float64)
        self._residual = self._residual + squares.sum(0)
        self._residuals.append(squares.mean(-1))
        self._count += len(x)

    def of_each_image(self) -> tuple[np.ndarray, np.ndarray]:
        """c_k^2 [n, R], [n, 0] without a factor, and the mean square of the residual [n]."""
        squares = self._squares or [np.zeros([self._count, 0])]
        return np.concatenate(squares), np.concatenate(self._residuals)

    def result(self) -> Calibration:
        """Raises ValueError before the first image."""
        if not self._count:
            raise ValueError("calibration needs at least one image, got none.")
        nothing = np.zeros([self._count, 0])
        squares, shares, means = (
            np.concatenate(v) if v else nothing for v in (self._squares, self._shares, self._means)
        )
        return Calibration(
            share=shares.mean(0),
            mean_square=squares.mean(0),
            standard_error=squares.std(0, ddof=min(1, self._count - 1)) / np.sqrt(self._count),
            displacement=float(np.sum(np.square(means.mean(0)))),
            residual=np.asarray(self._residual) / self._count,
            displacement_error=_error_of_squared_length(means),
            residual_error=Estimate.of(np.concatenate(self._residuals)).error,
        )


def _error_of_squared_length(x: np.ndarray) -> float:
    """Standard error of |m|^2, m the mean of x [n, R], if m is normal with covariance S.

    Its variance is 4 M^T S M + 2 tr(S^2) with the true mean M; with m for M the first term is too
    large by 4 tr(S^2), and without it the second is the least. So the error is never too small, and
    up to a third too large where M = 0.
    """
    if len(x) < 2:
        return float("nan")
    centred = x - x.mean(0)
    covariance = centred.T @ centred / ((len(x) - 1) * len(x))
    m = x.mean(0)
    least = 2 * np.sum(covariance**2)
    return float(np.sqrt(max(4 * m @ covariance @ m - least, least)))


def calibration(model, batches, seed: int = 0) -> Calibration:
    """Of a model over batches of images [B, H, W, C], at one sample of z an image.

    Args:
      model: anything with `encode` (images -> q(z | x)) and `decode` (z -> p(x | z)).
      batches: iterable; of (images, labels) for a conditional model.
      seed: of z.
    """
    meter = CalibrationMeter()
    for i, batch in enumerate(batches):
        images, *labels = class_labels.split(batch)
        z = posterior_sample(model.encode(images, *labels), (seed, i))
        meter.update(model.decode(z, *labels), tf.reshape(images, [tf.shape(images)[0], -1]))
    return meter.result()


def posterior_sample(q, seed) -> tf.Tensor:
    """One z of a diagonal normal with batch [B], the same for the same seed, [B, L].

    Args:
      q: with batch [B] and event [L].
      seed: two integers.
    """
    return q.loc + q.stddev() * tf.random.stateless_normal(tf.shape(q.loc), seed)
