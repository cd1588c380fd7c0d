"""Where a model keeps the variance of images: in z, in P or in D (the question of section 5)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tf_structvae.distributions import LocalLowRankNormal
from tf_structvae.distributions.summary import rank_of
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.jackknife import BLOCKS, BlockVariance, jackknife_error

_DRAWS = 8  # of a local noise, for the sum over all entries of its variance


def observation_variance(p) -> tuple[np.ndarray, np.ndarray]:
    """tr(P P^T) and tr(D) of each p(x | z), [B] each; an independent normal has no P.

    In the place of D a local normal has (A^T A)^-1, whose trace is estimated by draws of the noise.

    Args:
      p: with batch [B] and event [N].
    """
    if isinstance(p, LocalLowRankNormal):
        return p.variance_parts(_DRAWS, seed=0)
    if not rank_of(p):
        total = np.asarray(p.variance(), np.float64).sum(-1)
        return np.zeros_like(total), total
    noise = np.broadcast_to(np.asarray(p.cov_diag, np.float64), tuple(p.mean().shape)).sum(-1)
    return np.asarray(p.structured_variance(), np.float64).sum(-1), noise


class VarianceMeter:
    """Collects the shares of the marginal variance at draws of z from the prior.

    By the law of total variance, with x = mu(z) + P(z) omega_p + D(z)^1/2 omega_d,

        tr Cov(x) = tr Cov_z mu(z) + E_z tr(P P^T) + E_z tr(D)

    Memory is bounded by a mean image for each of `BLOCKS` blocks of draws.
    """

    def __init__(self) -> None:
        self._means = BlockVariance(BLOCKS)
        self._structured: list[np.ndarray] = []
        self._noise: list[np.ndarray] = []

    def update(self, p) -> None:
        """Adds the distributions at a batch of draws.

        Args:
          p: with batch [B] and event [N].
        """
        structured, noise = observation_variance(p)
        self._structured.append(structured)
        self._noise.append(noise)
        self._means.update(p.mean())

    def result(self) -> dict[str, Estimate]:
        """share_latent, share_structured and share_noise, which add up to one, and their sum before
        division, total_variance.

        Raises:
          ValueError: fewer than two draws a block.
        """
        structured, noise = (np.concatenate(v) for v in (self._structured, self._noise))
        block = np.arange(len(structured)) % BLOCKS
        kept = [block != b for b in range(BLOCKS)]
        left_out = _parts(
            self._means.left_out(),
            np.array([structured[k].mean() for k in kept]),
            np.array([noise[k].mean() for k in kept]),
        )
        values = _parts(self._means.total(), structured.mean(), noise.mean())
        return {
            name: Estimate(float(value), float(jackknife_error(left_out[name])))
            for name, value in values.items()
        }


def _parts(latent, structured, noise) -> dict:
    total = latent + structured + noise
    return {
        "share_latent": latent / total,
        "share_structured": structured / total,
        "share_noise": noise / total,
        "total_variance": total,
    }


def variance_shares(distributions: Iterable) -> dict[str, Estimate]:
    """See `VarianceMeter`.

    Args:
      distributions: p(x | z) with batch [B] and event [N], at draws of z from the prior.
    """
    meter = VarianceMeter()
    for p in distributions:
        meter.update(p)
    return meter.result()
