"""How far the spread of generated images is from that of the data."""

from __future__ import annotations

import numpy as np

from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.jackknife import BlockVariance


def saturation(images: np.ndarray) -> np.ndarray:
    """Share of each image's numbers below 0 or above 1, which a screen cannot show.

    Args:
      images: [B, ...].

    Returns:
      [B].
    """
    outside = (np.asarray(images) < 0) | (np.asarray(images) > 1)
    return outside.reshape(len(outside), -1).mean(-1)


def variance_ratio(samples: np.ndarray, data: np.ndarray) -> float:
    """Total variance of samples [B, ...] over that of data [B', ...]; about one is right."""
    samples, data = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (samples, data))
    return float(samples.var(0, ddof=1).sum() / data.var(0, ddof=1).sum())


def ratio(samples: BlockVariance, data: BlockVariance) -> Estimate:
    """Total variance of samples over that of data, which are independent of each other."""
    above, below = samples.estimate(), data.estimate()
    value = above.value / below.value
    relative = np.hypot(above.error / above.value, below.error / below.value)
    return Estimate(value, float(abs(value) * relative))
