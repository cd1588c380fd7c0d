"""The Frechet distance of two sets of features, from moments that are gathered in one pass."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

# An eigenvalue further below zero than this part of the largest is no rounding, even in float32.
_NEGATIVE = 1e-6


class Gaussian(NamedTuple):
    """A normal distribution by its mean [F] and its covariance [F, F], which may be singular."""

    mean: np.ndarray
    covariance: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean [F] and scatter [F, F] of features, in float64; `+` joins two disjoint sets.

    The scatter is sum_i (x_i - mean)(x_i - mean)^T, and sets are joined with the update of
    Chan, Golub & LeVeque (1979): nothing is ever subtracted from a sum of squares, so a large mean
    costs no digits.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features) -> Moments:
        """Moments of one batch of features [B, F].

        Args:
          features: [B, F].

        Raises:
          ValueError: not [B, F], an empty batch, or a feature that is not finite.
        """
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or not x.size:
            raise ValueError(f"features must be [B, F] with B and F at least 1, got {x.shape}.")
        if not np.isfinite(x).all():
            bad = int(np.sum(~np.isfinite(x).all(axis=1)))
            raise ValueError(f"features must be finite; those of {bad} of {len(x)} images are not.")
        mean = x.mean(axis=0)
        x = x - mean
        return cls(len(x), mean, x.T @ x)

    @classmethod
    def of_batches(cls, batches: Iterable) -> Moments:
        """Moments of all batches of features [B, F], one of which is in memory at a time.

        Args:
          batches: of features [B, F].

        Raises:
          ValueError: as `of` and `+`, or there is no batch.
        """
        parts = map(cls.of, batches)
        first = next(parts, None)
        if first is None:
            raise ValueError("there are no batches of features.")
        return functools.reduce(cls.__add__, parts, first)

    def __add__(self, other: Moments) -> Moments:
        if len(self.mean) != len(other.mean):
            raise ValueError(
                f"features of different sizes: {len(self.mean)} and {len(other.mean)}."
            )
        count = self.count + other.count
        shift = other.mean - self.mean
        between = np.outer(shift, shift) * (self.count * other.count / count)
        return Moments(
            count,
            self.mean + shift * (other.count / count),
            self.scatter + other.scatter + between,
        )

    @property
    def covariance(self) -> np.ndarray:
        """The unbiased estimate [F, F], scatter / (count - 1).

        Raises:
          ValueError: fewer than two samples.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {self.count}.")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Gaussian | Moments, b: Gaussian | Moments) -> float:
    """Squared Frechet (2-Wasserstein) distance of two normals (Heusel et al. 2017, eq. 6).

        |mu_a - mu_b|^2 + tr(A + B - 2 (A B)^1/2)

    With A = S S^T and B = T T^T the last trace is the sum of the singular values of S^T T. (The
    eigenvalues of S^T B S are their squares, and a root of those would lose half of the digits.)
    Exact for singular covariances: eigenvalues indistinguishable from zero (F times the machine
    epsilon times the largest) are taken as zero.

    Args:
      a: a normal, or moments of features.
      b: the other.

    Raises:
      ValueError: different feature sizes, values that are not finite, or a covariance that is not
        symmetric and positive semi-definite.
    """
    mean_a, cov_a = _checked(a)
    mean_b, cov_b = _checked(b)
    if len(mean_a) != len(mean_b):
        raise ValueError(f"features of different sizes: {len(mean_a)} and {len(mean_b)}.")
    return _distance(mean_a, _root(cov_a), mean_b, _root(cov_b))


def frechet_distance_of_features(a, b, counts_a=None, counts_b=None) -> float:
    """`frechet_distance` of the moments of features [n, F] and [m, F].

    The centred features are a root of their covariance, so that no eigenvalues are needed: this is
    the quicker of the two where the features are in memory.

    Args:
      a: features [n, F].
      b: features [m, F].
      counts_a: how often each row of `a` occurs, [n]; None for once.
      counts_b: the same of `b`.

    Raises:
      ValueError: features of different sizes, or fewer than two images.

    Examples:
      >>> import numpy as np
      >>> from tf_structvae.evaluation.frechet import frechet_distance_of_features
      >>> x = np.random.default_rng(0).normal(size=[100, 3])
      >>> round(frechet_distance_of_features(x, x + 2.0), 6)  # |2|^2 in each of three
      12.0
    """
    (mean_a, root_a), (mean_b, root_b) = _mean_and_root(a, counts_a), _mean_and_root(b, counts_b)
    if len(mean_a) != len(mean_b):
        raise ValueError(f"features of different sizes: {len(mean_a)} and {len(mean_b)}.")
    return _distance(mean_a, root_a, mean_b, root_b)


def _mean_and_root(features, counts) -> tuple[np.ndarray, np.ndarray]:
    """The mean [F] and S [F, any] with S S^T = covariance, exact whatever its rank."""
    counts = np.ones(len(features), int) if counts is None else np.asarray(counts)
    x = np.asarray(features)[counts > 0].astype(np.float64)
    weights = counts[counts > 0].astype(np.float64)
    total = weights.sum()
    if total < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {int(total)}.")
    if not np.isfinite(x).all():
        raise ValueError("features must be finite.")
    mean = weights @ x / total
    root = (x - mean) * np.sqrt(weights / (total - 1))[:, None]
    if len(root) > root.shape[-1]:
        root = np.linalg.qr(root, mode="r")  # X = Q R: X^T X = R^T R
    return mean, root.T


def _distance(mean_a, root_a, mean_b, root_b) -> float:
    """From covariances S S^T, S [F, any]."""
    cross = np.linalg.svd(root_a.T @ root_b, compute_uv=False).sum()
    trace = np.sum(root_a**2) + np.sum(root_b**2)
    distance = np.sum((mean_a - mean_b) ** 2) + trace - 2 * cross
    return max(float(distance), 0.0)  # below zero by rounding only


def _checked(normal: Gaussian | Moments) -> Gaussian:
    mean = np.asarray(normal.mean, np.float64)
    covariance = np.asarray(normal.covariance, np.float64)
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(f"want mean [F], covariance [F, F], got {mean.shape}, {covariance.shape}.")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("mean and covariance must be finite.")
    if np.abs(covariance - covariance.T).max() > _NEGATIVE * np.abs(covariance).max():
        raise ValueError("covariance must be symmetric.")
    return Gaussian(mean, covariance)


def _root(covariance: np.ndarray) -> np.ndarray:
    """S [F, rank] with S S^T = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    largest = np.abs(values).max()
    if values[0] < -_NEGATIVE * largest:
        raise ValueError(f"covariance must be positive semi-definite, has eigenvalue {values[0]}.")
    kept = values > len(values) * np.finfo(np.float64).eps * largest
    return vectors[:, kept] * np.sqrt(values[kept])
