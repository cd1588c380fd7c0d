"""What is kept of the features of many images: their moments, and a bounded sample of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_structvae.evaluation.frechet import Moments

KEPT = 10_000  # of 2048 float32 features: 82 MB


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureSet:
    """Moments of all features, and a uniform sample [K, F] of them, float32, for resampling."""

    moments: Moments
    kept: np.ndarray

    @property
    def root_mean_square(self) -> float:
        """Over images and features."""
        m = self.moments
        square = np.trace(m.scatter) / m.count + m.mean @ m.mean
        return float(np.sqrt(square / len(m.mean)))


class FeatureCollector:
    """Makes a `FeatureSet` batch by batch, in memory that does not grow with the images.

    The sample is a reservoir (Vitter 1985, algorithm R): all features, in order, while they fit.
    """

    def __init__(self, keep: int = KEPT, seed: int = 0):
        """
        Args:
          keep: the most features that are kept.
          seed: of the choice among more.
        """
        self._keep = keep
        self._rng = np.random.default_rng(seed)
        self._moments: Moments | None = None
        self._kept: np.ndarray | None = None
        self.seen = 0

    def update(self, features) -> None:
        """Adds features [B, F].

        Raises:
          ValueError: as `Moments.of`.
        """
        new = Moments.of(features)
        self._moments = new if self._moments is None else self._moments + new
        x = np.asarray(features, np.float32)
        if self._kept is None:
            self._kept = np.empty([self._keep, x.shape[1]], np.float32)
        number = self.seen + np.arange(len(x))
        place = np.where(number < self._keep, number, self._rng.integers(0, number + 1))
        chosen = place < self._keep
        self._kept[place[chosen]] = x[chosen]  # of two for one place the later stays
        self.seen += len(x)

    def result(self) -> FeatureSet:
        """Raises ValueError before the first image."""
        if self._moments is None or self._kept is None:
            raise ValueError("there are no batches of features.")
        return FeatureSet(self._moments, self._kept[: self.seen].copy())
