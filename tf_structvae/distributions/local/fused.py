"""Products with a local factor as one loop over the pixels, compiled by XLA.

Without it, each weight takes passes of its own over arrays as large as P. Only training steps use
it: what is exported is native operations.
"""

from __future__ import annotations

import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.distributions.local.neighbours import apply_neighbours
from tf_structvae.distributions.local.window import Window


@tf.function(jit_compile=True)
def product(
    window: Window,
    neighbours: tf.Tensor | None,
    below: tf.Tensor | None,
    scale: tf.Tensor,
    image: tf.Tensor,
) -> tf.Tensor:
    """A x, [..., *space, C, K].

    Args:
      window: the grid and the neighbourhood.
      neighbours: W, as in `LocalOperator`.
      below: V, strictly lower triangular.
      scale: [..., *space, C].
      image: x, [..., *space, C, K].
    """
    found = apply_neighbours("product", window, neighbours, image)
    return _less_channels(below, found) / scale[..., tf.newaxis]


@tf.function(jit_compile=True)
def whitened(
    window: Window,
    neighbours: tf.Tensor | None,
    below: tf.Tensor | None,
    scale: tf.Tensor,
    features: tf.Tensor,
    kernel: tf.Tensor,
    residual: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Q = A P of P = features x kernel, [..., N, R], and y = A e, [..., N].

    I - W, the same for all channels, acts on the features. e is one more column of P, and has
    features of its own, so that it costs hardly anything.

    Args:
      window: the grid and the neighbourhood.
      neighbours: W, [..., *space, 1, J, 1] or None.
      below: V, strictly lower triangular.
      scale: [..., *space, C].
      features: [..., S, F].
      kernel: [F, C, R].
      residual: e, [..., N], of the batch of the features.
    """
    batch, (size, channels, rank) = tf.shape(features)[:-2], kernel.shape
    pixels = tf.reshape(residual, tf.concat([tf.shape(features)[:-1], [channels]], 0))
    features = tf.concat([features, pixels], axis=-1)
    own = tf.eye(channels, dtype=kernel.dtype)[:, :, tf.newaxis]
    kernel = tf.concat(
        [tf.pad(kernel, [[0, 0], [0, 0], [0, 1]]), tf.pad(own, [[0, 0], [0, 0], [rank, 0]])], axis=0
    )
    one = Window((*window.space, 1), window.radius)
    image = tf.reshape(features, tf.concat([batch, [*window.space, 1, size + channels]], 0))
    image = tf.ensure_shape(image, [*features.shape[:-2], *one.grid, size + channels])
    image = apply_neighbours("product", one, neighbours, image)
    flat = tf.reshape(kernel, [size + channels, channels * (rank + 1)])
    found = linalg.matmul(tf.reshape(image, [-1, size + channels]), flat)
    found = tf.reshape(found, tf.concat([tf.shape(image)[:-2], [channels, rank + 1]], 0))
    found = _less_channels(below, found) / scale[..., tf.newaxis]
    found = tf.reshape(found, tf.concat([batch, [window.size, rank + 1]], 0))
    return found[..., :rank], found[..., rank]


def _less_channels(below: tf.Tensor | None, image: tf.Tensor) -> tf.Tensor:
    """(I - V) x, channel by channel, of which XLA makes one loop, as of small products it does not.

    Args:
      below: V, [..., C, C].
      image: x, [..., C, K].
    """
    if below is None:
        return image
    found = []
    for c in range(image.shape[-2]):
        own = image[..., c, :]
        for k in range(c):
            own -= below[..., c, k, tf.newaxis] * image[..., k, :]
        found.append(own)
    return tf.stack(found, axis=-2)
