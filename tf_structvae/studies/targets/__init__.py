"""Rank, noise and targets of eq. 2 from the spectrum of a data set; targets no model can meet.

All of it is the algebra of a linear-Gaussian model: a place to start from, not a prediction of what
a network will do. Entropies, KL divergences and budgets are nats per image.
"""

from tf_structvae.models.reachable_targets import check, entropy_floor
from tf_structvae.studies.targets.covariance_spectrum import Spectrum, checked, spectrum
from tf_structvae.studies.targets.explanation import compare, explain
from tf_structvae.studies.targets.suggestion import (
    MAX_RANK,
    QUANTISATION,
    Suggestion,
    suggest,
    told,
    water_level_of_kl,
    water_level_of_share,
)

__all__ = [
    "MAX_RANK",
    "QUANTISATION",
    "Spectrum",
    "Suggestion",
    "check",
    "checked",
    "compare",
    "entropy_floor",
    "explain",
    "spectrum",
    "suggest",
    "told",
    "water_level_of_kl",
    "water_level_of_share",
]
