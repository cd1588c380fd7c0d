"""Distributions over all pixels of an image."""

from tf_structvae.distributions import divergence  # registers the KL divergences
from tf_structvae.distributions.feature_low_rank_normal import FeatureLowRankMultivariateNormal
from tf_structvae.distributions.label_maps import LogitNormalLabelMap
from tf_structvae.distributions.local.distribution import LocalLowRankNormal
from tf_structvae.distributions.local.feature_distribution import FeatureLocalLowRankNormal
from tf_structvae.distributions.low_rank_normal import LowRankMultivariateNormal
from tf_structvae.distributions.operations import PrincipalComponents
from tf_structvae.distributions.summary import Summary

from_tfp_covariance = divergence.from_tfp_covariance

__all__ = [
    "FeatureLocalLowRankNormal",
    "FeatureLowRankMultivariateNormal",
    "LocalLowRankNormal",
    "LogitNormalLabelMap",
    "LowRankMultivariateNormal",
    "PrincipalComponents",
    "Summary",
    "from_tfp_covariance",
]
