"""Checks of parameters, and samples as columns."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp


def convert(**tensors):
    """Tensors of one common dtype; variables and deferred tensors are kept as they are."""
    known = [x.dtype for x in tensors.values() if hasattr(x, "dtype")]
    floating = [tf.as_dtype(d) for d in known if tf.as_dtype(d).is_floating]
    dtype = floating[0] if floating else tf.float32
    converted: list = []
    for name, x in tensors.items():
        if x is None:
            converted.append(None)
        elif isinstance(x, (tf.Variable, tfp.util.DeferredTensor)) or tf.is_tensor(x):
            if x.dtype != dtype:
                raise ValueError(f"{name} has dtype {x.dtype.name}, others {dtype.name}.")
            converted.append(x)
        else:
            converted.append(tf.convert_to_tensor(x, dtype, name=name))
    return converted


def check_shape(name, shape, rank, wanted):
    if shape.rank is None or shape.rank < rank:
        raise ValueError(f"{name} must have shape {wanted}, got {shape}.")


def check_event(name, event, loc):
    if not tf.TensorShape(event).is_compatible_with(loc.shape[-1:]):
        raise ValueError(
            f"{name} describes {tf.TensorShape(event)[0]} entries, but loc {loc.shape} [..., N] "
            f"has {loc.shape[-1]}."
        )


def samples_to_columns(x, extra):
    """[*sample, *batch, D] -> [*batch, D, prod(sample)], for `extra` sample dimensions."""
    shape = tf.shape(x)
    flat = tf.reshape(x, tf.concat([[-1], shape[extra:]], 0))
    rank = x.shape.rank - extra + 1
    return tf.transpose(flat, [*range(1, rank), 0])


def columns_to_samples(x, sample_shape):
    """[..., K] -> [*sample_shape, ...], the inverse of `samples_to_columns`."""
    rank = x.shape.rank
    moved = tf.transpose(x, [rank - 1, *range(rank - 1)])
    return tf.reshape(moved, tf.concat([sample_shape, tf.shape(moved)[1:]], 0))
