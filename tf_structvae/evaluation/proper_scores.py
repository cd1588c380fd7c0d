"""Proper scores of joint forecasts that are given as draws; the smaller, the better."""

from __future__ import annotations

import numpy as np


def energy_score(draws: np.ndarray, x: np.ndarray) -> np.ndarray:
    """E|Y - x| - E|Y - Y'| / 2 of each observation (Gneiting & Raftery 2007), [B].

    The second mean runs over pairs of different draws, so its expectation does not depend on how
    many there are.

    Args:
      draws: of Y, [D, B, N], D >= 2.
      x: [B, N].

    Raises:
      ValueError: fewer than two draws, or shapes that do not fit.
    """
    draws, x = _checked(draws, x)
    to_x = np.linalg.norm(draws - x, axis=-1).mean(0)
    count = len(draws)
    between = np.zeros(len(x))
    for k in range(1, count):
        between += np.linalg.norm(draws[k:] - draws[:-k], axis=-1).sum(0)
    return to_x - between / (count * (count - 1))


def variogram_score(
    draws: np.ndarray, x: np.ndarray, order: float = 0.5, pairs: np.ndarray | None = None
) -> np.ndarray:
    """Mean over pairs of (|x_i - x_j|^p - E|Y_i - Y_j|^p)^2 (Scheuerer & Hamill 2015), [B].

    Args:
      draws: of Y, [D, B, N], D >= 2.
      x: [B, N].
      order: p.
      pairs: indices i and j, int [M, 2]; None: all N (N - 1) / 2 pairs.

    Raises:
      ValueError: fewer than two draws, or shapes that do not fit.
    """
    draws, x = _checked(draws, x)
    if pairs is None:
        pairs = np.stack(np.triu_indices(x.shape[-1], 1), -1)
    if not len(pairs):
        return np.zeros(len(x))
    i, j = np.asarray(pairs).T
    expected = np.zeros([len(x), len(i)])
    for y in draws:
        expected += np.abs(y[:, i] - y[:, j]) ** order
    seen = np.abs(x[:, i] - x[:, j]) ** order
    return np.mean((seen - expected / len(draws)) ** 2, -1)


def some_pairs(size: int, count: int, seed: int = 0) -> np.ndarray | None:
    """Pairs of unlike indices below `size`, [count, 2]; None, all, where there are no more.

    Args:
      size: N.
      count: how many.
      seed: of the choice.
    """
    if size * (size - 1) // 2 <= count:
        return None
    rng = np.random.default_rng(seed)
    i = rng.integers(size, size=count)
    return np.stack([i, (i + rng.integers(1, size, size=count)) % size], -1)


def _checked(draws, x):
    draws, x = np.asarray(draws, np.float64), np.asarray(x, np.float64)
    if draws.ndim != 3 or len(draws) < 2 or x.shape != draws.shape[1:]:
        raise ValueError(
            f"draws must be [D, B, N] with D >= 2 and x [B, N], got {draws.shape} and {x.shape}."
        )
    return draws, x
