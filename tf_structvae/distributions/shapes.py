"""Checks of parameters, and samples as columns."""

from __future__ import annotations

import numpy as np
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
                raise ValueError(
                    f"{name} has dtype {x.dtype.name}, but all must be {dtype.name}, as the first "
                    "floating-point one."
                )
            converted.append(x)
        else:
            converted.append(tf.convert_to_tensor(x, dtype, name=name))
    return converted


def check_shape(name, shape, rank, wanted):
    if shape.rank is None or shape.rank < rank:
        raise ValueError(f"{name} must have shape {wanted}, got {shape}.")


def check_rank(name, shape, wanted):
    """Refuses a factor without columns; `wanted` ends in R."""
    if shape[-1] == 0:
        raise ValueError(f"{name} must have shape {wanted} with R >= 1, got {shape}.")


def check_batches(**shapes):
    """Refuses batch shapes that do not broadcast, by name."""
    batch = tf.TensorShape([])
    for shape in shapes.values():
        try:
            batch = tf.broadcast_static_shape(batch, shape)
        except ValueError:
            told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(f"the batch shapes do not broadcast: {told}.") from None


def check_value(name, shape, size, batch, letter="N"):
    """Refuses what is not [..., size] with a batch that broadcasts with that of a distribution.

    Static shapes alone: it costs nothing in a graph.
    """
    if shape.rank is None:
        return
    size, end = tf.compat.dimension_value(size), shape[-1] if shape.rank else 0
    if not shape.rank or (None not in (size, end) and size != end):
        raise ValueError(
            f"{name} must have shape [..., {letter}] with {letter} = {size}, got {shape}."
        )
    try:
        tf.broadcast_static_shape(shape[:-1], batch)
    except ValueError:
        raise ValueError(
            f"{name} has shape {shape} [..., {letter}], which does not broadcast with the batch "
            f"{batch} of the distribution."
        ) from None


def indices(name, x, size, wanted):
    """int32 of integers in [0, size), checked as far as they are known.

    Args:
      name: of the argument.
      x: integers, or a tensor of them.
      size: static, or None.
      wanted: 0 for a scalar, 1 for [K].
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise ValueError(f"{name} must be integer, got {x.dtype.name} {_told(x)}.")
    if x.shape.rank not in (wanted, None):
        shape = "[K]" if wanted else "a scalar"
        raise ValueError(f"{name} must be {shape}, got shape {x.shape}.")
    known = tf.get_static_value(x)
    if known is not None and size is not None:
        outside = [int(i) for i in known.ravel() if not 0 <= i < size]
        if outside:
            raise ValueError(f"{name} must be in [0, {size}), got {outside[0]}.")
    return tf.cast(x, tf.int32)


def _told(x):
    value = tf.get_static_value(x)
    return x.shape if value is None or value.size > 8 else value.tolist()


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


def check_product(features: tf.Tensor, kernel: tf.Tensor) -> None:
    """Of a factor that is features [..., S, F] times kernel [..., F, C, R].

    Raises:
      ValueError: other shapes.
    """
    check_shape("features", features.shape, 2, "[..., S, F]")
    check_shape("kernel", kernel.shape, 3, "[..., F, C, R]")
    if not features.shape[-1:].is_compatible_with(kernel.shape[-3:-2]):
        raise ValueError(
            f"features {features.shape} end in F = {features.shape[-1]}, but kernel "
            f"{kernel.shape} [..., F, C, R] has F = {kernel.shape[-3]}."
        )


def convert_observation(mask, value, noise_variance, dtype, size, batch_shape):
    """Which entries are observed, their values and the variances of the observation, as tensors.

    Args:
      mask: bool [..., N].
      value: [..., N].
      noise_variance: scalar, [..., 1] or [..., N], >= 0; None: 0.
      dtype: of the distribution.
      size: N.
      batch_shape: of the distribution.

    Returns:
      mask [..., N], value [..., N] and noise [..., 1] or [..., N].

    Raises:
      ValueError: an argument is not as above.
    """
    mask = tf.convert_to_tensor(mask)
    if mask.dtype != tf.bool:
        raise ValueError(f"mask must be bool, got {mask.dtype.name}.")
    value = tf.convert_to_tensor(value, dtype)
    check_value("mask", mask.shape, size, batch_shape)
    check_value("value", value.shape, size, batch_shape)
    noise = tf.convert_to_tensor(0.0 if noise_variance is None else noise_variance, dtype)
    known = tf.get_static_value(noise)
    if known is not None and not ((known >= 0) & np.isfinite(known)).all():
        wrong = known[~((known >= 0) & np.isfinite(known))].ravel()[0]
        raise ValueError(f"noise_variance must be finite and >= 0, got {wrong}.")
    return mask, value, noise[tf.newaxis] if noise.shape.rank == 0 else noise
