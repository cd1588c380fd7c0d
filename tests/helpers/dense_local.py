"""Slow twins of local operators: dense matrices, entry by entry."""

import numpy as np


def random_parts(window, batch=(), seed=0, amplitude=1.0, shared=False):
    """Weights of earlier pixels and channels, and scales, float64."""
    rng = np.random.default_rng(seed)
    c, count = window.channels, max(len(window.offsets) * window.channels, 1)
    shape = (*window.space, 1, len(window.offsets), 1) if shared else window.neighbours_shape
    neighbours = amplitude * rng.normal(size=(*batch, *shape)) / count
    channels = 0.3 * amplitude * rng.normal(size=(*batch, *window.grid, c))
    scale = rng.uniform(0.5, 2.0, size=(*batch, *window.grid))
    return neighbours, channels, scale


def dense_operator(window, neighbours, channels, scale):
    """A = S^-1 (I - V) (I - W), float64 [..., N, N]."""
    batch = scale.shape[: -len(window.grid)]
    if batch:
        parts = (neighbours, channels, scale)
        return np.stack([dense_operator(window, *(p[b] for p in parts)) for b in range(batch[0])])
    first, second = np.eye(window.size), np.eye(window.size)
    number = np.arange(window.size).reshape(window.grid)
    for pixel in np.ndindex(*window.space):
        for c in range(window.channels):
            i = number[(*pixel, c)]
            for k, offset in enumerate(window.offsets):
                other = tuple(p + o for p, o in zip(pixel, offset, strict=True))
                if all(0 <= q < n for q, n in zip(other, window.space, strict=True)):
                    if neighbours.shape[-1] == 1:
                        first[i, number[(*other, c)]] -= neighbours[(*pixel, 0, k, 0)]
                        continue
                    for d in range(window.channels):
                        first[i, number[(*other, d)]] -= neighbours[(*pixel, c, k, d)]
            for d in range(c):
                second[i, number[(*pixel, d)]] -= channels[(*pixel, c, d)]
    return second @ first / scale.reshape(-1, 1)
