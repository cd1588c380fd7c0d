"""A sparse lower triangular A over the entries of a grid: its products, solves and determinant."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_structvae.distributions.local import wavefront
from tf_structvae.distributions.local.window import Window


@dataclasses.dataclass(frozen=True)
class LocalOperator:
    """(A e)_i = (e_i - sum_j w_ij e_j) / s_i over the predecessors j of each entry i.

    A acts on tensors [..., N, K], K columns at once, N in raster order, channels last. Products are
    sums of shifted images; no index is computed and no sparse matrix is made.

    Attributes:
      window: the grid and its predecessors.
      neighbours: w of the earlier pixels, [..., *space, C, J, C]; J = 0 for none.
      channels: w of the same pixel's channels, [..., *space, C, C]; only what is strictly below the
        diagonal counts. None: none.
      scale: s > 0, [..., *space, C].
    """

    window: Window
    neighbours: tf.Tensor
    channels: tf.Tensor | None
    scale: tf.Tensor

    @property
    def tensors(self) -> list[tf.Tensor]:
        """What it is made of."""
        own = [self.neighbours, self.scale]
        return own if self.channels is None else [*own, self.channels]

    def _of(self, tensors) -> LocalOperator:
        neighbours, scale, *channels = tensors
        return LocalOperator(self.window, neighbours, channels[0] if channels else None, scale)

    def among(self, counted: tf.Tensor) -> LocalOperator:
        """Without the weights of and for entries that do not count.

        Args:
          counted: one or zero, [..., *space, C].
        """
        padded = _padded(counted, self.window, behind=1)
        seen = [_part(padded, self.window, o, behind=1) for o in self.window.offsets]
        neighbours, channels = self.neighbours, self.channels
        if seen:
            both = tf.stack(seen, axis=-2)[..., tf.newaxis, :, :]
            neighbours = neighbours * both * counted[..., tf.newaxis, tf.newaxis]
        if channels is not None:
            channels = channels * counted[..., tf.newaxis, :] * counted[..., tf.newaxis]
        return LocalOperator(self.window, neighbours, channels, self.scale)

    # --- Shapes ---------------------------------------------------------------------------------

    def _image(self, x: tf.Tensor) -> tf.Tensor:
        """[..., N, K] -> [..., *space, C, K]."""
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

    def _below(self) -> tf.Tensor | None:
        """The weights of the same pixel, zero on and above the diagonal."""
        if self.channels is None:
            return None
        return tf.linalg.band_part(self.channels, -1, 0) - tf.linalg.band_part(self.channels, 0, 0)

    # --- Products -------------------------------------------------------------------------------

    def matmul(self, x: tf.Tensor) -> tf.Tensor:
        """A x.

        Args:
          x: [..., N, K].
        """
        image = self._image(x)
        found = image
        padded = _padded(image, self.window, behind=2)
        for k, offset in enumerate(self.window.offsets):
            moved = _part(padded, self.window, offset, behind=2)
            found -= _weighted(self.neighbours[..., k, :], moved)
        below = self._below()
        if below is not None:
            found -= _weighted(below, image)
        return self._flat(found / self.scale[..., tf.newaxis])

    def matmul_transposed(self, x: tf.Tensor) -> tf.Tensor:
        """A^T x.

        Args:
          x: [..., N, K].
        """
        image = self._image(x) / self.scale[..., tf.newaxis]
        found = image
        for k, offset in enumerate(self.window.offsets):
            sent = _weighted(tf.linalg.matrix_transpose(self.neighbours[..., k, :]), image)
            back = tuple(-o for o in offset)
            found -= _part(_padded(sent, self.window, behind=2), self.window, back, behind=2)
        below = self._below()
        if below is not None:
            found -= _weighted(tf.linalg.matrix_transpose(below), image)
        return self._flat(found)

    # --- Solves ---------------------------------------------------------------------------------

    def solve(self, x: tf.Tensor) -> tf.Tensor:
        """A^-1 x by forward substitution, one wavefront of pixels after the other.

        Args:
          x: [..., N, K].
        """
        return _differentiable(self, _solve, lambda a, g: a._transposed_solve(g), x)

    def solve_transposed(self, x: tf.Tensor) -> tf.Tensor:
        """A^-T x.

        Args:
          x: [..., N, K].
        """

        def forward(a, b):
            return a._transposed_solve(b)

        return _differentiable(self, forward, _solve, x, transposed=True)

    def _transposed_solve(self, x: tf.Tensor) -> tf.Tensor:
        """Backward substitution is a forward one on the grid turned round."""
        space = len(self.window.space)

        def turned(t, behind):
            axes = [t.shape.rank - behind - i for i in range(1, space + 1)]
            return tf.reverse(t, axes)

        # w of an entry for its predecessor at an offset becomes that of the predecessor for it
        moved = [
            tf.linalg.matrix_transpose(
                _part(
                    _padded(self.neighbours[..., k, :], self.window, behind=2),
                    self.window,
                    tuple(-o for o in offset),
                    behind=2,
                )
            )
            for k, offset in enumerate(self.window.offsets)
        ]
        neighbours = self.neighbours
        if moved:
            neighbours = tf.reverse(turned(tf.stack(moved, axis=-2), 3), [-3, -1])
        below = self._below()
        if below is not None:
            below = tf.reverse(turned(tf.linalg.matrix_transpose(below), 2), [-2, -1])
        scale = tf.reverse(turned(self.scale, 1), [-1])
        image = tf.reverse(turned(self._image(x), 2), [-2])
        unit = LocalOperator(self.window, neighbours, below, tf.ones_like(scale))
        found = unit._image(_solve(unit, unit._flat(image)))
        found *= scale[..., tf.newaxis]
        return self._flat(tf.reverse(turned(found, 2), [-2]))

    def log_det(self) -> tf.Tensor:
        """log|A| = -sum log s, float64 [...]."""
        axes = list(range(-len(self.window.grid), 0))
        return -tf.reduce_sum(tf.math.log(tf.cast(self.scale, tf.float64)), axis=axes)


def _padded(image: tf.Tensor, window: Window, behind: int) -> tf.Tensor:
    """Zeros around the pixels; `behind` axes follow those of space."""
    before = image.shape.rank - behind - len(window.space)
    pads = [(0, 0)] * before + [(window.radius, window.radius)] * len(window.space)
    return tf.pad(image, [*pads, *[(0, 0)] * behind])


def _part(padded: tf.Tensor, window: Window, offset: tuple[int, ...], behind: int) -> tf.Tensor:
    """At each pixel what is at an offset from it."""
    before = padded.shape.rank - behind - len(window.space)
    own = tuple(
        slice(window.radius + o, window.radius + o + n)
        for o, n in zip(offset, window.space, strict=True)
    )
    return padded[(*(slice(None),) * before, *own)]


def _weighted(weights: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """sum_c' w[..., c, c'] x[..., c', K]."""
    if weights.shape[-1] == 1:
        return weights * image
    return tf.matmul(weights, image)


def _solve(a: LocalOperator, x: tf.Tensor) -> tf.Tensor:
    image = a._image(x) * a.scale[..., tf.newaxis]
    return a._flat(wavefront.substitute(a.window, a.neighbours, a._below(), image))


def _differentiable(a: LocalOperator, forward, backward, x, transposed=False) -> tf.Tensor:
    """A solve whose gradient is the transposed solve, u = A^-T g: u for x, and -u y^T for A."""

    @tf.custom_gradient
    def run(x, *tensors):
        own = a._of(tensors)
        y = forward(own, x)

        def grad(g):
            u = backward(own, g)
            held, fixed = tf.stop_gradient(y), tf.stop_gradient(u)
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                again = a._of(tensors)
                product = again.matmul_transposed(held) if transposed else again.matmul(held)
                total = -tf.reduce_sum(fixed * product)
            to_tensors = tape.gradient(total, list(tensors), unconnected_gradients="zero")
            return [_sum_to(u, x), *to_tensors]

        return y, grad

    return run(x, *a.tensors)


def _sum_to(gradient: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Summed over axes that broadcasting added."""
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(gradient), s1=tf.shape(like))
    return tf.reshape(tf.reduce_sum(gradient, axis=axes), tf.shape(like))
