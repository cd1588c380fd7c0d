"""Distributions over all pixels of an image."""

from tf_structvae.distributions.low_rank_normal import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
    Summary,
)

__all__ = ["FeatureLowRankMultivariateNormal", "LowRankMultivariateNormal", "Summary"]
