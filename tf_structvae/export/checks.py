"""Checks of a request inside the graph: a bad one gets an error that starts with the input's name.

The operation that fails is CheckNumerics, since it is the one of TensorFlow whose error is the
given text and then " : Tensor had NaN values"; that of Assert would start with "assertion failed".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import tensorflow as tf

_NOT_FINITE = "{} must be finite"


def checked(
    inputs: Mapping[str, tf.Tensor], specs: Mapping[str, tf.TensorSpec]
) -> dict[str, tf.Tensor]:
    """The same tensors, which exist only where all of them are as they must be.

    Args:
      inputs: tensors by name, of one signature.
      specs: shape [None, ...] and dtype of each.

    Returns:
      Tensors of the static shapes of `specs`. Where a shape is another, batches differ or a number
      is not finite, they are an InvalidArgumentError whose text starts with the input's name.
    """
    # Most loaders feed any shape, but checks of what the graph says already are optimised away.
    loose = {k: tf.raw_ops.PlaceholderWithDefault(input=x, shape=None) for k, x in inputs.items()}
    shaped = [_has_shape(k, x, specs[k].shape) for k, x in loose.items()]
    with tf.control_dependencies(shaped):
        held = {k: tf.ensure_shape(tf.identity(x), specs[k].shape) for k, x in loose.items()}
    first = next(iter(held))
    of_values = [_has_batch_of(k, x, first, held[first]) for k, x in held.items() if k != first]
    floats = {k: x for k, x in held.items() if x.dtype.is_floating}
    of_values += [tf.debugging.check_numerics(x, _NOT_FINITE.format(k)) for k, x in floats.items()]
    return after(of_values, held)


def after(checks: list[tf.Tensor], inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The same tensors, which exist only when all checks have passed."""
    with tf.control_dependencies(checks):
        return {k: tf.identity(x) for k, x in inputs.items()}


def require(condition: tf.Tensor, message: str) -> tf.Tensor:
    """An operation that fails with `message` unless the bool scalar is true."""
    return tf.debugging.check_numerics(tf.where(condition, 0.0, float("nan")), message)


def not_negative(name: str, x: tf.Tensor) -> tf.Tensor:
    """An operation that fails where an entry is negative."""
    return require(tf.reduce_all(x >= 0.0), f"{name} must not be negative")


def inside(name: str, pixel: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """An operation that fails unless all [B, 2] are (row, column) in the image."""
    within = (pixel >= 0) & (pixel < tf.constant([height, width], pixel.dtype))
    message = f"{name} must be (row, column) inside the image of {height}x{width}"
    return require(tf.reduce_all(within), message)


def one_of_classes(name: str, labels: tf.Tensor, classes: int) -> tf.Tensor:
    """An operation that fails unless all [B] are from 0 to classes - 1."""
    known = (labels >= 0) & (labels < classes)
    return require(tf.reduce_all(known), f"{name} must be from 0 to {classes - 1}")


def finite_results(names: Iterable[str], results: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The same results, which exist only where they are finite.

    Args:
      names: of the inputs that they are made of.
      results: float tensors by name.
    """
    label = ", ".join(names)
    return {
        k: tf.debugging.check_numerics(x, f"{label} must not be so large that {k} overflow")
        for k, x in results.items()
    }


def _has_shape(name: str, x: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
    inner = shape.as_list()[1:]
    # Ended by -1, which no shape holds, it also shows the rank, of which TensorFlow would believe
    # what the graph says.
    ended = tf.concat([tf.shape(x), tf.fill([len(inner) + 2], -1)], 0)
    same = tf.reduce_all(ended[1 : len(inner) + 2] == tf.constant([*inner, -1])) & (ended[0] >= 0)
    return require(same, f"{name} must have the shape [{', '.join(map(str, ['B', *inner]))}]")


def _has_batch_of(name: str, x: tf.Tensor, other: str, y: tf.Tensor) -> tf.Tensor:
    same = tf.shape(x)[0] == tf.shape(y)[0]
    return require(same, f"{name} must have as many rows as {other}")
