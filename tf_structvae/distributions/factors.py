"""The covariance factor P [..., N, R]: a dense tensor, or features times kernel, never built.

A factor offers the five products that the distribution needs. `matmul_vjp` gives the gradient of
<cotangent, P c> for the factor's own tensors, so that the distribution can hold c fixed.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import tensorflow as tf

from tf_structvae.distributions import linalg


class Factor(abc.ABC):
    """A matrix P [..., N, R] known by its products."""

    tensors: Sequence[tf.Tensor]
    dtype: tf.DType

    @property
    @abc.abstractmethod
    def rank(self) -> int | None:
        """R, or None where it is not static."""

    @abc.abstractmethod
    def gram(self, weights: tf.Tensor | None = None, scale: tf.Tensor | None = None):
        """P^T diag(weights) P, float64 [..., R, R], and whether float32 sums would not have done.

        Args:
          weights: [..., N], or None for one.
          scale: float64 [...]; the sums may be float32 if I + scale * P^T diag(weights) P stays
            accurate. None: they are float64.

        Returns:
          The matrix, and a scalar bool.
        """

    @abc.abstractmethod
    def matmul(self, c: tf.Tensor) -> tf.Tensor:
        """P c, [..., N, K], for c [..., R, K]."""

    @abc.abstractmethod
    def matmul_vjp(self, cotangent: tf.Tensor, c: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of sum(cotangent * (P c)) for `tensors`; cotangent [..., N, K]."""

    @abc.abstractmethod
    def rmatmul(self, r: tf.Tensor, exact: bool | tf.Tensor = False) -> tf.Tensor:
        """P^T r, float64 [..., R, K], for r [..., N, K]; `exact`: from float64 products."""

    @abc.abstractmethod
    def row_sum_of_squares(self) -> tf.Tensor:
        """Squared row norms, the diagonal of P P^T, [..., N]."""

    @abc.abstractmethod
    def mix(self, matrix: tf.Tensor) -> Factor:
        """P T, for T [..., R, K]."""

    @abc.abstractmethod
    def scale_rows(self, weights: tf.Tensor) -> Factor:
        """diag(weights) P, for weights [..., N]."""

    @abc.abstractmethod
    def gather_rows(self, indices: tf.Tensor) -> DenseFactor:
        """The rows at indices [K], dense [..., K, R]."""

    @abc.abstractmethod
    def dense(self) -> tf.Tensor:
        """P itself, [..., N, R]."""

    def stopped(self) -> Factor:
        """P as a constant for the gradient."""
        return type(self)(*map(tf.stop_gradient, self.tensors))


class DenseFactor(Factor):
    """P as a tensor."""

    def __init__(self, matrix: tf.Tensor):
        self.matrix = matrix
        self.tensors = [matrix]
        self.dtype = matrix.dtype

    @property
    def rank(self):
        return self.matrix.shape[-1]

    def gram(self, weights=None, scale=None):
        def needs_exact(gram):
            eye = tf.eye(tf.shape(gram)[-1], dtype=gram.dtype)
            return _needs_exact(gram, gram, eye, scale)

        return linalg.gram(self.matrix, weights, needs_exact)

    def matmul(self, c):
        return linalg.matmul(self.matrix, tf.cast(c, self.dtype))

    def matmul_vjp(self, cotangent, c):
        gradient = linalg.matmul(cotangent, tf.cast(c, self.dtype), transpose_b=True)
        return [linalg.sum_to_shape(gradient, tf.shape(self.matrix))]

    def rmatmul(self, r, exact=False):
        return linalg.cross_gram(self.matrix, r, exact)

    def row_sum_of_squares(self):
        return tf.reduce_sum(tf.square(self.matrix), axis=-1)

    def mix(self, matrix):
        return DenseFactor(linalg.matmul(self.matrix, tf.cast(matrix, self.dtype)))

    def scale_rows(self, weights):
        return DenseFactor(self.matrix * weights[..., tf.newaxis])

    def gather_rows(self, indices):
        return DenseFactor(tf.gather(self.matrix, indices, axis=-2))

    def dense(self):
        return self.matrix


def _needs_exact(gram, sums, through, scale):
    """Whether I + scale * gram is inexact: the error of `sums` reaches it times `through`."""
    if scale is None:
        return tf.constant(True)
    scale = scale[..., tf.newaxis, tf.newaxis]
    peak = tf.reduce_max(tf.linalg.diag_part(sums), axis=-1)[..., tf.newaxis, tf.newaxis]
    return linalg.is_inexact(gram * scale, linalg.FLOAT32_SUM * peak * scale * through)


class ProductFactor(Factor):
    """P = diag(row_scale) (features x kernel), with row_scale = 1 if None.

    `P[s, c, :] = features[s] kernel[:, c, :]` at pixel s and channel c, N = S * C; features
    [..., S, F], kernel [..., F, C, R], row_scale [..., N]. No product touches more than S x F
    numbers, so the cost hardly depends on R.
    """

    def __init__(self, features: tf.Tensor, kernel: tf.Tensor, row_scale: tf.Tensor | None = None):
        self.features = features
        self.kernel = kernel
        self.row_scale = row_scale
        self.tensors = [features, kernel] + ([] if row_scale is None else [row_scale])
        self.dtype = features.dtype

    @property
    def rank(self):
        return self.kernel.shape[-1]

    @property
    def _channels(self):
        return self.kernel.shape[-2]

    def _to_pixels(self, r):
        """[..., N, K] -> [..., S, C * K]."""
        shape = tf.shape(r)
        pixels = shape[-2] // self._channels
        return tf.reshape(r, tf.concat([shape[:-2], [pixels, self._channels * shape[-1]]], 0))

    def _times_features(self, mixed):
        """features x mixed [..., F, C, K] without the row scale, [..., N, K]."""
        shape = tf.shape(mixed)
        flat = tf.reshape(mixed, tf.concat([shape[:-2], [self._channels * shape[-1]]], 0))
        product = linalg.matmul(self.features, flat)
        pixels, static = self.features.shape[-2], product.shape[:-2]
        shape = tf.concat([tf.shape(product)[:-2], [-1, shape[-1]]], 0)
        n = None if pixels is None else pixels * self._channels
        return tf.ensure_shape(tf.reshape(product, shape), [*static, n, mixed.shape[-1]])

    def _scaled(self, x):
        return x if self.row_scale is None else x * self.row_scale[..., tf.newaxis]

    def _mixed(self, matrix):
        return linalg.einsum("...fcr,...rk->...fck", self.kernel, tf.cast(matrix, self.dtype))

    def _moments(self, r, exact=False):
        """features^T r by channel, float64 [..., F, C, K], for r [..., N, K]."""
        moments = linalg.cross_gram(self.features, self._to_pixels(r), exact)
        shape = tf.concat([tf.shape(moments)[:-1], [self._channels, tf.shape(r)[-1]]], 0)
        return tf.reshape(moments, shape)

    def gram(self, weights=None, scale=None):
        if self.row_scale is not None:
            square = tf.square(self.row_scale)
            weights = square if weights is None else weights * square
        kernel = tf.cast(self.kernel, tf.float64)
        if weights is None:
            return self._feature_gram(None, kernel, scale)
        by_channel = self._to_pixels(weights[..., tf.newaxis])
        # each channel decides for itself: with the others added it could only be laxer
        parts = [
            self._feature_gram(by_channel[..., c], kernel[..., c : c + 1, :], scale)
            for c in range(self._channels)
        ]
        return tf.add_n([g for g, _ in parts]), tf.reduce_any([exact for _, exact in parts])

    def _feature_gram(self, weights, kernel, scale):
        """sum_c W_c^T (features^T diag(weights) features) W_c over the channels of `kernel`."""

        def through(features):
            return tf.einsum("...fcr,...fg,...gcq->...rq", kernel, features, kernel)

        def needs_exact(features):
            squares = tf.einsum("...fcr,...fcq->...rq", kernel, kernel)
            return _needs_exact(through(features), features, squares, scale)

        features, exact = linalg.gram(self.features, weights, needs_exact)
        return through(features), exact

    def matmul(self, c):
        """P c, with kernel x c as two floats: its rounding would be the same at every pixel."""
        if self.dtype == tf.float64:
            return self._scaled(self._times_features(self._mixed(c)))
        kernel = tf.cast(self.kernel, tf.float64)
        mixed = tf.einsum("...fcr,...rk->...fck", kernel, tf.cast(c, tf.float64))
        high = tf.cast(mixed, self.dtype)
        low = tf.cast(mixed - tf.cast(high, tf.float64), self.dtype)
        products = self._times_features(tf.concat([high, low], axis=-1))
        return self._scaled(tf.add_n(tf.split(products, 2, axis=-1)))

    def matmul_vjp(self, cotangent, c):
        c = tf.cast(c, self.dtype)
        mixed = self._mixed(c)
        shape = tf.shape(mixed)
        flat = tf.reshape(mixed, tf.concat([shape[:-2], [shape[-2] * shape[-1]]], 0))
        scaled = self._scaled(cotangent)
        to_features = linalg.matmul(self._to_pixels(scaled), flat, transpose_b=True)
        moments = tf.cast(self._moments(scaled), self.dtype)
        to_kernel = linalg.einsum("...fck,...rk->...fcr", moments, c)
        gradients = [to_features, to_kernel]
        if self.row_scale is not None:
            gradients.append(tf.reduce_sum(cotangent * self._times_features(mixed), axis=-1))
        return [
            linalg.sum_to_shape(g, tf.shape(t))
            for g, t in zip(gradients, self.tensors, strict=True)
        ]

    def rmatmul(self, r, exact=False):
        kernel = tf.cast(self.kernel, tf.float64)
        return tf.einsum("...fcr,...fck->...rk", kernel, self._moments(self._scaled(r), exact))

    def row_sum_of_squares(self):
        by_channel = []
        for c in range(self._channels):
            k = self.kernel[..., c, :]
            metric = linalg.matmul(k, k, transpose_b=True)
            by_channel.append(
                tf.reduce_sum(linalg.matmul(self.features, metric) * self.features, axis=-1)
            )
        stacked = tf.stack(by_channel, axis=-1)
        squares = tf.reshape(stacked, tf.concat([tf.shape(stacked)[:-2], [-1]], 0))
        return squares if self.row_scale is None else squares * tf.square(self.row_scale)

    def mix(self, matrix):
        return ProductFactor(self.features, self._mixed(matrix), self.row_scale)

    def scale_rows(self, weights):
        scale = weights if self.row_scale is None else weights * self.row_scale
        return ProductFactor(self.features, self.kernel, scale)

    def gather_rows(self, indices):
        pixel, channel = indices // self._channels, indices % self._channels
        features = tf.gather(self.features, pixel, axis=-2)
        kernel = tf.gather(self.kernel, channel, axis=-2)
        rows = linalg.einsum("...kf,...fkr->...kr", features, kernel)
        if self.row_scale is not None:
            rows *= tf.gather(self.row_scale, indices, axis=-1)[..., tf.newaxis]
        return DenseFactor(rows)

    def dense(self):
        return self._scaled(self._times_features(self.kernel))
