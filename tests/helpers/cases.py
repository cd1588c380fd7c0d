"""Two low-rank normals over N entries, as numbers for the reference and as parameters."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)

B, S, F, C, R = 2, 11, 4, 3, 5
N = S * C


class Case:
    """Two distributions over N entries, as numbers for the reference and as parameters."""

    def __init__(self, diagonal: str, rank: int = R, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.loc = rng.normal(size=(B, N))
        self.features = rng.normal(size=(B, S, F))
        self.kernel = rng.normal(size=(F, C, rank))
        self.factor = np.stack([reference.dense_factor(h, self.kernel) for h in self.features])
        self.diag = {
            "scalar": np.asarray(0.3),
            "one": np.asarray([0.3]),
            "full": rng.uniform(0.1, 1.0, size=(B, N)),
        }[diagonal]
        self.full_diag = np.broadcast_to(self.diag, (B, N))
        self.x = rng.normal(size=(B, N)) * 2
        self.mask = rng.uniform(size=(B, N)) < 0.4
        self.rng = rng

    def make(self, kind, dtype=np.float64, **changes):
        p = {"loc": self.loc, "cov_diag": self.diag}
        if kind == "dense":
            p |= {"cov_factor": self.factor}
            cls = LowRankMultivariateNormal
        else:
            p |= {"features": self.features, "kernel": self.kernel}
            cls = FeatureLowRankMultivariateNormal
        p |= changes
        return cls(**{k: tf.convert_to_tensor(v, dtype) for k, v in p.items()})

    def each(self, function):
        """function(loc, factor, diag, b) for each batch item, stacked."""
        parts = [function(self.loc[b], self.factor[b], self.full_diag[b], b) for b in range(B)]
        return (
            [np.stack(p) for p in zip(*parts, strict=True)]
            if isinstance(parts[0], tuple)
            else np.stack(parts)
        )


KINDS = pytest.mark.parametrize("kind", ["dense", "features"])
DIAGONALS = pytest.mark.parametrize("diagonal", ["scalar", "one", "full"])
