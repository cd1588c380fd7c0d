"""Data whose covariance is known: a random field, factors, their sum, splines and ellipses."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Truth:
    """Normals over a grid, one for each condition.

    Attributes:
      grid: pixels along each axis, and then the channels.
      conditions: how many numbers a condition has; 0: the same normal always.
      moments: conditions [B, U] -> means [B, N] and covariances [B, N, N], float64.
    """

    grid: tuple[int, ...]
    conditions: int
    moments: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    @property
    def size(self) -> int:
        """N."""
        return math.prod(self.grid)

    def draw(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Conditions [count, U], uniform in [-1, 1], and an example of each, [count, N]."""
        rng = np.random.default_rng(seed)
        conditions = rng.uniform(-1, 1, size=(count, self.conditions))
        examples = np.empty([count, self.size])
        for i in range(0, count, 256):  # covariances of a few at a time
            means, covariances = self.moments(conditions[i : i + 256])
            roots = np.linalg.cholesky(covariances)
            noise = rng.standard_normal([*means.shape, 1])
            examples[i : i + 256] = means + (roots @ noise)[..., 0]
        return conditions, examples

    def log_prob(self, conditions: np.ndarray, examples: np.ndarray) -> np.ndarray:
        """log p of each example, [B]."""
        means, covariances = self.moments(conditions)
        residual = examples - means
        form = np.sum(residual * np.linalg.solve(covariances, residual[..., None])[..., 0], -1)
        return -0.5 * (form + np.linalg.slogdet(2 * np.pi * covariances)[1])


def _constant(covariance: np.ndarray, grid: tuple[int, ...]) -> Truth:
    def moments(conditions):
        count = len(conditions)
        return np.zeros([count, len(covariance)]), np.broadcast_to(
            covariance, [count, *covariance.shape]
        )

    return Truth(grid, 0, moments)


def _positions(grid: tuple[int, ...]) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) for n in grid[:-1]), indexing="ij")
    return np.stack([a.ravel() for a in axes], -1).astype(np.float64)


def _field(grid: tuple[int, ...], decay: float = 0.05) -> np.ndarray:
    """A Gaussian Markov random field, whose precision is decay I + the lattice's Laplacian."""
    at = _positions(grid)
    adjacent = (np.abs(at[:, None] - at).sum(-1) == 1).astype(np.float64)
    precision = decay * np.eye(len(at)) + np.diag(adjacent.sum(1)) - adjacent
    covariance = np.linalg.inv(precision)
    return covariance / np.diag(covariance).mean()


def _factors(grid: tuple[int, ...], rank: int = 5) -> np.ndarray:
    """P P^T of smooth waves over the grid, of mean variance one."""
    rng, at = np.random.default_rng(0), _positions(grid) / max(grid)
    waves = rng.uniform(-2.5, 2.5, size=(rank, at.shape[1]))
    factor = np.cos(2 * np.pi * (at @ waves.T + rng.uniform(size=rank)))
    covariance = factor @ factor.T
    return covariance / np.diag(covariance).mean()


def _exponential(grid: tuple[int, ...], length: float) -> np.ndarray:
    at = _positions(grid)
    return np.exp(-np.linalg.norm(at[:, None] - at, axis=-1) / length)


def _spline(conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A cubic spline through 5 heights; noise that is correlated along it and grows with them."""
    from scipy.interpolate import CubicSpline

    grid = (48, 1)
    through = CubicSpline(np.linspace(0, 1, conditions.shape[1]), conditions, axis=1)
    means = through(np.linspace(0, 1, grid[0]))
    spread = 0.05 + 0.2 * np.abs(means)
    return means, spread[:, :, None] * _exponential(grid, 5.0) * spread[:, None]


def _ellipse(conditions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A soft ellipse of given centre, axes and angle; correlated noise, most along its edge."""
    grid = (14, 14, 1)
    at = _positions(grid) / 6.5 - 1.0
    centre, axes, angle = conditions[:, :2] * 0.3, conditions[:, 2:4], np.pi * conditions[:, 4]
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(
        -1, 2, 2
    )
    seen = np.einsum("bij,bnj->bni", turn, at - centre[:, None])
    radius = np.linalg.norm(seen / (0.55 + 0.2 * axes[:, None]), axis=-1)
    means = 1 / (1 + np.exp(6 * (radius - 1)))
    spread = 0.02 + 0.6 * means * (1 - means)
    return means, spread[:, :, None] * _exponential(grid, 3.0) * spread[:, None]


def of(name: str) -> Truth:
    """One of `NAMES`.

    Args:
      name: of the truth.
    """
    grid = (12, 12, 1)
    noise = 0.01 * np.eye(144)
    if name == "field":
        return _constant(_field(grid), grid)
    if name == "factors":
        return _constant(_factors(grid) + noise, grid)
    if name == "field + factors":
        return _constant(_factors(grid) + 0.2 * _field(grid), grid)
    if name == "splines":
        return Truth((48, 1), 5, _spline)
    return Truth((14, 14, 1), 5, _ellipse)


NAMES = ("field", "factors", "field + factors", "splines", "ellipses")
"""The last two are after those of Dorta et al. (2018), drawn anew: mean and covariance depend on
the condition."""
