"""A low-rank and local normal given some of its entries, by conjugate gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import linalg
from tf_structvae.distributions.local.operator import LocalOperator

if TYPE_CHECKING:
    from typing import Protocol

    class Joint(Protocol):
        """What it needs of a `LocalLowRankNormal`."""

        dtype: tf.DType
        rank: int
        batch_shape: tf.TensorShape
        window: Any
        _loc: tf.Tensor

        def local(self) -> LocalOperator: ...
        def sample(self, n: int, seed: Any) -> tf.Tensor: ...
        def _factor(self) -> tf.Tensor: ...
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

    def __init__(self, joint: Joint, mask, value, noise: float, tolerance: float, most: int):
        """
        Args:
          joint: a `LocalLowRankNormal`.
          mask: bool [..., N].
          value: [..., N].
          noise: variance of the observation; 0: exact.
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
        if self._noise:
            right = error / self._noise
        else:
            right = tf.where(self._mask, 0.0, -self._precision.times(error))
        shape = tf.broadcast_dynamic_shape(tf.shape(right), self._precision.shape_tensor_of_rows())
        right = tf.broadcast_to(right, shape)
        found = tf.linalg.experimental.conjugate_gradient(
            self._precision,
            right,
            preconditioner=self._precision.jacobi(),
            tol=self._tolerance,
            max_iter=self._most,
        )
        moved = found.x if self._noise else tf.where(self._mask, error, found.x)
        left = tf.math.divide_no_nan(tf.norm(found.r, axis=-1), tf.norm(right, axis=-1))
        return y + tf.cast(moved, self.dtype), found.i, left

    def _mean(self):
        return self._conditional_mean

    _mode = _mean

    def _sample_n(self, n, seed=None):
        seeds = tfp.random.split_seed(seed, n=2, salt="ConditionalNormal")
        drawn = self._joint.sample(n, seed=seeds[0])
        observed = self._value
        if self._noise:
            shape = tf.broadcast_dynamic_shape(tf.shape(drawn), tf.shape(observed))
            noise = tf.random.stateless_normal(shape, seeds[1], dtype=self.dtype)
            observed += self._noise**0.5 * noise
        return self._correct(drawn, observed)[0]


class _Precision(tf.linalg.LinearOperator):
    """The precision of the entries that are not observed, float64; one of the others is 1."""

    def __init__(self, joint: Joint, mask: tf.Tensor, noise: float):
        local = joint.local()
        self._local = LocalOperator(
            local.window,
            tf.cast(local.neighbours, tf.float64),
            None if local.channels is None else tf.cast(local.channels, tf.float64),
            tf.cast(local.scale, tf.float64),
        )
        self._mask, self._noise = mask, noise
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
            q = self._local.matmul(tf.cast(joint._factor(), tf.float64))
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
        if self._noise:
            return self.times(x) + tf.where(self._mask, x / self._noise, 0.0)
        free = tf.where(self._mask, 0.0, x)
        return tf.where(self._mask, x, self.times(free))

    def jacobi(self) -> tf.linalg.LinearOperatorDiag:
        """The inverse of its diagonal."""
        local = self._local
        squared = LocalOperator(
            local.window,
            -tf.square(local.neighbours),
            None if local.channels is None else -tf.square(local.channels),
            tf.square(local.scale),
        )
        ones = tf.ones([tf.shape(self._mask)[-1], 1], tf.float64)
        diagonal = squared.matmul_transposed(ones)[..., 0]
        if self._explained is not None:
            diagonal -= tf.reduce_sum(tf.square(self._explained), axis=-1)
        if self._noise:
            diagonal += tf.where(self._mask, 1.0 / self._noise, tf.zeros([], tf.float64))
        else:
            diagonal = tf.where(self._mask, tf.ones([], tf.float64), diagonal)
        inverse = 1.0 / tf.maximum(diagonal, 1e-12 * tf.reduce_max(diagonal, -1, keepdims=True))
        return tf.linalg.LinearOperatorDiag(
            tf.broadcast_to(inverse, self._rows), is_positive_definite=True, is_self_adjoint=True
        )
