"""Standard errors of what is no mean over images: by leaving out one block of them at a time."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tf_structvae.evaluation.estimate import Estimate

# So many blocks tell an error to about a sixth of itself, 1 / sqrt(2 (BLOCKS - 1)).
BLOCKS = 20


def jackknife_error(left_out: np.ndarray) -> float:
    """Standard error from the values [G, ...] without each of G blocks (Quenouille, Tukey)."""
    left_out = np.asarray(left_out, np.float64)
    blocks = len(left_out)
    centred = left_out - left_out.mean(0)
    return np.sqrt((blocks - 1) / blocks * np.sum(centred**2, axis=0))


class BlockVariance:
    """Total variance of vectors that come in batches, with its jackknife error.

    Vector i belongs to block i modulo G, whatever the batches. Of each block the count, the mean
    [N] and the scatter sum_i |x_i - mean|^2 are kept, and blocks are joined as in `Moments`.
    """

    def __init__(self, blocks: int = BLOCKS):
        self._counts = np.zeros(blocks)
        self._means: np.ndarray | None = None
        self._scatters = np.zeros(blocks)
        self.seen = 0

    @classmethod
    def of_batches(cls, batches: Iterable) -> BlockVariance:
        """Of all batches [B, ...]."""
        found = cls()
        for batch in batches:
            found.update(batch)
        return found

    def update(self, x) -> None:
        """Adds vectors [B, ...]."""
        x = np.asarray(x, np.float64).reshape(len(x), -1)
        if self._means is None:
            self._means = np.zeros([len(self._counts), x.shape[-1]])
        blocks = (self.seen + np.arange(len(x))) % len(self._counts)
        for b in np.unique(blocks):
            rows = x[blocks == b]
            mean = rows.mean(0)
            count = self._counts[b] + len(rows)
            shift = mean - self._means[b]
            self._scatters[b] += np.sum((rows - mean) ** 2)
            self._scatters[b] += shift @ shift * (self._counts[b] * len(rows) / count)
            self._means[b] += shift * (len(rows) / count)
            self._counts[b] = count
        self.seen += len(x)

    def total(self) -> float:
        """Sum over the entries of the unbiased variance."""
        return self._without(None)

    def left_out(self) -> np.ndarray:
        """The same without each block, [G].

        Raises:
          ValueError: fewer than two vectors a block.
        """
        if self.seen < 2 * len(self._counts):
            raise ValueError(
                f"a standard error of a variance needs at least {2 * len(self._counts)} images, "
                f"got {self.seen}."
            )
        return np.array([self._without(b) for b in range(len(self._counts))])

    def estimate(self) -> Estimate:
        """The total variance; of too few vectors for blocks, without an error."""
        few = self.seen < 2 * len(self._counts)
        return Estimate(self.total(), float("nan") if few else jackknife_error(self.left_out()))

    def _without(self, block: int | None) -> float:
        if self._means is None:
            raise ValueError("a variance needs at least 2 images, got 0.")
        weights = self._counts.copy()
        if block is not None:
            weights[block] = 0
        count = weights.sum()
        if count < 2:
            raise ValueError(f"a variance needs at least 2 images, got {int(count)}.")
        mean = weights @ self._means / count
        between = weights @ np.sum((self._means - mean) ** 2, axis=-1)
        return float((self._scatters[weights > 0].sum() + between) / (count - 1))
