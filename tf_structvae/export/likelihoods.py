"""What the signatures ask of p(x | z), for each of the distributions that a decoder may emit."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import LocalLowRankNormal, LowRankMultivariateNormal, linalg
from tf_structvae.distributions.summary import StructuredNormal

DRAWS = 32  # of the noise of a local normal, for its variances
_CONDITIONAL_DRAWS = 16  # each takes a solve by conjugate gradients


@dataclasses.dataclass(frozen=True)
class Conditional:
    """p(x | z, some entries).

    Attributes:
      mean: [B, N].
      variance: () -> [B, N].
      draw: noise [B, `Likelihood.conditional_noise`] -> a picture [B, N].
    """

    mean: tf.Tensor
    variance: Callable[[], tf.Tensor]
    draw: Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Likelihood(abc.ABC):
    """One kind of p(x | z), with batch [B] and event [N].

    Attributes:
      size: N.
      rank: R of its factor P; 0: it has none.
    """

    name = ""
    size: int
    rank: int

    def words(self) -> dict[str, str]:
        """What descriptions of signatures say of its pictures and variances."""
        return {
            "with_noise": "a standard VAE's with its pixel noise",
            "estimated": "",
            "estimated_given": "",
        }

    @property
    @abc.abstractmethod
    def noise(self) -> int:
        """How many numbers of noise a picture takes; the first R are those of P."""

    @property
    def conditional_noise(self) -> int:
        """The same of a picture given some entries."""
        return self.noise

    @abc.abstractmethod
    def draw(self, p, noise: tf.Tensor) -> tf.Tensor:
        """A picture [B, N] of noise [B, self.noise]."""

    def variance(self, p) -> tf.Tensor:
        """Of every entry, [B, N]."""
        return p.variance()

    @abc.abstractmethod
    def covariance(self, p, weights: tf.Tensor) -> tf.Tensor:
        """Of every entry with the weighted sum of all, [B, N], for weights [B, N]."""

    @abc.abstractmethod
    def condition(self, p, mask: tf.Tensor, values: tf.Tensor, noise: tf.Tensor) -> Conditional:
        """Given the entries under the mask, [B, N] each; variances of the observation [B, 1]."""

    def picture(self, p, factor_noise: tf.Tensor) -> tf.Tensor:
        """mean + P omega_p, [B, N]."""
        return p.sample_from_noise(factor_noise) if self.rank else p.mean()

    @abc.abstractmethod
    def whitened(self, p, direction: tf.Tensor) -> tf.Tensor:
        """Of the squared length direction^T Sigma^-1 direction, [B, M]."""


class Independent(Likelihood):
    """The standard VAE's."""

    name = "independent"

    @property
    def noise(self):
        return self.size

    def draw(self, p, noise):
        return p.mean() + p.stddev() * noise

    def covariance(self, p, weights):
        return weights * p.variance()

    def condition(self, p, mask, values, noise):
        scale = p.stddev()
        same = LowRankMultivariateNormal(p.mean(), 0.0 * scale[..., tf.newaxis], scale**2)
        q = same.condition(mask, values, noise)
        return Conditional(q.mean(), q.variance, lambda drawn: q.mean() + q.stddev() * drawn)

    def whitened(self, p, direction):
        return direction * tf.math.rsqrt(p.variance())


class LowRank(Likelihood):
    """The paper's; pictures are without pixel noise (eq. 3 with omega_d = 0)."""

    name = "low_rank"

    @property
    def noise(self):
        return self.rank

    def draw(self, p, noise):
        return p.sample_from_noise(noise)

    def covariance(self, p, weights):
        factor = p.cov_factor
        moments = linalg.matmul(factor, weights[..., tf.newaxis], transpose_a=True)
        return linalg.matmul(factor, moments)[..., 0] + weights * p.cov_diag

    def condition(self, p, mask, values, noise):
        q = p.condition(mask, values, noise)
        return Conditional(q.mean(), q.variance, q.sample_from_noise)

    def whitened(self, p, direction):
        explained = p.noise_posterior(p.mean() + direction)[0]
        left = p.mean() + direction - p.sample_from_noise(explained)
        left *= tf.math.rsqrt(p.cov_diag)
        return tf.concat([left, tf.cast(explained, tf.float32)], axis=-1)


class Local(Likelihood):
    """Low rank and local, or local alone; pictures are with all of their noise."""

    name = "local_low_rank"

    def words(self):
        def estimated(draws):
            error = round(100 * (2 / draws) ** 0.5)
            return f"; variances of the noise are estimates from {draws} draws, {error}% each"

        return {
            "with_noise": "here with all noise, that of the local part included",
            "estimated": estimated(DRAWS),
            "estimated_given": estimated(_CONDITIONAL_DRAWS),
        }

    @property
    def noise(self):
        return self.rank + self.size

    @property
    def conditional_noise(self):
        return self.noise + self.size

    def draw(self, p, noise):
        return p.sample_from_noise(noise[:, : self.rank], noise[:, self.rank :])

    def variance(self, p):
        return p.estimate_variance(DRAWS)[0]

    def covariance(self, p, weights):
        return p.covariance_times(weights)

    def condition(self, p, mask, values, noise):
        q = p.condition(mask, values, noise)

        def draw(drawn):
            return q.sample_from_noise(*tf.split(drawn, [self.rank, self.size, self.size], 1))

        return Conditional(q.mean(), lambda: q.estimate_variance(_CONDITIONAL_DRAWS)[0], draw)

    def whitened(self, p, direction):
        explained = p.noise_posterior(p.mean() + direction)[0]
        left = p.mean() + direction - self.picture(p, explained)
        return tf.concat([p.whiten(left), tf.cast(explained, tf.float32)], axis=-1)


def of(p, size: int) -> Likelihood:
    """The kind of a distribution.

    Args:
      p: what a decoder emits.
      size: N.

    Raises:
      ValueError: it is another one.
    """
    if isinstance(p, LocalLowRankNormal):
        return Local(size, p.rank)
    if isinstance(p, StructuredNormal):
        return LowRank(size, int(p.rank))
    if isinstance(p, tfp.distributions.MultivariateNormalDiag):
        return Independent(size, 0)
    raise ValueError(
        "model must decode to a LowRankMultivariateNormal, a LocalLowRankNormal or a "
        f"MultivariateNormalDiag to be exported, this one decodes to a {type(p).__name__}."
    )
