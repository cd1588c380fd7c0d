"""A large batch in parts, one after the other, so that only one part's activations are held."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

Updates = list[tuple[keras.Variable, tf.Tensor]]


class Batch(NamedTuple):
    """Images, and what belongs to them; all a replica has of the global batch, or a part of it."""

    images: tf.Tensor  # [B, H, W, C]
    noise: tf.Tensor  # of z, [B, M, L]
    weights: tf.Tensor  # 1 for an image that counts, 0 for one that only fills up, [B]
    labels: tf.Tensor | None = None  # of a conditional model, [B]


def weighted_sum(batch: Batch, values):
    """The sum over a batch's images of tensors [B, ...]; those of weight 0 do not count."""

    def of(v):
        weights = tf.reshape(batch.weights, [-1] + [1] * (v.shape.rank - 1))
        return tf.reduce_sum(weights * v, 0)

    return tf.nest.map_structure(of, values)


def sum_over_parts(
    function: Callable[[Batch], Any],
    batch: Batch,
    parts: int,
    variables: Sequence[keras.Variable] = (),
) -> tuple[Any, Updates]:
    """The sum of function(part) over parts of a batch, one after the other.

    All parts have ceil(B / parts) images. The last one reaches back, where they do not go into B,
    over images that the part before it has had; these have weight 0 there.

    `function` changes nothing: what it would assign to `variables` is returned. To a variable of
    floats (the moving statistics of batch normalisation) every part would assign from the same
    value, and the mean over the parts is returned. Other variables (the states of random
    generators) go from part to part.

    Args:
      function: part -> tensors whose shapes do not depend on the part, or None, in any nest; it
        must not communicate with other replicas, for it runs in a loop.
      batch: at least one image.
      parts: at most so many parts; fewer if ceil(B / parts) images in each make do with fewer.
      variables: what `function` may assign to.

    Returns:
      The sum, and (variable, value) for each variable that `function` would assign to.
    """
    length = batch.images.shape[0] or tf.shape(batch.images)[0]  # XLA needs a number, if there is
    size = -(-length // parts)
    number = -(-length // size)

    def run(i, state):
        indices = tf.minimum(i * size, length - size) + tf.range(size)
        part = Batch(*(None if t is None else tf.gather(t, indices) for t in batch))
        new = tf.cast(indices >= i * size, part.weights.dtype)
        with keras.StatelessScope(state) as scope:
            result = function(part._replace(weights=part.weights * new))
        return result, scope

    # The first part is traced apart: it shows the shapes, what has no gradient, what is assigned.
    result, scope = run(tf.constant(0), [])
    assigned = [v for v in variables if scope.get_current_value(v) is not None]
    averaged = [v for v in assigned if tf.as_dtype(v.dtype).is_floating]
    carried = [v for v in assigned if not tf.as_dtype(v.dtype).is_floating]

    def collected(result, scope):
        sums = [t for t in tf.nest.flatten(result) if t is not None]
        share = 1.0 / tf.cast(number, tf.float32)
        means = [scope.get_current_value(v) * tf.cast(share, v.dtype) for v in averaged]
        return [*sums, *means], [scope.get_current_value(v) for v in carried]

    def body(i, sums, state):
        more, state = collected(*run(i, list(zip(carried, state, strict=True))))
        return i + 1, [a + b for a, b in zip(sums, more, strict=True)], state

    sums, state = collected(result, scope)
    _, sums, state = tf.while_loop(
        lambda i, *_: i < number,
        body,
        (after([sums, state], tf.constant(1)), sums, state),
        parallel_iterations=1,
    )
    found = iter(sums)
    total = tf.nest.map_structure(lambda t: None if t is None else next(found), result)
    return total, [*zip(averaged, found, strict=True), *zip(carried, state, strict=True)]


def after(first, then):
    """Tensors `then`, not to be had before the tensors `first` are there."""
    with tf.control_dependencies([t for t in tf.nest.flatten(first) if t is not None]):
        return tf.nest.map_structure(lambda t: None if t is None else tf.identity(t), then)


def check_replicas(models: Sequence[keras.Model], parts: int) -> None:
    """Refuses what cannot run in a loop on several replicas.

    Raises:
      ValueError: several parts, several replicas and batch normalisation across them.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if parts == 1 or replicas == 1:
        return
    for model in models:
        for layer in model._flatten_layers():
            if getattr(layer, "synchronized", False):
                raise ValueError(
                    f"accumulate = {parts} on {replicas} replicas: the layer {layer.name!r} is "
                    "batch normalisation across replicas, which cannot take part after part; use "
                    'norm = "group" or "none", or accumulate = 1.'
                )
