"""How much of what a model draws is like the data, and how much of the data it draws.

Both estimate the support of a set of features by balls around each, out to its k-th nearest
neighbour. A distance such as Frechet's is one number for two faults; these are two and two.
"""

from __future__ import annotations

import numpy as np

from tf_structvae.evaluation.estimate import Estimate

PRECISION_NEIGHBOURS = 3  # as Kynkaanniemi et al.
DENSITY_NEIGHBOURS = 5  # as Naeem et al.
_BLOCK = 1000  # rows of distances at once


def fidelity_and_diversity(data, drawn) -> dict[str, Estimate]:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

      precision: share of drawn images within a ball of the data;
      recall: share of the data within a ball of the drawn images;
      density: in how many of the data's balls a drawn image lies, over k; may be above 1;
      coverage: share of the data whose ball holds a drawn image.

    Recall rewards outliers among the drawn images, whose balls are large; density and coverage
    have no balls but the data's. Each standard error is over the images that are counted, with the
    balls as they are.

    Args:
      data: features [n, F].
      drawn: features [m, F], best as many.

    Raises:
      ValueError: unlike feature sizes, too few of either, or features that are not finite.
    """
    data, drawn = (np.asarray(x, np.float64) for x in (data, drawn))
    if data.ndim != 2 or drawn.ndim != 2 or data.shape[1] != drawn.shape[1]:
        raise ValueError(f"features must be [n, F] and [m, F], got {data.shape} and {drawn.shape}.")
    if not (np.isfinite(data).all() and np.isfinite(drawn).all()):
        raise ValueError("features must be finite.")
    if min(len(data), len(drawn)) <= DENSITY_NEIGHBOURS:
        raise ValueError(
            f"neighbours need more than {DENSITY_NEIGHBOURS} images, got {len(data)} and "
            f"{len(drawn)}."
        )
    of_data, wide = radii(data, PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS)
    (of_drawn,) = radii(drawn, PRECISION_NEIGHBOURS)
    precise = np.zeros(len(drawn), bool)
    recalled = np.zeros(len(data), bool)
    balls = np.zeros(len(drawn))
    covered = np.zeros(len(data), bool)
    for start in range(0, len(drawn), _BLOCK):
        rows = slice(start, start + _BLOCK)
        distance = _distances(drawn[rows], data)
        precise[rows] = (distance <= of_data).any(1)
        recalled |= (distance <= of_drawn[rows, None]).any(0)
        balls[rows] = (distance <= wide).sum(1)
        covered |= (distance <= wide).any(0)
    return {
        "precision": Estimate.of(precise),
        "recall": Estimate.of(recalled),
        "density": Estimate.of(balls / DENSITY_NEIGHBOURS),
        "coverage": Estimate.of(covered),
    }


def radii(x: np.ndarray, *neighbours: int) -> np.ndarray:
    """Distance of each feature to its k-th nearest other one, a row for each k, [K, n].

    Args:
      x: [n, F], n > k.
      *neighbours: each k.
    """
    found = np.empty([len(neighbours), len(x)])
    for start in range(0, len(x), _BLOCK):
        distance = _distances(x[start : start + _BLOCK], x)
        # the nearest of all, number 0, is the feature itself
        nearest = np.partition(distance, neighbours, axis=1)[:, neighbours]
        found[:, start : start + _BLOCK] = nearest.T
    return found


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = np.sum(a**2, 1)[:, None] + np.sum(b**2, 1) - 2.0 * (a @ b.T)
    return np.sqrt(np.maximum(square, 0.0))
