"""I - W, the part of a local factor that looks at other pixels: products and solves on a grid."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_structvae.distributions.local import wavefront
from tf_structvae.distributions.local.window import Window


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """x_i - sum_j w_ij x_j over the earlier pixels j around i, on images [..., *space, C, K].

    Products are sums of shifted images; no index is computed and no sparse matrix is made.

    Attributes:
      window: the grid and the neighbourhood.
      weights: w, [..., *space, C, J, C].
    """

    window: Window
    weights: tf.Tensor

    def product(self, image: tf.Tensor) -> tf.Tensor:
        """(I - W) x.

        Args:
          image: x, [..., *space, C, K].
        """
        found, wide = image, padded(image, self.window, behind=2)
        for k, offset in enumerate(self.window.offsets):
            seen = part(wide, self.window, offset, behind=2)
            found -= weighted(self.weights[..., k, :], seen)
        return found

    def transposed(self, image: tf.Tensor) -> tf.Tensor:
        """(I - W)^T x.

        Args:
          image: x, [..., *space, C, K].
        """
        found = image
        for k, offset in enumerate(self.window.offsets):
            sent = weighted(tf.linalg.matrix_transpose(self.weights[..., k, :]), image)
            back = tuple(-o for o in offset)
            found -= part(padded(sent, self.window, behind=2), self.window, back, behind=2)
        return found

    def solve(self, image: tf.Tensor) -> tf.Tensor:
        """(I - W)^-1 x by forward substitution, one wavefront of pixels after the other.

        Args:
          image: x, [..., *space, C, K].
        """

        @tf.custom_gradient
        def run(weights, x):
            own = dataclasses.replace(self, weights=weights)
            y = _substitute(self.window, weights, x)

            def grad(g):
                u = own.solve_transposed(g)
                return _sum_to(_outer(self.window, u, y), weights), _sum_to(u, x)

            return y, grad

        return run(self.weights, image)

    def solve_transposed(self, image: tf.Tensor) -> tf.Tensor:
        """(I - W)^-T x: backward substitution is a forward one on the grid turned round.

        Args:
          image: x, [..., *space, C, K].
        """

        @tf.custom_gradient
        def run(weights, x):
            own = dataclasses.replace(self, weights=weights)
            turned = _substitute(self.window, own._for_turned(), _turned(x, self.window, 2))
            y = _turned(turned, self.window, 2)

            def grad(g):
                u = own.solve(g)
                return _sum_to(_outer(self.window, y, u), weights), _sum_to(u, x)

            return y, grad

        return run(self.weights, image)

    def _for_turned(self) -> tf.Tensor:
        """The weights of the transpose on the turned grid: w of an entry for its predecessor at an
        offset becomes that of the predecessor for it."""
        moved = [
            tf.linalg.matrix_transpose(
                part(
                    padded(self.weights[..., k, :], self.window, behind=2),
                    self.window,
                    tuple(-o for o in offset),
                    behind=2,
                )
            )
            for k, offset in enumerate(self.window.offsets)
        ]
        return _turned(tf.stack(moved, axis=-2), self.window, 3)


def apply_neighbours(
    name: str, window: Window, weights: tf.Tensor | None, image: tf.Tensor
) -> tf.Tensor:
    """A method of `Neighbours`; one weight for all channels sees them as columns.

    Args:
      name: of the method.
      window: the grid and the neighbourhood.
      weights: [..., *space, C, J, C], [..., *space, 1, J, 1] or None, for none.
      image: [..., *space, C, K].
    """
    if weights is None or not window.offsets:
        return image
    if weights.shape[-1] == window.channels:
        return getattr(Neighbours(window, weights), name)(image)
    one, shape = Window((*window.space, 1), window.radius), tf.shape(image)
    merged = tf.reshape(image, tf.concat([shape[:-2], [1, shape[-2] * shape[-1]]], 0))
    if None not in image.shape[-2:]:
        size = image.shape[-2] * image.shape[-1]
        merged = tf.ensure_shape(merged, [*image.shape[:-2], 1, size])
    found = getattr(Neighbours(one, weights), name)(merged)
    found = tf.reshape(found, tf.concat([tf.shape(found)[:-2], shape[-2:]], 0))
    return tf.ensure_shape(found, [*[None] * (found.shape.rank - 2), *image.shape[-2:]])


# Called eagerly, a loop in Python over the wavefronts would take most of the time.
_substitute = tf.function(wavefront.substitute, reduce_retracing=True)


def _turned(tensor: tf.Tensor, window: Window, behind: int) -> tf.Tensor:
    """The other way round along the axes of space; `behind` axes follow those."""
    last = tensor.shape.rank - behind
    return tf.reverse(tensor, list(range(last - len(window.space), last)))


def _outer(window: Window, u: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """The gradient for the weights of <u, W y>, [..., *space, C, J, C]."""
    wide = padded(y, window, behind=2)
    found = [
        tf.matmul(u, part(wide, window, offset, behind=2), transpose_b=True)
        for offset in window.offsets
    ]
    return tf.stack(found, axis=-2)


def padded(image: tf.Tensor, window: Window, behind: int) -> tf.Tensor:
    """Zeros around the pixels.

    Args:
      image: [..., *space, ...].
      window: the grid.
      behind: how many axes follow those of space.
    """
    before = image.shape.rank - behind - len(window.space)
    pads = [(0, 0)] * before + [(window.radius, window.radius)] * len(window.space)
    return tf.pad(image, [*pads, *[(0, 0)] * behind])


def part(wide: tf.Tensor, window: Window, offset: tuple[int, ...], behind: int) -> tf.Tensor:
    """At each pixel what is at an offset from it.

    Args:
      wide: what `padded` makes.
      window: the grid.
      offset: along each axis of space.
      behind: how many axes follow those of space.
    """
    before = wide.shape.rank - behind - len(window.space)
    own = tuple(
        slice(window.radius + o, window.radius + o + n)
        for o, n in zip(offset, window.space, strict=True)
    )
    return wide[(*(slice(None),) * before, *own)]


def weighted(weights: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """sum_c' w[..., c, c'] x[..., c', K].

    Args:
      weights: [..., C, C].
      image: [..., C, K].
    """
    return weights * image if weights.shape[-1] == 1 else tf.matmul(weights, image)


def _sum_to(gradient: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Summed over axes that broadcasting added."""
    _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(gradient), s1=tf.shape(like))
    return tf.reshape(tf.reduce_sum(gradient, axis=axes), tf.shape(like))
