"""What a low-rank and local normal does beyond its density: moments, pictures, edits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import shapes
from tf_structvae.distributions.feature_low_rank_normal import low_rank_normal
from tf_structvae.distributions.local.conditional import ConditionalNormal
from tf_structvae.distributions.operations import PrincipalComponents
from tf_structvae.distributions.summary import StructuredNormal

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11

    from tf_structvae.distributions.low_rank_normal import LowRankMultivariateNormal

_EXACT = 4096  # entries up to which variances are computed by solves
_BLOCK = 64  # columns of the identity solved at once


class LocalOperations(StructuredNormal):
    """Mixed into `LocalLowRankNormal`, on whose A and P all of it rests."""

    _loc: Any
    _mask: Any
    _window: Any
    _factor: Any
    _with_factor: Any
    _counted: Any
    _residual: Any
    _whitened: Any
    _name_and_control_scope: Any
    batch_shape: Any
    batch_shape_tensor: Any
    copy: Any
    dtype: Any
    local: Any
    rank: Any

    def standardized_residual(self, value) -> tf.Tensor:
        """What omega_p does not explain of omega_d, each entry over its standard deviation.

        Args:
          value: [*batch, N].

        Returns:
          [*batch, N], each of variance one under the distribution.
        """
        with self._name_and_control_scope("standardized_residual"):
            local = self.local()
            y = self._residual(tf.convert_to_tensor(value, self.dtype), local)
            return self._whitened(local).standardized_residual(y) if self.rank else y

    def variance_parts(self, draws: int = 8, seed: Any = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """tr(P P^T), exact, and tr((A^T A)^-1) from draws of the local noise, [*batch] each.

        Args:
          draws: how many.
          seed: an integer, or two.
        """
        local = self._local_draws(draws, seed)
        explained = tf.broadcast_to(tf.reduce_sum(self._explained(), -1), self.batch_shape_tensor())
        return explained, tf.reduce_mean(tf.reduce_sum(tf.square(local), axis=-2), axis=-1)

    def _local_draws(self, draws: int, seed: Any) -> tf.Tensor:
        """A^-1 omega_d, [*batch, N, draws]."""
        noise = tf.random.stateless_normal(
            tf.concat([self.batch_shape_tensor(), [self._window.size, draws]], 0),
            tfp.random.sanitize_seed(seed),
            dtype=self.dtype,
        )
        return self.local().solve(self._counted(noise))

    def _variance(self):
        if self._window.size > _EXACT:
            raise NotImplementedError(
                f"variance is exact up to {_EXACT} entries, each of which takes a solve; this "
                f"event has {self._window.size}: `estimate_variance` draws."
            )
        local, found = self.local(), []
        eye = tf.eye(self._window.size, dtype=self.dtype)
        for start in range(0, self._window.size, _BLOCK):
            column = self._counted(eye[:, start : start + _BLOCK])
            found.append(tf.reduce_sum(tf.square(local.solve_transposed(column)), axis=-2))
        return self._event(tf.concat(found, axis=-1) + self._explained())

    def structured_variance(self) -> tf.Tensor:
        """The part of each entry's variance that is due to P, (P P^T)_ii, [*batch, N]."""
        with self._name_and_control_scope("structured_variance"):
            return self._event(self._explained())

    def _explained(self) -> tf.Tensor:
        """The diagonal of P P^T, [..., N]."""
        if not self.rank:
            return tf.zeros([self._window.size], self.dtype)
        return self._factor().row_sum_of_squares()

    def _event(self, x: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([self.batch_shape_tensor(), [self._window.size]], 0)
        return tf.broadcast_to(x, tf.broadcast_dynamic_shape(tf.shape(x), shape))

    def estimate_variance(self, draws: int = 100, seed: Any = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """The variance of each entry from draws of the local noise; the part of P is exact.

        Args:
          draws: how many.
          seed: an integer, or two.

        Returns:
          Variances [*batch, N] and their standard errors, sqrt(2 / draws) of the local part.
        """
        with self._name_and_control_scope("estimate_variance"):
            drawn = self._local_draws(draws, seed)
            local = tf.reduce_mean(tf.square(drawn), axis=-1)
            return self._event(local + self._explained()), self._event(
                local * math.sqrt(2.0 / draws)
            )

    def _stddev(self):
        return tf.sqrt(self._variance())

    def _covariance(self):
        columns = self._counted(tf.eye(self._window.size, dtype=self.dtype))
        root = self.local().solve(columns)
        found = tf.matmul(root, root, transpose_b=True)
        if self.rank:
            factor = self._factor().dense()
            found += tf.matmul(factor, factor, transpose_b=True)
        shape = tf.concat([self.batch_shape_tensor(), [self._window.size] * 2], 0)
        return tf.broadcast_to(found, shape)

    def whiten(self, residual) -> tf.Tensor:
        """A r: of a residual without P, entries of variance one that do not depend on each other.

        Args:
          residual: r, [*sample, *batch, N].
        """
        with self._name_and_control_scope("whiten"):
            residual = tf.convert_to_tensor(residual, self.dtype)
            return self._residual(self._loc + residual, self.local())

    def covariance_times(self, vector) -> tf.Tensor:
        """Sigma v = P P^T v + A^-1 A^-T v.

        Args:
          vector: v, [*batch, N].

        Returns:
          [*batch, N].
        """
        with self._name_and_control_scope("covariance_times"):
            vector = tf.convert_to_tensor(vector, self.dtype)
            shapes.check_value("vector", vector.shape, self._window.size, self.batch_shape)
            column, local = self._counted(vector[..., tf.newaxis]), self.local()
            found = local.solve(local.solve_transposed(column))
            if self.rank:
                factor = self._factor()
                found += factor.matmul(factor.rmatmul(column))
            return self._event(found[..., 0])

    def covariance_row(self, index) -> tf.Tensor:
        """Row `index` of Sigma, P p_i + A^-1 A^-T e_i (the covariance to one entry, Fig. 2).

        Args:
          index: int scalar in [0, N).

        Returns:
          [*batch, N].
        """
        with self._name_and_control_scope("covariance_row"):
            index = shapes.indices("index", index, self._window.size, 0)
            return self.covariance_times(tf.one_hot(index, self._window.size, dtype=self.dtype))

    # --- Samples --------------------------------------------------------------------------------

    def sample_from_noise(self, factor_noise, local_noise=None) -> tf.Tensor:
        """loc + P omega_p + A^-1 omega_d.

        Args:
          factor_noise: omega_p, [*sample, *batch, R].
          local_noise: omega_d, [*sample, *batch, N]; None means zero: a picture of loc and P alone,
            which takes no solve.

        Returns:
          [*sample, *batch, N].
        """
        with self._name_and_control_scope("sample_from_noise"):
            factor_noise = tf.convert_to_tensor(factor_noise, self.dtype)
            shapes.check_value("factor_noise", factor_noise.shape, self.rank, self.batch_shape, "R")
            shape = tf.concat([tf.shape(factor_noise)[:-1], [self._window.size]], 0)
            found = tf.broadcast_to(
                self._loc, tf.broadcast_dynamic_shape(tf.shape(self._loc), shape)
            )
            if self.rank:
                found += self._structured(factor_noise)
            if local_noise is not None:
                noise = tf.convert_to_tensor(local_noise, self.dtype)
                shapes.check_value("local_noise", noise.shape, self._window.size, self.batch_shape)
                found += self.local().solve(self._counted(noise[..., tf.newaxis]))[..., 0]
            return found

    def _structured(self, noise: tf.Tensor) -> tf.Tensor:
        """P omega_p, [*sample, *batch, N]; samples of a batch are columns of one product."""
        batch_rank = self.batch_shape_tensor().shape[0]
        extra = noise.shape.rank - 1 - batch_rank
        if extra <= 0:
            return self._factor().matmul(noise[..., tf.newaxis])[..., 0]
        columns = self._factor().matmul(shapes.samples_to_columns(noise, extra))
        return shapes.columns_to_samples(columns, tf.shape(noise)[:extra])

    # --- What the paper does with it ------------------------------------------------------------

    def principal_components(self) -> PrincipalComponents:
        """Those of P, strongest first; see `LowRankMultivariateNormal.principal_components`."""
        return self._of_factor().principal_components()

    def scale_components(self, scales) -> Self:
        """P with its principal components scaled (eq. 4); A stays.

        Args:
          scales: [..., R].

        Returns:
          A distribution of the same kind.
        """
        return self._with_factor(self._of_factor().scale_components(scales)._factor())

    def _of_factor(self) -> LowRankMultivariateNormal:
        if not self.rank:
            raise ValueError("cov_factor must have at least one column, this one has none.")
        return low_rank_normal(self._loc, self._factor(), tf.ones([], self.dtype))

    def marginal(self, indices) -> Self:
        """Not defined: the other entries leave no local precision behind.

        Args:
          indices: int [K].

        Raises:
          NotImplementedError: always.
        """
        raise NotImplementedError(
            "a LocalLowRankNormal has no marginal of the same kind; of a few entries take "
            "`covariance_row` of each."
        )

    def condition(
        self,
        mask,
        value,
        noise_variance=None,
        tolerance: float = 1e-6,
        max_iterations: int = 1000,
    ) -> ConditionalNormal:
        """The distribution given the entries under the mask, by conjugate gradients.

        Args:
          mask: bool, [..., N]; True where observed.
          value: [..., N]; read only where the mask is True.
          noise_variance: of the observation, >= 0, scalar, [..., 1] or [..., N]; None or 0: exact.
          tolerance: of the solves, |residual| over |right-hand side|.
          max_iterations: of each solve.

        Returns:
          A distribution with mean, samples and the number of iterations.

        Raises:
          ValueError: an argument is not as above.
        """
        mask, value, noise = shapes.convert_observation(
            mask, value, noise_variance, self.dtype, self._window.size, self.batch_shape
        )
        if self._mask is not None:
            mask = mask & self._mask
        return ConditionalNormal(cast(Any, self), mask, value, noise, tolerance, max_iterations)
