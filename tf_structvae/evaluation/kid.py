"""The kernel distance of two sets of features; on Inception features the KID."""

from __future__ import annotations

import numpy as np

from tf_structvae.evaluation.estimate import Estimate

SUBSET = 1000  # the most features in a subset (Binkowski et al. 2018)
SUBSETS = 10  # the least number of subsets, from which the error is known to about a quarter


def squared_mmd(x, y) -> float:
    """Unbiased squared maximum mean discrepancy of features [n, F] and [m, F].

        mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j),
        k(a, b) = (a.b / F + 1)^3

    (Gretton et al. 2012, eq. 3, with the kernel of Binkowski et al. 2018). Unbiased at any n and m
    of at least two, so it is sometimes negative.

    Args:
      x: [n, F].
      y: [m, F].

    Raises:
      ValueError: fewer than 2 features.
    """
    x, y = (np.asarray(v, np.float64) for v in (x, y))
    if min(len(x), len(y)) < 2:
        raise ValueError(f"x and y must have at least 2 features, got {len(x)} and {len(y)}.")
    within = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (_kernel(x), _kernel(y))]
    return float(sum(within) - 2 * np.mean(_kernel(x, y)))


def _kernel(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    return (a @ (a if b is None else b).T / a.shape[-1] + 1.0) ** 3


def kernel_distance(x, y, subset: int = SUBSET, seed: int = 0, scale: float = 1.0) -> Estimate:
    """`squared_mmd` averaged over subsets of the features, and its standard error over them.

    The features are shuffled and cut into *disjoint* subsets of at most `subset`, and at least
    `SUBSETS` of them. (Binkowski et al. draw subsets that overlap, whose spread says little about
    the error of their mean. The expectation is the same at every size.) Needs memory for the
    kernel of one subset.

    Args:
      x: features [n, F].
      y: features [m, F].
      subset: the most features in a subset, at least 2.
      seed: of the shuffling.
      scale: the features are divided by it; 1 for KID. Features whose size is far from one make the
        kernel a plain cube.

    Raises:
      ValueError: unlike feature sizes, fewer than 2 features a subset, or a bad subset or scale.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"features must be [n, F] and [m, F], got {x.shape} and {y.shape}.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("features must be finite.")
    if subset < 2 or not scale > 0:
        raise ValueError(f"subset must be >= 2 and scale > 0, got {subset} and {scale}.")
    least, most = min(len(x), len(y)), max(len(x), len(y))
    count = max(SUBSETS, -(-most // subset))
    if least < 2 * count:
        raise ValueError(f"a kernel distance needs at least {2 * count} images, got {least}.")
    rng = np.random.default_rng(seed)
    parts = (np.array_split(rng.permutation(len(v)), count) for v in (x, y))
    found = [squared_mmd(x[i] / scale, y[j] / scale) for i, j in zip(*parts, strict=True)]
    return Estimate.of(np.array(found))
