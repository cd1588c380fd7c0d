"""The best normal P P^T + D for a data set, without a network and without training (section 4.5).

The mean is the data's, and P has the directions of the R leading components of its covariance:
probabilistic PCA (Tipping and Bishop, 1999, "Probabilistic principal component analysis").
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.studies import targets

Passes = Callable[[], Iterable[np.ndarray]]
_LEAST = 1e-6  # variance, as a part of the largest, below which a component need not be exact


@dataclasses.dataclass(frozen=True, eq=False)
class Components:
    """Mean and leading principal components of images, flat in row-major H, W, C order.

    Attributes:
      mean: [N].
      directions: orthonormal columns, [N, R].
      variances: of the images along them (divided by n), descending, [R].
      total_variance: over all directions.
      images: n.
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    total_variance: float
    images: int

    @property
    def rank(self) -> int:
        """R."""
        return len(self.variances)

    @property
    def discarded(self) -> float:
        """sigma^2, the mean variance of the N - R directions that are not among them."""
        rest = self.total_variance - float(self.variances.sum())
        return max(rest, 0.0) / max(len(self.mean) - self.rank, 1)


def leading_components(
    passes: Passes,
    rank: int,
    tolerance: float = 1e-5,
    max_passes: int = 60,
    seed: int = 0,
    report: Callable[[float], object] = lambda residual: None,
) -> Components:
    """The exact leading components by subspace iteration, in float64, from passes over the images.

    Each pass multiplies a block Q of max(2 R, R + 20) vectors with the covariance, C Q = sum x
    (x^T Q) / n, and takes the Ritz vectors of the block (Golub and Van Loan, "Matrix Computations",
    8.2.4). No N x N or n x n matrix is made, and one batch is in memory at a time.

    Args:
      passes: called for each pass over the same floating-point images, batches [B, H, W, C].
      rank: R.
      tolerance: of |C u - lambda u| / lambda for each of the R.
      max_passes: after so many the components are taken as they are, with a warning.
      seed: of the first block.
      report: called after each pass with the largest of these residuals.

    Raises:
      ValueError: a rank that the images do not have, or as `targets.spectrum`.
    """
    mean, total, count = _mean_and_variance(passes)
    most = min(count - 1, len(mean))
    if not (isinstance(rank, int) and 1 <= rank <= most):
        raise ValueError(
            f"rank = {rank!r}: must be an integer from 1 to {most}, the components of "
            f"{count} images of {len(mean)} entries."
        )
    width = min(max(2 * rank, rank + 20), most)
    block = np.random.default_rng(seed).standard_normal([len(mean), width])
    for _ in range(max_passes):
        block = np.linalg.qr(block)[0]
        product = _covariance_times(block, mean, passes) / count
        values, vectors = np.linalg.eigh(block.T @ product)
        values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
        directions = block @ vectors
        missed = np.linalg.norm(product @ vectors - directions * values, axis=0)
        residual = float(np.max(missed / np.maximum(values, _LEAST * values[0])))
        report(residual)
        if residual <= tolerance:
            break
        block = product
    else:
        warnings.warn(
            f"the leading {rank} components are exact to {residual:.1e} only, after {max_passes} "
            f"passes (wanted {tolerance:.0e}): their variances hardly differ from the next.",
            stacklevel=2,
        )
    return Components(mean, directions, np.maximum(values, 0.0), total, count)


def _mean_and_variance(passes: Passes) -> tuple[np.ndarray, float, int]:
    count, total, squares = 0, np.zeros(1), 0.0
    for x in targets.checked(passes()):
        flat = x.reshape(len(x), -1).astype(np.float64)
        if not count:
            origin = flat[0].copy()  # near the data nothing is lost to cancellation
        flat -= origin
        count += len(flat)
        total = total + flat.sum(0)
        squares += float(np.square(flat).sum())
    if count < 2:
        raise ValueError(f"principal components need at least 2 images, got {count}.")
    shift = total / count
    variance = squares / count - float(shift @ shift)
    if not variance > 1e-12 * squares / count:
        raise ValueError(f"the {count} images are all alike: they have no components.")
    return origin + shift, variance, count


def _covariance_times(block: np.ndarray, mean: np.ndarray, passes: Passes) -> np.ndarray:
    product = np.zeros_like(block)
    for x in targets.checked(passes()):
        flat = x.reshape(len(x), -1) - mean
        product += flat.T @ (flat @ block)
    return product


def optimum(
    components: Components, epsilon: float | None = None, entropy_budget: float | None = None
) -> LowRankMultivariateNormal:
    """The maximum-likelihood N(mu, P P^T + epsilon I) of rank R, float64.

    ```none
    P = U (Lambda' - epsilon)^1/2,   lambda'_k = max(kappa lambda_k, epsilon)
    ```

    Without a budget kappa is one. epsilon free: epsilon = sigma^2, the mean of the variances that
    are discarded (Tipping and Bishop, 1999, eq. 7 and 8). epsilon fixed: a direction with less
    variance than epsilon gets none from P.

    With an entropy budget, E[log p] is maximised subject to H - H(epsilon I) = budget, as eq. 2
    does. Along each direction that is log v + lambda_k / v + lambda_H log v, whose minimum is at
    v = lambda_k / (1 + lambda_H): all variances shrink by kappa = 1 / (1 + lambda_H).

    Args:
      components: of the data.
      epsilon: of D = epsilon I; None: free.
      entropy_budget: nats per image above the entropy of epsilon I; needs an epsilon.

    Raises:
      ValueError: an epsilon that is no variance or cannot be found, or a budget that does not bind.
    """
    if epsilon is None:
        if entropy_budget is not None:
            raise ValueError(
                f"entropy_budget = {entropy_budget:g} needs a fixed epsilon: one that is free "
                "takes part in the entropy."
            )
        epsilon = components.discarded
        if not epsilon > 1e-12 * components.total_variance / len(components.mean):
            raise ValueError(
                f"rank = {components.rank} leaves no variance for a free epsilon: the "
                f"{components.images} images have no further components. Fix epsilon."
            )
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon = {epsilon!r}: must be a finite number > 0, or None.")
    variances = components.variances
    if entropy_budget is not None:
        variances = variances * shrinkage(variances, epsilon, entropy_budget)
    scales = np.sqrt(np.maximum(variances - epsilon, 0.0))
    return LowRankMultivariateNormal(
        tf.constant(components.mean, tf.float64),
        tf.constant(components.directions * scales, tf.float64),
        tf.constant([epsilon], tf.float64),
    )


def shrinkage(variances: np.ndarray, epsilon: float, entropy_budget: float) -> float:
    """kappa with 1/2 sum_k log(max(kappa lambda_k, epsilon) / epsilon) = budget.

    Args:
      variances: lambda, descending, [R].
      epsilon: of D = epsilon I.
      entropy_budget: nats per image.

    Raises:
      ValueError: a budget that is not between zero and the entropy at kappa = 1.
    """
    ratios = np.log(np.maximum(variances / epsilon, 1.0))
    limit = 0.5 * float(ratios.sum())
    if not 0 < entropy_budget < limit:
        raise ValueError(
            f"entropy_budget = {entropy_budget:g} nats per image: must be above 0 and below "
            f"{limit:.4g}, what the optimum at epsilon = {epsilon:g} has of itself."
        )
    # m directions stay above epsilon; as in water-filling, the last one down shows m
    sums, count = np.cumsum(ratios), np.arange(1, len(ratios) + 1)
    m = max(int(np.sum(0.5 * (sums - count * ratios) < entropy_budget)), 1)
    return math.exp((2 * entropy_budget - float(sums[m - 1])) / m)


def principal_angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between the spans of the columns of a and of b, largest first, in degrees, [K].

    Sines where an angle is small and cosines where it is large, since the other of the two loses
    half of the digits (Bjorck and Golub, 1973).

    Args:
      a: [N, K], of rank K.
      b: [N, K], of rank K.

    Raises:
      ValueError: shapes that do not fit.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not 1 <= a.shape[1] <= a.shape[0]:
        raise ValueError(f"want two matrices [N, K] with K <= N, got {a.shape} and {b.shape}.")
    a, b = np.linalg.qr(a)[0], np.linalg.qr(b)[0]
    inner = a.T @ b
    cosines = np.linalg.svd(inner, compute_uv=False)[::-1]
    sines = np.linalg.svd(b - a @ inner, compute_uv=False)
    small = np.arcsin(np.minimum(sines, 1.0))
    large = np.arccos(np.minimum(cosines, 1.0))
    return np.degrees(np.where(sines < np.sqrt(0.5), small, large))
