"""Networks from what a predictor saw, found and made on its way to features for a head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from tf_structvae.models import blocks

_LEAST_SIDE = 4  # of the smallest maps


def build(
    positions: Sequence[int | None],
    input_shapes: Sequence[tuple[int | None, ...]],
    width: int,
) -> keras.Model:
    """A network from tensors to features [B, *positions, F].

    An image gets a U-Net (Ronneberger et al. 2015) whose smallest maps are joined by a dense layer,
    so that a feature can depend on all of the picture; a sequence gets dilated convolutions beside
    its mean; a vector, two dense layers. Tensors of as many dimensions as the output are resized to
    its positions, all others flattened into one vector that every position sees.

    Args:
      positions: () of vectors, (T,) of sequences, (H, W) of images.
      input_shapes: of the tensors, without the batch.
      width: features of the first layer.

    Raises:
      ValueError: other numbers of positions, as of volumes.
    """
    inputs = [keras.Input(shape) for shape in input_shapes]
    maps = [x for x in inputs if positions and len(x.shape) == len(positions) + 2]
    rest = [keras.layers.Flatten()(x) for x in inputs if not any(x is m for m in maps)]
    context = _joined(rest) if rest else None
    if len(positions) == 0:
        features = _dense(context, width)
    elif len(positions) == 1:
        features = _dilated(_joined(maps), context, width)
    elif len(positions) == 2:
        sized = [_resized(x, positions) for x in maps]
        features = _u_net(_joined(sized), context, width)
    else:
        raise ValueError(
            "features must be a network of your own where the predictor's output is neither a "
            f"vector, nor a sequence, nor an image, got an output with positions {positions}."
        )
    return keras.Model(inputs, features, name="residual_network")


def _joined(tensors: list) -> keras.KerasTensor:
    return keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]


def _resized(x, positions):
    if tuple(x.shape[1:-1]) == tuple(positions):
        return x
    return keras.layers.Resizing(*positions)(x)


def _with_context(x, context):
    """x [B, ..., F] plus a dense layer of the context [B, K]."""
    if context is None:
        return x
    filters, inner = x.shape[-1], len(x.shape) - 2
    seen = keras.layers.Dense(filters)(context)
    return x + keras.layers.Reshape([1] * inner + [filters])(seen)


def _dense(x, width: int):
    for _ in range(2):
        x = keras.layers.Dense(4 * width, "relu")(x)
    return x


def _dilated(x, context, width: int):
    x = keras.layers.Conv1D(width, 5, padding="same", activation="relu")(x)
    for dilation in (1, 2, 4, 8):
        step = keras.layers.Conv1D(
            width, 3, padding="same", dilation_rate=dilation, activation="relu"
        )
        x = x + step(x)
    mean = keras.layers.GlobalAveragePooling1D()(x)
    x = _with_context(x, mean if context is None else _joined([mean, context]))
    return keras.layers.Conv1D(width, 1, activation="relu")(x)


def _u_net(x, context, width: int):
    rows, columns = x.shape[1:3]
    depth = max(0, min(3, int(math.log2(max(1, min(rows, columns) / _LEAST_SIDE)))))
    skips = []
    x = _convolved(x, width)
    for level in range(depth):
        skips.append(x)
        x = _convolved(x, width * 2 ** (level + 1), stride=2)
    x = _with_context(_mixed(x), context)
    for skip in reversed(skips):
        enlarged = keras.layers.Resizing(*skip.shape[1:3], interpolation="nearest")(x)
        x = _convolved(_joined([enlarged, skip]), skip.shape[-1])
    return _convolved(x, width)


def _convolved(x, filters: int, stride: int = 1):
    x = blocks.conv(x, filters, 3, stride, name=None)
    return keras.layers.Activation("relu")(x)


def _mixed(x):
    """x plus what a dense layer makes of all of it."""
    shape = x.shape[1:]
    hidden = keras.layers.Dense(64, "relu")(keras.layers.Flatten()(x))
    everywhere = keras.layers.Dense(math.prod(shape))(hidden)
    return keras.layers.Activation("relu")(x + keras.layers.Reshape(shape)(everywhere))
