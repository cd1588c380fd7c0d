"""K = I + P^T W P = L L^T, and what follows from it: the algebra of one distribution."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.distributions.factors import Factor

# |r|^2 / |r - P c|^2 above which float32 rounding of c reaches the gradient.
_LITTLE_LEFT = 1e4


@dataclasses.dataclass(frozen=True)
class Factorisation:
    """The capacitance K of a factor P and a precision W = D^-1, float64 [..., R, R].

    `precision` is [..., 1] where W is a multiple of the identity, [..., N] elsewhere; it is zero
    for entries that take no part (point masses, or entries that are not observed).
    """

    factor: Factor
    precision: tf.Tensor
    capacitance: tf.Tensor
    cholesky: tf.Tensor
    exact: tf.Tensor  # whether float32 sums were not accurate enough, scalar bool

    @classmethod
    def of(cls, factor: Factor, precision: tf.Tensor, exact: bool = False) -> Factorisation:
        """
        Args:
          factor: P.
          precision: see above.
          exact: whether sums are float64 even where float32 keeps log|K| and the density accurate.
        """
        if precision.shape[-1] == 1:
            scale = tf.cast(precision, tf.float64)[..., 0]
            gram, taken = factor.gram(None, None if exact else scale)
            gram *= scale[..., tf.newaxis, tf.newaxis]
        else:
            gram, taken = factor.gram(precision, None if exact else tf.ones([], tf.float64))
        capacitance = linalg.capacitance(gram)
        return cls(factor, precision, capacitance, tf.linalg.cholesky(capacitance), taken)

    def log_det(self) -> tf.Tensor:
        """log|K|, float64 [...]."""
        return linalg.log_det(self.capacitance, self.cholesky)

    def inverse(self) -> tf.Tensor:
        """K^-1, the covariance of omega_p given a value, float64 [..., R, R]."""
        return linalg.cholesky_inverse(self.cholesky)

    def _project(self, residual: tf.Tensor) -> tf.Tensor:
        """P^T W r, float64 [..., R, K], for r [..., N, K]."""
        if self.precision.shape[-1] == 1:
            scale = tf.cast(self.precision, tf.float64)[..., tf.newaxis]
            return self.factor.rmatmul(residual, self.exact) * scale
        return self.factor.rmatmul(residual * self.precision[..., tf.newaxis], self.exact)

    def _stopped(self) -> Factorisation:
        """The same without derivatives; in graphs a cond on others has no second one."""
        return dataclasses.replace(
            self,
            factor=self.factor.stopped(),
            precision=tf.stop_gradient(self.precision),
            capacitance=tf.stop_gradient(self.capacitance),
            cholesky=tf.stop_gradient(self.cholesky),
        )

    def explain(self, residual: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The noise mean c = K^-1 P^T W r, and what it leaves of r, r - P c.

        Where next to nothing is left, the rounding of c would be seen in the gradient, so c is
        refined once by the projection of what is left. That correction is zero but for rounding,
        and so is its derivative.

        Args:
          residual: r, [..., N, K].

        Returns:
          c, float64 [..., R, K], and r - P c, [..., N, K].
        """
        c = linalg.cholesky_solve(self.cholesky, self._project(residual))
        left = residual - self.factor.matmul(c)
        if residual.dtype == tf.float64:
            return c, left
        fixed = self._stopped()
        r, found, left_over = map(tf.stop_gradient, (residual, c, left))

        def correction():
            gradient = fixed._project(left_over) - found
            return linalg.cholesky_solve(fixed.cholesky, gradient)

        small = tf.reduce_any(
            linalg.sum_of_squares(r) > _LITTLE_LEFT * linalg.sum_of_squares(left_over)
        )
        more = tf.cond(small, correction, lambda: tf.zeros_like(found))
        explained = tf.cond(
            small, lambda: fixed.factor.matmul(more), lambda: tf.zeros_like(left_over)
        )
        refined, left = c + more, left - explained
        return refined, left

    def mahalanobis(self, residual: tf.Tensor, c: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """r^T Sigma^-1 r = (r - P c)^T W (r - P c) + c^T c, float64 [..., K].

        The noise mean c minimises that form, so its first derivative may treat c as a constant,
        which spares two passes over the pixels and their noise. c and what is left of r still
        arrive as arguments whose own gradient is None, so that the derivative of the derivative
        sees them.

        Args:
          residual: r, [..., N, K].
          c: from `explain`.
          left: from `explain`.
        """
        isotropic = self.precision.shape[-1] == 1
        factor = self.factor

        @tf.custom_gradient
        def form(left, c, residual, precision, *tensors):
            if isotropic:
                squares = linalg.sum_of_squares(left) * tf.cast(precision, tf.float64)
            else:
                squares = linalg.sum_of_squares(left, precision)
            value = squares + tf.reduce_sum(tf.square(c), axis=-2)

            def grad(g):
                g = tf.cast(g, residual.dtype)[..., tf.newaxis, :]
                to_residual = 2.0 * g * left * precision[..., tf.newaxis]
                to_precision = tf.reduce_sum(g * tf.square(left), axis=-1)
                if isotropic:
                    to_precision = tf.reduce_sum(to_precision, axis=-1, keepdims=True)
                to_factor = factor.matmul_vjp(-to_residual, c)
                return [
                    None,
                    None,
                    linalg.sum_to_shape(to_residual, tf.shape(residual)),
                    linalg.sum_to_shape(to_precision, tf.shape(precision)),
                    *to_factor,
                ]

            return value, grad

        return form(left, c, residual, self.precision, *factor.tensors)
