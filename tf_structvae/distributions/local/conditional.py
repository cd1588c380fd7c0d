"""A low-rank and local normal given some of its entries, by conjugate gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import linalg

if TYPE_CHECKING:
    from typing import Protocol

    from tf_structvae.distributions.local.operator import LocalOperator

    class Joint(Protocol):
        """What it needs of a `LocalLowRankNormal`."""

        dtype: tf.DType
        rank: int
        batch_shape: tf.TensorShape
        window: Any
        _loc: tf.Tensor

        def local(self) -> LocalOperator: ...
        def sample(self, n: int, seed: Any) -> tf.Tensor: ...
        def sample_from_noise(self, factor_noise: Any, local_noise: Any) -> tf.Tensor: ...
        def _factor(self) -> Any: ...
        def batch_shape_tensor(self) -> tf.Tensor: ...


tfd = tfp.distributions


class ConditionalNormal(tfp.distributions.Distribution):
    """p(y given some entries of y): its mean, samples, and what the solves took.

    With the precision Lambda = A^T A - A^T Q K^-1 Q^T A, Q = A P, K = I + Q^T Q, and observed
    entries o, the others u have the mean loc_u - Lambda_uu^-1 Lambda_uo (x_o - loc_o). A sample of
    the joint distribution becomes one of the conditional by the same solve of its error at the
    observed entries (Matheron's rule). Observations with noise of variance v add 1 / v to the
    diagonal of Lambda in place of that.

    Attributes:
      iterations: of conjugate gradients for the mean, an int32 scalar.
      relative_residual: of that solve, [*batch]; above the tolerance where the iterations ended
        before it was reached.
    """

    def __init__(self, joint: Joint, mask, value, noise, tolerance: float, most: int):
        """
        Args:
          joint: a `LocalLowRankNormal`.
          mask: bool [..., N].
          value: [..., N].
          noise: variances of the observation, [..., 1] or [..., N]; 0: exact.
          tolerance: relative, of the solves.
          most: iterations.
        """
        self._joint, self._mask, self._noise = joint, mask, noise
        self._value = tf.where(mask, value, tf.zeros([], value.dtype))
        self._tolerance, self._most = tolerance, most
        super().__init__(
            dtype=joint.dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters={},
            name="ConditionalNormal",
        )
        loc = tf.convert_to_tensor(joint._loc)
        self._precision = _Precision(joint, mask, noise)
        moved, self.iterations, self.relative_residual = self._correct(loc, self._value)
        self._conditional_mean = moved

    def _event_shape(self):
        return tf.TensorShape([self._joint.window.size])

    def _event_shape_tensor(self):
        return tf.constant([self._joint.window.size])

    def _batch_shape(self):
        return self._conditional_mean.shape[:-1]

    def _batch_shape_tensor(self, **_):
        return tf.shape(self._conditional_mean)[:-1]

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return {}

    def _correct(self, y: tf.Tensor, observed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """y moved so that it agrees with what is observed; iterations and residual of the solve."""
        error = tf.where(self._mask, tf.cast(observed - y, tf.float64), 0.0)
        precision, zero = self._precision, tf.zeros([], tf.float64)
        right = -precision.times(tf.where(precision.fixed, error, zero))
        right += tf.math.divide_no_nan(error, precision.noise)
        right = tf.where(precision.fixed, zero, right)
        shape = tf.broadcast_dynamic_shape(tf.shape(right), self._precision.shape_tensor_of_rows())
        right = tf.broadcast_to(right, shape)
        found = tf.linalg.experimental.conjugate_gradient(
            self._precision,
            right,
            preconditioner=self._precision.jacobi(),
            tol=self._tolerance,
            max_iter=self._most,
        )
        left = tf.math.divide_no_nan(tf.norm(found.r, axis=-1), tf.norm(right, axis=-1))
        # not by adding the error, which rounds
        moved = tf.where(precision.fixed, observed, y + tf.cast(found.x, self.dtype))
        return moved, found.i, left

    def _mean(self):
        return self._conditional_mean

    _mode = _mean

    def _sample_n(self, n, seed=None):
        seeds = tfp.random.split_seed(seed, n=2, salt="ConditionalNormal")
        drawn = self._joint.sample(n, seed=seeds[0])
        shape = tf.broadcast_dynamic_shape(tf.shape(drawn), tf.shape(self._value))
        noise = tf.random.stateless_normal(shape, seeds[1], dtype=self.dtype)
        return self._moved(drawn, noise)

    def sample_from_noise(self, factor_noise, local_noise, observation_noise) -> tf.Tensor:
        """A sample of three standard normal vectors.

        Args:
          factor_noise: omega_p of the joint distribution, [*sample, *batch, R].
          local_noise: omega_d, [*sample, *batch, N].
          observation_noise: [*sample, *batch, N]; without effect where it is exact.

        Returns:
          [*sample, *batch, N].
        """
        drawn = self._joint.sample_from_noise(factor_noise, local_noise)
        return self._moved(drawn, tf.convert_to_tensor(observation_noise, self.dtype))

    def _moved(self, drawn, noise):
        return self._correct(drawn, self._value + tf.sqrt(self._noise) * noise)[0]

    def estimate_variance(self, draws: int = 16, seed: Any = 0) -> tuple[tf.Tensor, tf.Tensor]:
        """The variance of each entry from draws, a solve each.

        Args:
          draws: how many.
          seed: an integer, or two.

        Returns:
          Variances and their standard errors, sqrt(2 / draws) of them, [*batch, N] each.
        """
        drawn = self.sample(draws, seed=tfp.random.sanitize_seed(seed))
        found = tf.reduce_mean(tf.square(drawn - self._conditional_mean), axis=0)
        return found, found * (2.0 / draws) ** 0.5


class _Precision(tf.linalg.LinearOperator):
    """What is solved with, float64: the precision of the joint and of the observation's noise over
    the entries that are not observed exactly, and 1 for those that are.

    Attributes:
      noise: variances, [..., 1] or [..., N].
      fixed: which entries are observed exactly, bool [..., N].
    """

    def __init__(self, joint: Joint, mask: tf.Tensor, noise: tf.Tensor):
        self._local = joint.local().cast(tf.float64)
        self._mask, self.noise = mask, tf.cast(noise, tf.float64)
        self.fixed = mask & (self.noise == 0.0)
        self._rows = tf.concat(
            [
                tf.broadcast_dynamic_shape(tf.shape(mask)[:-1], joint.batch_shape_tensor()),
                tf.shape(mask)[-1:],
            ],
            0,
        )
        self._static = tf.broadcast_static_shape(mask.shape[:-1], joint.batch_shape)
        self._explained: tf.Tensor | None = None
        if joint.rank:
            q = self._local.matmul(tf.cast(joint._factor().dense(), tf.float64))
            gram = linalg.matmul(q, q, transpose_a=True)
            root = tf.linalg.cholesky(tf.eye(joint.rank, dtype=tf.float64) + gram)
            scaled = tf.linalg.triangular_solve(root, tf.linalg.matrix_transpose(q))
            # A^T Q L^-T, [..., N, R]
            self._explained = self._local.matmul_transposed(tf.linalg.matrix_transpose(scaled))
        super().__init__(
            tf.float64, is_self_adjoint=True, is_positive_definite=True, is_square=True
        )

    def shape_tensor_of_rows(self) -> tf.Tensor:
        return self._rows

    def times(self, x: tf.Tensor) -> tf.Tensor:
        """Lambda x, for x [..., N]."""
        columns = x[..., tf.newaxis]
        found = self._local.matmul_transposed(self._local.matmul(columns))
        if self._explained is not None:
            told = tf.matmul(self._explained, columns, transpose_a=True)
            found -= tf.matmul(self._explained, told)
        return found[..., 0]

    def _shape(self):
        size = self._mask.shape[-1]
        return self._static.concatenate([size, size])

    def _shape_tensor(self):
        return tf.concat([self._rows, self._rows[-1:]], 0)

    def _matmul(self, x, adjoint=False, adjoint_arg=False):
        rows = tf.linalg.matrix_transpose(x)[..., 0, :]
        return self._matvec(rows)[..., tf.newaxis]

    def _matvec(self, x, adjoint=False):
        zero = tf.zeros([], x.dtype)
        found = self.times(tf.where(self.fixed, zero, x))
        found += tf.where(self._mask, tf.math.divide_no_nan(x, self.noise), zero)
        return tf.where(self.fixed, x, found)

    def jacobi(self) -> tf.linalg.LinearOperatorDiag:
        """The inverse of its diagonal."""
        diagonal = self._local.column_squares()
        if self._explained is not None:
            diagonal -= tf.reduce_sum(tf.square(self._explained), axis=-1)
        of_noise = tf.math.divide_no_nan(tf.ones([], tf.float64), self.noise)
        diagonal += tf.where(self._mask, of_noise, tf.zeros([], tf.float64))
        diagonal = tf.where(self.fixed, tf.ones([], tf.float64), diagonal)
        inverse = 1.0 / tf.maximum(diagonal, 1e-12 * tf.reduce_max(diagonal, -1, keepdims=True))
        return tf.linalg.LinearOperatorDiag(
            tf.broadcast_to(inverse, self._rows), is_positive_definite=True, is_self_adjoint=True
        )
