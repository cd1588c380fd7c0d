"""Slow twins of local operators: dense matrices, entry by entry."""

import numpy as np


def random_parts(window, batch=(), seed=0, amplitude=1.0):
    """Weights of earlier pixels and channels, and scales, float64."""
    rng = np.random.default_rng(seed)
    c, count = window.channels, max(len(window.offsets) * window.channels, 1)
    neighbours = amplitude * rng.normal(size=(*batch, *window.neighbours_shape)) / count
    channels = 0.3 * amplitude * rng.normal(size=(*batch, *window.grid, c))
    scale = rng.uniform(0.5, 2.0, size=(*batch, *window.grid))
    return neighbours, channels, scale


def dense_operator(window, neighbours, channels, scale):
    """A, float64 [..., N, N]."""
    batch = scale.shape[: -len(window.grid)]
    if batch:
        parts = (neighbours, channels, scale)
        return np.stack([dense_operator(window, *(p[b] for p in parts)) for b in range(batch[0])])
    a = np.zeros([window.size, window.size])
    number = np.arange(window.size).reshape(window.grid)
    for pixel in np.ndindex(*window.space):
        for c in range(window.channels):
            i = number[(*pixel, c)]
            a[i, i] = 1.0
            for k, offset in enumerate(window.offsets):
                other = tuple(p + o for p, o in zip(pixel, offset, strict=True))
                if all(0 <= q < n for q, n in zip(other, window.space, strict=True)):
                    for d in range(window.channels):
                        a[i, number[(*other, d)]] -= neighbours[(*pixel, c, k, d)]
            for d in range(c):
                a[i, number[(*pixel, d)]] -= channels[(*pixel, c, d)]
            a[i] /= scale[(*pixel, c)]
    return a
