"""Rank, noise and targets of eq. 2 from the spectrum of a data set, and targets nobody can meet.

All of it is the algebra of a linear-Gaussian model: a place to start from, not a prediction of what
a network will do. Entropies, KL divergences and budgets are nats per image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

QUANTISATION = 1 / (12 * 255**2)  # variance of rounding to 8 bits, images in [0, 1]
MAX_RANK = 100
_COLUMNS = 4096  # of the data that are float64 at one time


def entropy_floor(image_shape: tuple[int, ...], epsilon: float) -> float:
    """Entropy of N(mu, epsilon I), nats per image: what an entropy target cannot go below.

    Args:
      image_shape: (H, W, C).
      epsilon: the variance of D = epsilon I.

    Raises:
      ValueError: an epsilon that is no variance.

    Examples:
      >>> import tf_structvae as sv
      >>> floor = sv.targets.entropy_floor((218, 178, 3), 1e-5)
      >>> round(floor), round(-504750 - floor)  # what the paper's target leaves to P
      (-504940, 190)
    """
    _require(epsilon > 0 and math.isfinite(epsilon), "epsilon", epsilon, "a finite number > 0")
    return 0.5 * float(np.prod(image_shape)) * math.log(2 * math.pi * math.e * epsilon)


def check(
    kl_target: float | None,
    entropy_target: float | None,
    image_shape: tuple[int, ...],
    epsilon: float,
) -> None:
    """Refuses targets that no model can meet.

    Args:
      kl_target: nats per image; None is no constraint.
      entropy_target: nats per image, absolute as in the paper; None is no constraint.
      image_shape: (H, W, C).
      epsilon: the variance of D = epsilon I.

    Raises:
      ValueError: a KL below zero, or an entropy below that of D alone.
    """
    floor = entropy_floor(image_shape, epsilon)
    wrong = []
    if kl_target is not None and not 0 <= kl_target < math.inf:
        wrong.append(
            f"kl_target = {kl_target:g} nats per image cannot be met: "
            "a KL divergence is a finite number >= 0."
        )
    if entropy_target is not None and not floor <= entropy_target < math.inf:
        allowed = math.ceil(100 * floor) / 100  # rounded up: what is printed is accepted
        wrong.append(
            f"entropy_target = {entropy_target:.2f} nats per image cannot be met: images "
            f"{tuple(image_shape)} with epsilon {epsilon:g} have at least {floor:.2f}, even "
            f"with P = 0; give {allowed:.2f} or more, or an entropy budget >= 0."
        )
    if wrong:
        raise ValueError("\n".join(wrong))


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The principal variances of images in [0, 1], summed over the entries of an image.

    Attributes:
      eigenvalues: [K], of the covariance (divided by n), descending; K = min(n - 1, N).
      total_variance: its trace.
      images: n, how many were read.
      image_shape: (H, W, C); N = H W C.
    """

    eigenvalues: np.ndarray
    total_variance: float
    images: int
    image_shape: tuple[int, int, int]

    @property
    def size(self) -> int:
        """N, the entries of an image."""
        return int(np.prod(self.image_shape))

    def share(self, rank: int) -> float:
        """Share of the variance in the leading components.

        Args:
          rank: R.
        """
        return float(self.eigenvalues[:rank].sum() / self.total_variance)


def checked(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The batches as arrays [B, H, W, C] whose variances can be told.

    Args:
      batches: floating-point images [B, H, W, C].

    Raises:
      ValueError: images of no floating-point type, not finite, or of different shapes.
    """
    shape: tuple[int, ...] = ()
    count = 0
    for batch in batches:
        x = np.asarray(batch)
        if x.ndim != 4 or x.dtype.kind != "f":
            raise ValueError(
                f"batches must be floating-point images [B, H, W, C], got {x.dtype} {x.shape}."
            )
        shape = shape or x.shape[1:]
        if x.shape[1:] != shape:
            raise ValueError(f"all images must be of shape {shape}, got {x.shape[1:]}.")
        bad = ~np.isfinite(x).all(axis=(1, 2, 3))
        if bad.any():
            raise ValueError(
                f"image {count + int(bad.argmax())} (from 0) holds values that are not finite."
            )
        count += len(x)
        yield x


def spectrum(batches: Iterable[np.ndarray]) -> Spectrum:
    """The spectrum of the data covariance, exact up to float64.

    From the n x n Gram matrix of the images or from their N x N covariance, whichever is smaller:
    with m = min(n, N), about m^2 doubles and, in their own precision, at most m images.

    Args:
      batches: floating-point images [B, H, W, C], an iterable read once.

    Raises:
      ValueError: fewer than two images, images that are all alike, not finite, or of another shape.
    """
    kept: list[np.ndarray] = []  # images as rows, until they outnumber the entries
    outer: np.ndarray | None = None  # from then on, sum x x^T
    shape: tuple[int, ...] = ()
    count = 0
    for x in checked(batches):
        shape = x.shape[1:]
        x = x.reshape(len(x), -1)
        if not count:
            # variances do not depend on the origin; near the data nothing is lost to cancellation
            origin = x[:1].astype(np.float64)
            total = np.zeros_like(origin)
        count += len(x)
        kept.append(x)
        if count > x.shape[1]:
            outer = np.zeros([x.shape[1]] * 2) if outer is None else outer
            for part in kept:
                y = part - origin
                outer += y.T @ y
                total += y.sum(0)
            kept = []
    if count < 2:
        raise ValueError(f"a spectrum needs at least 2 images, got {count}.")
    if outer is not None:
        mean = total / count
        matrix = outer / count - mean.T @ mean
    else:
        matrix = np.zeros([count, count])
        for start in range(0, origin.shape[1], _COLUMNS):
            block = slice(start, start + _COLUMNS)
            y = np.concatenate([part[:, block] for part in kept]) - origin[:, block]
            y -= y.mean(0)
            matrix += y @ y.T / count
    variance = float(np.trace(matrix))
    if not variance > 0:
        raise ValueError(f"the {count} images are all alike: they have no variance to share out.")
    values = np.linalg.eigvalsh(matrix)[::-1][: min(count - 1, origin.shape[1])]
    return Spectrum(np.maximum(values, 0.0), variance, count, (shape[0], shape[1], shape[2]))


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """Targets to start from; see `suggest`.

    Attributes:
      rank: R.
      rank_share: of the variance, in the R leading components.
      epsilon: of D in the paper's recipe.
      kl_target: K, nats per image.
      latent_share: of the variance, told by z with K nats.
      water_level: theta, the variance z leaves in the directions it tells.
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

        exp((budget - entropy_budget) / R), the geometric mean over the components: above 1 is too
        bright, below 1 too timid.

        Args:
          entropy_budget: nats per image.
        """
        return math.exp((entropy_budget - self.entropy_budget) / self.rank)


def told(eigenvalues: np.ndarray, water_level: float) -> tuple[float, float]:
    """(K, variance) that z tells when it flattens the spectrum [K] to `water_level`.

    K = 1/2 sum log(lambda_k / theta) nats over lambda_k > theta: the rate of a Gaussian source at
    the distortion sum min(lambda_k, theta) (reverse water-filling; Cover and Thomas, 10.3.3).

    Args:
      eigenvalues: descending, [K].
      water_level: theta.
    """
    above = eigenvalues[eigenvalues > water_level]
    return 0.5 * float(np.log(above / water_level).sum()), float((above - water_level).sum())


def water_level_of_kl(eigenvalues: np.ndarray, kl: float) -> float:
    """theta at which z has spent `kl` nats on a descending spectrum [K].

    Args:
      eigenvalues: descending, [K].
      kl: nats per image.
    """
    logs = np.log(eigenvalues[eigenvalues > 0])
    sums, count = np.cumsum(logs), np.arange(1, len(logs) + 1)
    # nats to bring m directions down to the m-th; m of them are told when that is affordable
    m = max(int(np.sum(0.5 * (sums - count * logs) <= kl)), 1)
    return float(np.exp((sums[m - 1] - 2 * kl) / m))


def water_level_of_share(eigenvalues: np.ndarray, share: float) -> float:
    """theta at which z has told `share` of the variance of a descending spectrum [K].

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
    * K: what it costs z to tell `latent_share` of the variance by reverse water-filling, `told`.
    * Budget: P then takes R of the directions as z leaves them, with the closed-form optimum at a
      fixed epsilon, s_k^2 = max(min(lambda_k, theta) - epsilon, 0). Its entropy above the floor is
      1/2 sum_k log(1 + s_k^2 / epsilon), k = 1..R.
    * Noise: nothing holds P down in the calibrated recipe, so it takes the R strongest directions
      and z the next ones: handing a direction from P to z saves P as many nats as it costs z, and
      these are worth theta / noise each in the directions that P has not. What z leaves of those,
      per entry, is probabilistic PCA's noise (Tipping and Bishop, 1999); at least that of 8 bits.

    A decoder that is not linear tells more with K nats, and its P differs from image to image: a
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
    check(kl_target, None, spectrum.image_shape, epsilon)
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
    floor = entropy_floor(spectrum.image_shape, epsilon)
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


def explain(spectrum: Spectrum, s: Suggestion) -> str:
    """Why `s`, in a few lines.

    Args:
      spectrum: of a data set.
      s: from `suggest`.
    """
    active = int(np.sum(spectrum.eigenvalues > s.water_level))
    more = 2 * s.water_level / spectrum.total_variance
    return "\n".join(
        [
            f"{spectrum.images:,} images {spectrum.image_shape}, "
            f"total variance {spectrum.total_variance:.4g}; nats per image:",
            f"rank      {s.rank}: as many components hold {s.rank_share:.1%} of the variance",
            f"KL        {s.kl_target:.1f}: z tells {s.latent_share:.1%}, down to "
            f"{s.water_level:.3g} in {active} directions (latent_dim should not be less); "
            f"one nat more would tell {more:.2%}",
            f"entropy   {s.entropy_target:.1f}: the floor of D = {s.epsilon:g} I, "
            f"{s.entropy_floor:.1f}, and a budget of {s.entropy_budget:.1f} for what z leaves; "
            f"beyond {s.budget_limit:.1f} samples are wider than the data",
            f"noise     {s.noise_variance:.2g}: what z and P leave of an entry; a start for "
            "learned noise",
        ]
    )


def compare(
    s: Suggestion, own: Suggestion, kl_target: float | None, entropy_budget: float | None
) -> str:
    """What a config's own targets come to, beside those suggested.

    Args:
      s: what is suggested.
      own: the suggestion at the rank, epsilon and, if it has one, the KL target of the config.
      kl_target: the config's, nats per image, or None.
      entropy_budget: the config's, nats per image above its floor, or None.
    """
    lines = [f"rank      {own.rank} holds {own.rank_share:.1%} (suggested {s.rank})"]
    if kl_target is not None:
        lines.append(
            f"KL        {kl_target:.1f} tells {own.latent_share:.1%} (suggested {s.kl_target:.1f})"
        )
    if entropy_budget is not None:
        lines.append(
            f"budget    {entropy_budget:.1f} is {entropy_budget - own.entropy_budget:+.1f} to the "
            f"{own.entropy_budget:.1f} for what z leaves at this rank and KL: samples "
            f"{own.sample_width(entropy_budget):.2f} times as wide along P"
        )
    return "\n".join(lines)
