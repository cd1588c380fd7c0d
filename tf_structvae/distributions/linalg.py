"""Products over all pixels, exact enough for a noise variance of 1e-5 in float32.

Everything of size R x R (R is the rank) is float64; everything of size N (the pixels) stays in
the dtype it came in, is read as few times as possible, and is summed in blocks whose totals are
added in float64. Products of float32 tensors that a GPU could take in TensorFloat-32 go through
`matmul` and `einsum`, which do not let it. All functions broadcast over leading batch dimensions
and have exact first and second derivatives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

_BLOCK = 128


def _block_length(n: int, target: int = _BLOCK) -> int | None:
    """The divisor of n nearest to target within a factor of four, so that blocks need no copy."""
    divisors = [b for b in range(target // 4, min(4 * target, n) + 1) if n % b == 0]
    return min(divisors, key=lambda b: abs(b - target)) if divisors else None


def sum_to_shape(x: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Sums the dimensions along which `shape` was broadcast to the shape of x.

    Args:
      x: of a shape that `shape` can be broadcast to.
      shape: int [K].
    """
    axes, _ = tf.raw_ops.BroadcastGradientArgs(s0=shape, s1=tf.shape(x))
    return tf.reshape(tf.reduce_sum(x, axes), shape)


def _tensor_float_32() -> bool:
    """Whether TensorFlow may use TensorFloat-32 for products of float32 tensors."""
    return (
        tf.config.experimental.tensor_float_32_execution_enabled()
        and len(tf.config.get_visible_devices("GPU")) > 0
    )


def _parts(x: tf.Tensor) -> list[tf.Tensor]:
    """float32 as a sum of three, each exact in the 11 bits of mantissa of a TensorFloat-32."""
    parts = []
    for _ in range(2):
        high = tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(x, tf.int32), -(2**13)), x.dtype)
        parts.append(high)
        x -= high
    return [*parts, x]


# Pairs of parts whose product is seen in float32, the small ones first.
_PAIRS = ((0, 2), (1, 1), (2, 0), (0, 1), (1, 0), (0, 0))


def matmul(
    x: tf.Tensor, y: tf.Tensor, transpose_a: bool = False, transpose_b: bool = False
) -> tf.Tensor:
    """`tf.matmul` that stays as exact as float32 where TensorFlow would use TensorFloat-32.

    Rounded to TensorFloat-32, each factor is off by up to 2^-11 of its size. Here the factors are
    sums of parts that it holds exactly, and so are their products. Which of the two is decided
    when a graph is traced and stays in the graph.

    Args:
      x: [..., A, B], or [..., B, A] if `transpose_a`.
      y: [..., B, C], or [..., C, B] if `transpose_b`.
      transpose_a: whether x is transposed.
      transpose_b: whether y is transposed.

    Returns:
      [..., A, C].
    """
    if x.dtype != tf.float32 or not _tensor_float_32():
        return tf.matmul(x, y, transpose_a, transpose_b)

    @tf.custom_gradient
    def product(x, y):
        x_parts, y_parts = _parts(x), _parts(y)
        value = functools.reduce(
            tf.add,
            (tf.matmul(x_parts[i], y_parts[j], transpose_a, transpose_b) for i, j in _PAIRS),
        )

        def grad(g):
            to_x = (y, g, transpose_b, True) if transpose_a else (g, y, False, not transpose_b)
            to_y = (g, x, True, transpose_a) if transpose_b else (x, g, not transpose_a, False)
            return [
                sum_to_shape(matmul(*arguments), tf.shape(operand))
                for arguments, operand in ((to_x, x), (to_y, y))
            ]

        return value, grad

    return product(x, y)


def einsum(equation: str, *tensors: tf.Tensor) -> tf.Tensor:
    """`tf.einsum` of small tensors, in float64 where TensorFlow would use TensorFloat-32.

    Args:
      equation: as of `tf.einsum`.
      *tensors: of one dtype.
    """
    dtype = tensors[0].dtype
    if dtype != tf.float32 or not _tensor_float_32():
        return tf.einsum(equation, *tensors)
    return tf.cast(tf.einsum(equation, *[tf.cast(t, tf.float64) for t in tensors]), dtype)


def _blocks(x: tf.Tensor, length: int) -> tf.Tensor:
    shape = tf.shape(x)
    return tf.reshape(x, tf.concat([shape[:-2], [shape[-2] // length, length, shape[-1]]], 0))


def _inner(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """x^T y over the second-last axis, float64 [..., A, B], from block sums of the given dtype."""
    if x.dtype == tf.float64:
        return matmul(x, y, transpose_a=True)
    n = x.shape[-2]
    if n is not None and n <= _BLOCK:
        return tf.cast(matmul(x, y, transpose_a=True), tf.float64)
    # Long enough for the block products to weigh little beside x, short enough for float32 sums.
    target = min(max(_BLOCK, 8 * (x.shape[-1] or 0)), 4 * _BLOCK)
    length = _block_length(n, target) if n is not None else None
    rest = tf.constant(0.0, tf.float64)
    if length is None:
        length = target
        whole = (tf.shape(x)[-2] // length) * length
        rest = tf.cast(matmul(x[..., whole:, :], y[..., whole:, :], transpose_a=True), tf.float64)
        x, y = x[..., :whole, :], y[..., :whole, :]
    partial = matmul(_blocks(x, length), _blocks(y, length), transpose_a=True)
    return tf.reduce_sum(tf.cast(partial, tf.float64), axis=-3) + rest


def _inner64(x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """x^T diag(weights) y with every product exact."""
    x, y = tf.cast(x, tf.float64), tf.cast(y, tf.float64)
    if weights is not None:
        y *= tf.cast(weights, tf.float64)[..., tf.newaxis]
    return tf.matmul(x, y, transpose_a=True)


def cross_gram(x: tf.Tensor, y: tf.Tensor, exact: bool | tf.Tensor = False) -> tf.Tensor:
    """x^T y, float64 [..., A, B].

    Args:
      x: [..., N, A].
      y: [..., N, B], of the same dtype.
      exact: whether the products are taken in float64; a bool or a scalar tensor.
    """

    @tf.custom_gradient
    def product(x, y):
        def grad(g):
            g = tf.cast(g, x.dtype)
            return (
                sum_to_shape(matmul(y, g, transpose_b=True), tf.shape(x)),
                sum_to_shape(matmul(x, g), tf.shape(y)),
            )

        if exact is False or x.dtype == tf.float64:
            return _inner(x, y), grad
        return tf.cond(exact, lambda: _inner64(x, y), lambda: _inner(x, y)), grad

    return product(x, y)


def gram(
    x: tf.Tensor,
    weights: tf.Tensor | None = None,
    needs_exact: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """x^T diag(weights) x; float32 block sums first, float64 where those are not exact enough.

    Args:
      x: [..., N, A].
      weights: [..., N] or None for one.
      needs_exact: from the float32 result to a scalar bool, whether it must be taken in float64.

    Returns:
      The product, float64 [..., A, A], and whether it was taken in float64, a scalar bool.
    """

    def value(x, weights):
        weighted = x if weights is None else x * weights[..., tf.newaxis]
        fast = _inner(x, weighted)
        if needs_exact is None or x.dtype == tf.float64:
            return fast, tf.constant(False)
        exact = needs_exact(fast)
        return tf.cond(exact, lambda: _inner64(x, x, weights), lambda: fast), exact

    def times(x, g, exact):
        """x (g + g^T): near-parallel columns cancel in it, so it is as exact as the product was."""
        g += tf.linalg.matrix_transpose(g)

        def fast():
            return matmul(x, tf.cast(g, x.dtype))

        if needs_exact is None or x.dtype == tf.float64:
            return fast()
        return tf.cond(exact, lambda: tf.cast(tf.matmul(tf.cast(x, tf.float64), g), x.dtype), fast)

    @tf.custom_gradient
    def plain(x):
        result, exact = value(x, None)
        return (result, exact), lambda g, _: times(x, g, exact)

    @tf.custom_gradient
    def weighted(x, weights):
        result, exact = value(x, weights)

        def grad(g, _):
            product = times(x, g, exact)
            to_x = sum_to_shape(product * weights[..., tf.newaxis], tf.shape(x))
            to_weights = 0.5 * tf.reduce_sum(product * x, axis=-1)
            return to_x, sum_to_shape(to_weights, tf.shape(weights))

        return (result, exact), grad

    return plain(x) if weights is None else weighted(x, weights)


def exact_gram(x: tf.Tensor) -> tf.Tensor:
    """x^T x with every product exact, float64 [..., A, A].

    Args:
      x: [..., N, A].
    """
    return gram(x, needs_exact=lambda _: tf.constant(True))[0]


# The error of a sum of float32 products relative to the largest of the diagonal ones.
FLOAT32_SUM = 2.0**-24


def is_inexact(weighted_gram: tf.Tensor, error: tf.Tensor) -> tf.Tensor:
    """Whether float32 sums lose more of I + P^T D^-1 P than the derivatives of a log-density allow.

    An error matters relative to the capacitance in its own direction, so the measure is the trace
    of K^-1 E; rounding errors are independent, and rarely as large as the bound.

    Args:
      weighted_gram: P^T D^-1 P from float32 sums, float64 [..., R, R].
      error: E, a positive semi-definite bound of its error, float64 [..., R, R].

    Returns:
      Scalar bool.
    """
    safe = capacitance(weighted_gram) + error
    relative = cholesky_solve(tf.linalg.cholesky(safe), error)
    return tf.reduce_any(tf.linalg.trace(relative) > 4e-3)


def sum_of_squares(x: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Column sums of weights * x^2, float64 [..., K], of x [..., N, K] and weights [..., N].

    Args:
      x: [..., N, K].
      weights: [..., N]; None is one.
    """
    squares = tf.square(x) if weights is None else tf.square(x) * weights[..., tf.newaxis]
    n = x.shape[-2]
    length = _block_length(n) if n is not None and n > _BLOCK else None
    if x.dtype != tf.float64 and length is not None:
        squares = tf.reduce_sum(_blocks(squares, length), axis=-2)
    return tf.reduce_sum(tf.cast(squares, tf.float64), axis=-2)


@tf.custom_gradient
def _log_det(matrix: tf.Tensor, cholesky: tf.Tensor):
    value = 2.0 * tf.reduce_sum(tf.math.log(tf.linalg.diag_part(cholesky)), axis=-1)

    def grad(g):
        return g[..., tf.newaxis, tf.newaxis] * cholesky_inverse(cholesky), None

    return value, grad


def cholesky_solve(cholesky, rhs):
    """(L L^T)^-1 rhs with broadcasting batch dimensions.

    Args:
      cholesky: L, [..., R, R].
      rhs: [..., R, K].
    """
    half = tf.linalg.triangular_solve(cholesky, rhs, lower=True)
    return tf.linalg.triangular_solve(cholesky, half, lower=True, adjoint=True)


def cholesky_inverse(cholesky: tf.Tensor) -> tf.Tensor:
    """(L L^T)^-1, [..., R, R].

    Args:
      cholesky: L, [..., R, R].
    """
    eye = tf.eye(tf.shape(cholesky)[-1], batch_shape=tf.shape(cholesky)[:-2], dtype=cholesky.dtype)
    return tf.linalg.cholesky_solve(cholesky, eye)


def inverse_root(cholesky: tf.Tensor) -> tf.Tensor:
    """L^-T, [..., R, R]: a square root of (L L^T)^-1 = L^-T L^-1 without another factorisation.

    Args:
      cholesky: L, [..., R, R].
    """
    eye = tf.eye(tf.shape(cholesky)[-1], batch_shape=tf.shape(cholesky)[:-2], dtype=cholesky.dtype)
    return tf.linalg.triangular_solve(cholesky, eye, lower=True, adjoint=True)


def log_det(matrix: tf.Tensor, cholesky: tf.Tensor) -> tf.Tensor:
    """log |M| = 2 sum log diag L for M = L L^T; d log|M| / dM = M^-1, taken from L.

    Args:
      matrix: M, [..., R, R].
      cholesky: its L, [..., R, R].
    """
    return _log_det(matrix, cholesky)


def capacitance(weighted_gram: tf.Tensor) -> tf.Tensor:
    """I + P^T D^-1 P, float64 [..., R, R], from the Gram matrix P^T D^-1 P.

    Args:
      weighted_gram: [..., R, R].
    """
    size = weighted_gram.shape[-1] or tf.shape(weighted_gram)[-1]
    # Not by `set_diag`, whose gradient XLA cannot compile where the batch is of any size.
    return weighted_gram + tf.eye(size, dtype=weighted_gram.dtype)


def symmetric_inverse_root(eigenvalues: tf.Tensor) -> tf.Tensor:
    """a with (I + Q V diag(a) V^T Q^T)^2 = I + Q Q^T, for Q^T Q = V diag(eigenvalues) V^T.

    Args:
      eigenvalues: [..., R], >= 0.
    """
    return 1.0 / (1.0 + tf.sqrt(1.0 + eigenvalues))
