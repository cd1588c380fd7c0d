"""The posteriors q(z | x) of many images: what a prior is fitted to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.utilities import checks


@dataclasses.dataclass(frozen=True)
class AggregatedPosterior:
    """q(z) = 1/N sum_i q(z | x_i), a mixture of N diagonal normals.

    Attributes:
      loc: means, float64 [N, L].
      stddev: standard deviations, float64 [N, L].
      labels: integers [N] of a conditional model, else None.
    """

    loc: np.ndarray
    stddev: np.ndarray
    labels: np.ndarray | None = None

    def __post_init__(self):
        """
        Raises:
          ValueError: no image, other shapes, or values that are not finite.
        """
        for name in ("loc", "stddev"):
            value = np.asarray(getattr(self, name), np.float64)
            object.__setattr__(self, name, value)
            if value.ndim != 2 or not len(value) or value.shape != np.shape(self.loc):
                raise ValueError(
                    f"{name} must be [N, L] with N of at least one image, got {value.shape}."
                )
            bad = np.flatnonzero(~np.isfinite(value).all(1))
            if len(bad):
                raise ValueError(
                    f"{name} of the posteriors must be finite; that of image {bad[0]} is not, "
                    f"nor those of {len(bad) - 1} others of {len(value)}."
                )
        if not (self.stddev > 0).all():
            raise ValueError("stddev of the posteriors must be positive.")
        if self.labels is not None and np.shape(self.labels) != (len(self.loc),):
            raise ValueError(f"labels must be [{len(self.loc)}], got {np.shape(self.labels)}.")

    @classmethod
    def of(cls, encode: Callable, batches: Iterable) -> AggregatedPosterior:
        """Those of a model.

        Args:
          encode: as `StructuredVAE.encode`.
          batches: of images [B, H, W, C]; of a conditional model (images, labels [B]).

        Raises:
          ValueError: no image, or a posterior that is not finite.
        """
        locs, stddevs, labels = [], [], []
        for batch in batches:
            given = tuple(batch) if isinstance(batch, tuple) else (batch,)
            q = encode(*given)
            locs.append(np.asarray(q.loc, np.float64))
            stddevs.append(np.asarray(q.stddev(), np.float64))
            labels += [np.asarray(y) for y in given[1:]]
        if not locs:
            raise ValueError("batches must hold at least one image, got none.")
        known = np.concatenate(labels) if labels else None
        return cls(np.concatenate(locs), np.concatenate(stddevs), known)

    def __len__(self) -> int:
        return len(self.loc)

    @property
    def latent_dim(self) -> int:
        """L."""
        return self.loc.shape[1]

    def check_count(self, what: str, least: int) -> None:
        """
        Args:
          what: is fitted.
          least: so many images.

        Raises:
          ValueError: there are fewer.
        """
        if len(self) < least:
            raise ValueError(
                f"{what} over {self.latent_dim} latents needs at least {least} images, got "
                f"{len(self)}."
            )

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean of loc, [L], and its covariance plus the mean of diag(stddev^2), [L, L]."""
        mean = self.loc.mean(0)
        centred = self.loc - mean
        within = np.diag(np.mean(self.stddev**2, axis=0))
        return mean, centred.T @ centred / len(self) + within

    def sample(self, draws: int = 1, rng: np.random.Generator | int = 0) -> np.ndarray:
        """Draws of each image, one image after the other, [draws * N, L].

        Args:
          draws: of each.
          rng: where the noise comes from, or a seed.
        """
        checks.integer("draws", draws)
        noise = np.random.default_rng(rng).standard_normal([draws, *self.loc.shape])
        return (self.loc + self.stddev * noise).reshape(-1, self.latent_dim)

    def log_prob(self, z: np.ndarray, block: int = 500) -> np.ndarray:
        """log q(z), float64 [n]: each draw under all N images.

        Args:
          z: [n, L].
          block: images at a time.
        """
        z = np.asarray(z, np.float64)
        found = np.full(len(z), -np.inf)
        for start in range(0, len(self), block):
            part = slice(start, start + block)
            found = np.logaddexp(found, log_sum(z, self.loc[part], self.stddev[part]))
        return found - np.log(len(self))

    def subset(self, rows: np.ndarray) -> AggregatedPosterior:
        """Of some images.

        Args:
          rows: their numbers, or a mask [N].
        """
        labels = None if self.labels is None else self.labels[rows]
        return AggregatedPosterior(self.loc[rows], self.stddev[rows], labels)

    def as_distribution(self) -> tfp.distributions.MultivariateNormalDiag:
        """q(z | x) as `encode` returns it, float32, batch [N], event [L]."""
        loc, stddev = (tf.constant(x, tf.float32) for x in (self.loc, self.stddev))
        return tfp.distributions.MultivariateNormalDiag(loc, stddev)


def log_sum(z: np.ndarray, loc: np.ndarray, stddev: np.ndarray) -> np.ndarray:
    """log of the sum of the densities of diagonal normals, [n].

    Args:
      z: [n, L].
      loc: [K, L].
      stddev: [K, L].
    """
    precision = stddev**-2.0
    centre = loc.mean(0)  # differences of large numbers lose digits
    z, loc = z - centre, loc - centre
    square = z**2 @ precision.T - 2 * z @ (loc * precision).T + np.sum(loc**2 * precision, 1)
    constant = np.sum(np.log(stddev), 1) + 0.5 * z.shape[1] * np.log(2 * np.pi)
    exponent = -0.5 * square - constant
    top = exponent.max(1)
    return top + np.log(np.exp(exponent - top[:, np.newaxis]).sum(1))
