"""Rank, noise and targets of eq. 2 from a spectrum: the algebra of a linear-Gaussian model."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tf_structvae.models import reachable_targets
from tf_structvae.studies.targets.covariance_spectrum import Spectrum

QUANTISATION = 1 / (12 * 255**2)  # variance of rounding to 8 bits, images in [0, 1]
MAX_RANK = 100


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """Targets to start from; see `suggest`.

    Attributes:
      rank: R.
      rank_share: of the variance, in the R leading components.
      epsilon: of D in the paper's recipe.
      kl_target: K, nats per image.
      latent_share: of the variance, explained by z with K nats.
      water_level: theta, the variance that z leaves in the directions it encodes.
      entropy_budget: nats per image above `entropy_floor`.
      budget_limit: the budget if P had the R strongest directions to itself; beyond it samples are
        wider than the data.
      entropy_floor: of D = epsilon I alone.
      entropy_target: the floor plus the budget; the paper's xi_H.
      noise_variance: where the learned noise of the calibrated recipe starts.
    """

    rank: int
    rank_share: float
    epsilon: float
    kl_target: float
    latent_share: float
    water_level: float
    entropy_budget: float
    budget_limit: float
    entropy_floor: float
    entropy_target: float
    noise_variance: float

    def sample_width(self, entropy_budget: float) -> float:
        """Standard deviation of samples along P under another budget, relative to what z leaves.

        exp((budget - entropy_budget) / R), the geometric mean over the components: above 1 samples
        vary too much, below 1 too little.

        Args:
          entropy_budget: nats per image.
        """
        return math.exp((entropy_budget - self.entropy_budget) / self.rank)


def told(eigenvalues: np.ndarray, water_level: float) -> tuple[float, float]:
    """(K, variance) that z explains when it cuts the spectrum [K] down to `water_level`.

    K = 1/2 sum log(lambda_k / theta) nats over lambda_k > theta: the rate of a Gaussian source at
    the distortion sum min(lambda_k, theta) (reverse water-filling; Cover and Thomas, 10.3.3).

    Args:
      eigenvalues: descending, [K].
      water_level: theta.
    """
    above = eigenvalues[eigenvalues > water_level]
    return 0.5 * float(np.log(above / water_level).sum()), float((above - water_level).sum())


def water_level_of_kl(eigenvalues: np.ndarray, kl: float) -> float:
    """theta at which z takes `kl` nats of a descending spectrum [K].

    Args:
      eigenvalues: descending, [K].
      kl: nats per image.
    """
    logs = np.log(eigenvalues[eigenvalues > 0])
    sums, count = np.cumsum(logs), np.arange(1, len(logs) + 1)
    # nats to bring m directions down to the m-th; z encodes m of them if that is affordable
    m = max(int(np.sum(0.5 * (sums - count * logs) <= kl)), 1)
    return float(np.exp((sums[m - 1] - 2 * kl) / m))


def water_level_of_share(eigenvalues: np.ndarray, share: float) -> float:
    """theta at which z explains `share` of the variance of a descending spectrum [K].

    Args:
      eigenvalues: descending, [K].
      share: in [0, 1].
    """
    sums, count = np.cumsum(eigenvalues), np.arange(1, len(eigenvalues) + 1)
    told_variance = share * sums[-1]
    m = max(int(np.sum(sums - count * eigenvalues <= told_variance)), 1)
    return float((sums[m - 1] - told_variance) / m)


def suggest(
    spectrum: Spectrum,
    rank: int | None = None,
    epsilon: float = 1e-5,
    kl_target: float | None = None,
    rank_share: float = 0.85,
    latent_share: float = 0.85,
) -> Suggestion:
    """Rank, noise and targets for a data set, by Gaussian rate-distortion theory.

    * R: the fewest components that hold `rank_share` of the variance, at most `MAX_RANK`.
    * K: nats for z to explain `latent_share` of the variance by reverse water-filling (`told`).
    * Budget: P then takes R of the directions as z leaves them, with the closed-form optimum at a
      fixed epsilon, s_k^2 = max(min(lambda_k, theta) - epsilon, 0). Its entropy above the floor is
      1/2 sum_k log(1 + s_k^2 / epsilon), k = 1..R.
    * Noise: the calibrated recipe does not limit the variance along P, so P takes the R strongest
      directions and z the next ones: moving a direction from P to z lowers the entropy by as many
      nats as it adds to the KL divergence, and each of these gains theta / noise in the directions
      that P does not have. What z leaves of those, per entry, is probabilistic PCA's noise
      (Tipping and Bishop, 1999); at least that of 8 bits.

    A decoder that is not linear explains more with K nats, and its P differs from image to image: a
    place to start from.

    Args:
      spectrum: of the training images.
      rank: R, if it is to be chosen by hand.
      epsilon: of D = epsilon I in the paper's recipe.
      kl_target: K in nats per image, if it is to be chosen by hand.
      rank_share: see above; between 0 and 1.
      latent_share: see above; between 0 and 1.

    Raises:
      ValueError: a value that is out of its range.
    """
    values = spectrum.eigenvalues
    for name, share in (("rank_share", rank_share), ("latent_share", latent_share)):
        _require(0 < share < 1, name, share, "above 0 and below 1")
    reachable_targets.check(kl_target, None, spectrum.image_shape, epsilon)
    if rank is None:
        shares = np.cumsum(values) / values.sum()
        rank = min(int(np.searchsorted(shares, rank_share)) + 1, MAX_RANK, len(values))
    _require(
        isinstance(rank, int | np.integer) and 1 <= rank <= len(values),
        "rank",
        rank,
        f"an integer from 1 to {len(values)}, the components of {spectrum.images} images",
    )
    if kl_target is None:
        level = water_level_of_share(values, latent_share)
        kl_target = told(values, level)[0]
    else:
        level = water_level_of_kl(values, kl_target)
    rest = values[rank:]
    if rest.any():
        rest = np.minimum(rest, water_level_of_kl(rest, kl_target))
    noise = rest.sum() / max(spectrum.size - rank, 1)
    floor = reachable_targets.entropy_floor(spectrum.image_shape, epsilon)
    budget = _budget(np.minimum(values[:rank], level), epsilon)
    return Suggestion(
        rank=rank,
        rank_share=spectrum.share(rank),
        epsilon=epsilon,
        kl_target=kl_target,
        latent_share=told(values, level)[1] / spectrum.total_variance,
        water_level=level,
        entropy_budget=budget,
        budget_limit=_budget(values[:rank], epsilon),
        entropy_floor=floor,
        entropy_target=floor + budget,
        noise_variance=max(float(noise), QUANTISATION),
    )


def _budget(variances: np.ndarray, epsilon: float) -> float:
    """Entropy above the floor of P P^T + epsilon I that has these principal variances [R]."""
    return 0.5 * float(np.log1p(np.maximum(variances - epsilon, 0) / epsilon).sum())


def _require(good: bool, name: str, value: object, allowed: str) -> None:
    if not good:
        raise ValueError(f"{name} = {value!r}: must be {allowed}.")
