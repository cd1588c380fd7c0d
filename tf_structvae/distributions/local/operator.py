"""A sparse lower triangular A over the entries of a grid: its products, solves and determinant."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from tf_structvae.distributions.factors import DenseFactor, Factor, ProductFactor
from tf_structvae.distributions.local import fused
from tf_structvae.distributions.local import neighbours as shifts
from tf_structvae.distributions.local.neighbours import apply_neighbours
from tf_structvae.distributions.local.window import Window


@dataclasses.dataclass(frozen=True)
class LocalOperator:
    """A = S^-1 (I - V) (I - W): what earlier pixels do not tell of a pixel, then earlier channels.

    ```none
    u_i = e_i - sum_j w_ij e_j,    (A e)_i = (u_i - sum_k v_ik u_k) / s_i
    ```

    over the earlier pixels j of the neighbourhood, in all channels or in the own one, and the
    earlier channels k of the same pixel. A acts on tensors [..., N, K], K columns at once, N in
    raster order, channels last.

    Attributes:
      window: the grid and the neighbourhood.
      neighbours: w, [..., *space, C, J, C], or [..., *space, 1, J, 1]: the own channel alone, with
        the same weights for each. None: none.
      channels: v, [..., *space, C, C] or with 1 in the place of each axis of space; only what is
        strictly below the diagonal counts. None: none.
      scale: s > 0, [..., *space, C].
      fused: whether products are compiled by XLA, see `fused`.
    """

    window: Window
    neighbours: tf.Tensor | None
    channels: tf.Tensor | None
    scale: tf.Tensor
    fused: bool = False

    def among(self, counted: tf.Tensor) -> LocalOperator:
        """Without the weights of and for entries that do not count.

        Args:
          counted: one or zero, [..., *space, C].
        """
        neighbours, channels = self.neighbours, self.channels
        if neighbours is not None and self.window.offsets:
            wide = shifts.padded(counted, self.window, behind=1)
            seen = [shifts.part(wide, self.window, o, behind=1) for o in self.window.offsets]
            count = self.window.channels
            both = tf.stack(seen, axis=-2)[..., tf.newaxis, :, :]
            own = tf.eye(count, dtype=counted.dtype)[:, tf.newaxis]
            # [..., C, J, C], also where one weight served all channels
            neighbours = neighbours * (own if neighbours.shape[-1] != count else 1.0)
            neighbours = neighbours * both * counted[..., tf.newaxis, tf.newaxis]
        if channels is not None:
            channels = channels * counted[..., tf.newaxis, :] * counted[..., tf.newaxis]
        return dataclasses.replace(self, neighbours=neighbours, channels=channels)

    def cast(self, dtype: tf.DType) -> LocalOperator:
        """In another precision.

        Args:
          dtype: a floating type.
        """
        neighbours, channels = (
            None if x is None else tf.cast(x, dtype) for x in (self.neighbours, self.channels)
        )
        scale = tf.cast(self.scale, dtype)
        return dataclasses.replace(self, neighbours=neighbours, channels=channels, scale=scale)

    # --- Shapes ---------------------------------------------------------------------------------

    def image(self, x: tf.Tensor) -> tf.Tensor:
        """[..., N, K] -> [..., *space, C, K].

        Args:
          x: [..., N, K].
        """
        shape = tf.concat([tf.shape(x)[:-2], self.window.grid, tf.shape(x)[-1:]], 0)
        return tf.ensure_shape(
            tf.reshape(x, shape), [*x.shape[:-2], *self.window.grid, x.shape[-1]]
        )

    def _flat(self, x: tf.Tensor) -> tf.Tensor:
        """The inverse."""
        axes = len(self.window.grid) + 1
        shape = tf.concat([tf.shape(x)[:-axes], [self.window.size], tf.shape(x)[-1:]], 0)
        return tf.ensure_shape(
            tf.reshape(x, shape), [*x.shape[:-axes], self.window.size, x.shape[-1]]
        )

    def _pixels(self, name: str, image: tf.Tensor) -> tf.Tensor:
        """A method of I - W; one weight for all channels sees them as columns."""
        return apply_neighbours(name, self.window, self.neighbours, image)

    def below(self) -> tf.Tensor | None:
        """V: the weights of the same pixel, zero on and above the diagonal."""
        if self.channels is None or self.window.channels == 1:
            return None
        # `band_part` goes through small matrices one by one
        return self.channels * tf.constant(np.tri(self.window.channels, k=-1), self.channels.dtype)

    # --- Products -------------------------------------------------------------------------------

    def matmul(self, x: tf.Tensor) -> tf.Tensor:
        """A x.

        Args:
          x: [..., N, K].
        """
        run = fused.product if self.fused else _product
        return self._flat(
            run(self.window, self.neighbours, self.below(), self.scale, self.image(x))
        )

    def matmul_transposed(self, x: tf.Tensor) -> tf.Tensor:
        """A^T x.

        Args:
          x: [..., N, K].
        """
        found = self.image(x) / self.scale[..., tf.newaxis]
        below = self.below()
        if below is not None:
            found -= shifts.weighted(tf.linalg.matrix_transpose(below), found)
        return self._flat(self._pixels("transposed", found))

    def times_factor(self, factor: Factor) -> Factor:
        """A P; of a product of features and kernel, I - W acts on the features if it can.

        Args:
          factor: P.
        """
        shared = self.neighbours is None or self.neighbours.shape[-1] == 1
        if not (isinstance(factor, ProductFactor) and shared and factor.row_scale is None):
            return DenseFactor(self.matmul(factor.dense()))
        features, kernel = factor.features, factor.kernel
        one = dataclasses.replace(
            self,
            window=Window((*self.window.space, 1), self.window.radius),
            channels=None,
            scale=tf.ones([*self.window.space, 1], self.scale.dtype),
        )
        features = one.matmul(features)
        if self.below() is None:
            return ProductFactor(features, kernel, 1.0 / self._flat(self.scale[..., None])[..., 0])
        rest = dataclasses.replace(self, neighbours=None)
        return DenseFactor(rest.matmul(ProductFactor(features, kernel).dense()))

    def column_squares(self) -> tf.Tensor:
        """The diagonal of A^T A, [..., N]."""
        window, count = self.window, self.window.channels
        own = tf.eye(count, dtype=self.scale.dtype)
        below = self.below()
        block = (own if below is None else own - below) / self.scale[..., tf.newaxis]
        found = tf.reduce_sum(tf.square(block), axis=-2)
        if self.neighbours is not None:
            for k, offset in enumerate(window.offsets):
                weights = self.neighbours[..., k, :]
                seen = block * weights if weights.shape[-1] == 1 else tf.matmul(block, weights)
                squares = tf.reduce_sum(tf.square(seen), axis=-2)
                back = tuple(-o for o in offset)
                wide = shifts.padded(squares, window, behind=1)
                found += shifts.part(wide, window, back, behind=1)
        return self._flat(found[..., tf.newaxis])[..., 0]

    # --- Solves ---------------------------------------------------------------------------------

    def solve(self, x: tf.Tensor) -> tf.Tensor:
        """A^-1 x: the channels of each pixel, then one wavefront of pixels after the other.

        Args:
          x: [..., N, K].
        """
        found = self._channels(self.image(x) * self.scale[..., tf.newaxis], transposed=False)
        return self._flat(self._pixels("solve", found))

    def solve_transposed(self, x: tf.Tensor) -> tf.Tensor:
        """A^-T x.

        Args:
          x: [..., N, K].
        """
        found = self._channels(self._pixels("solve_transposed", self.image(x)), transposed=True)
        return self._flat(found * self.scale[..., tf.newaxis])

    def _channels(self, image: tf.Tensor, transposed: bool) -> tf.Tensor:
        """(I - V)^-1 or its transpose, the channels of a pixel one after the other."""
        below = self.below()
        if below is None:
            return image
        if transposed:
            below = tf.reverse(tf.linalg.matrix_transpose(below), [-2, -1])
            image = tf.reverse(image, [-2])
        found = [image[..., 0, :]]
        for c in range(1, self.window.channels):
            known = tf.stack(found, axis=-2)
            found.append(image[..., c, :] + tf.matmul(below[..., c : c + 1, :c], known)[..., 0, :])
        # a batch of the weights makes all but the first broadcast
        shape = tf.shape(found[-1])
        stacked = tf.stack([tf.broadcast_to(x, shape) for x in found], axis=-2)
        return tf.reverse(stacked, [-2]) if transposed else stacked

    def log_det(self) -> tf.Tensor:
        """log|A| = -sum log s, float64 [...]."""
        axes = list(range(-len(self.window.grid), 0))
        return -tf.reduce_sum(tf.math.log(tf.cast(self.scale, tf.float64)), axis=axes)


def _product(window, neighbours, below, scale, image):
    found = apply_neighbours("product", window, neighbours, image)
    if below is not None:
        found -= shifts.weighted(below, found)
    return found / scale[..., tf.newaxis]
