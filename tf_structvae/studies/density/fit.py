"""One way to fit a low-rank normal to a data set, and what it found."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.studies.density.closed_form import Components


class Fit(NamedTuple):
    """One way to fit the data.

    Attributes:
      distribution: with event [N] and no batch, float64.
      directions: its principal directions, strongest first, [N, R].
      factor: of its pictures, [N, R]: they are mean + factor omega.
      seconds: that it took.
    """

    distribution: LowRankMultivariateNormal
    directions: np.ndarray
    factor: np.ndarray
    seconds: float

    @classmethod
    def of(cls, distribution: LowRankMultivariateNormal, seconds: float) -> Fit:
        """Pictures are drawn as eq. 3 with omega_d = 0.

        Args:
          distribution: the trained one, without a batch.
          seconds: how long it took.
        """
        p = distribution.principal_components()
        directions = p.directions.numpy()
        return cls(distribution, directions, directions * p.scales.numpy(), seconds)

    @classmethod
    def of_pca(
        cls, components: Components, distribution: LowRankMultivariateNormal, seconds: float
    ) -> Fit:
        """Pictures are PCA's own, mean + U Lambda^1/2 omega; densities are those of a normal.

        Args:
          components: that PCA found.
          distribution: `closed_form.optimum` of them.
          seconds: that PCA took.
        """
        factor = components.directions * np.sqrt(components.variances)
        return cls(distribution, components.directions, factor, seconds)
