"""A batch of low-rank normals to edit."""

import numpy as np
import reference
import tensorflow as tf

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)

SHAPE, B, R, F = (5, 4, 3), 2, 4, 6


N = 60


def problem(kind, seed=0):
    """A distribution, and its parts as numbers."""
    rng = np.random.default_rng(seed)
    loc, features = rng.uniform(size=(B, N)), rng.normal(size=(B, 20, F))
    kernel = 0.3 * rng.normal(size=(F, 3, R))
    factor = np.stack([reference.dense_factor(h, kernel) for h in features])
    loc_, *rest = (tf.constant(v, tf.float64) for v in (loc, features, kernel))
    diag = tf.constant(0.01, tf.float64)
    if kind == "dense":
        return LowRankMultivariateNormal(loc_, tf.constant(factor), diag), loc, factor
    return FeatureLowRankMultivariateNormal(loc_, *rest, diag), loc, factor
