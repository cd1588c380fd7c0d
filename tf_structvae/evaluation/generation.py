"""How far the spread of generated images is from that of the data."""

from __future__ import annotations

import numpy as np


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
