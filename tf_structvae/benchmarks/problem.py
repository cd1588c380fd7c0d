"""The numbers that every implementation of a low-rank normal is measured on."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Problem:
    """A batch of low-rank normals over images, D = epsilon I, P = features x kernel."""

    height: int = 218
    width: int = 178
    channels: int = 3
    rank: int = 25
    batch: int = 8
    features: int = 64
    epsilon: float = 1e-5
    patch: int = 60

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def entries(self) -> int:
        return self.pixels * self.channels

    def arrays(self) -> dict[str, np.ndarray]:
        """loc and x [B, N], features [B, S, F], kernel [F, C, R]: float32, from a fixed seed."""
        rng = np.random.default_rng(0)
        shape = (self.batch, self.entries)
        features = rng.standard_normal((self.batch, self.pixels, self.features), np.float32)
        kernel = rng.standard_normal((self.features, self.channels, self.rank), np.float32)
        return {
            "loc": rng.uniform(size=shape).astype(np.float32),
            "x": rng.uniform(size=shape).astype(np.float32),
            "features": np.maximum(features, 0),
            "kernel": 0.01 * kernel,
        }

    def factor(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        """P, [B, N, R]."""
        kernel = arrays["kernel"].reshape(self.features, -1)
        return (arrays["features"] @ kernel).reshape(self.batch, self.entries, self.rank)

    def mask(self) -> np.ndarray:
        """True on a square patch in the middle, [N]."""
        mask = np.zeros((self.height, self.width, self.channels), bool)
        top, left = (self.height - self.patch) // 2, (self.width - self.patch) // 2
        mask[top : top + self.patch, left : left + self.patch] = True
        return mask.ravel()

    def least_bytes(self, operation: str, through_features: bool) -> float:
        """What an operation must move at least: each input read once, each result written once."""
        size = self.features * self.pixels if through_features else self.entries * self.rank
        inputs = 4.0 * self.batch * size
        images = 4.0 * self.batch * self.entries
        return {
            "gradients": 2 * inputs + 4 * images,
            "sample": inputs + 2 * images,
            "condition": inputs + 3 * images,
            "pixel_influence": inputs + images,
        }[operation]
