"""Floating-point operations of a training step, and how many the machine can do in a second."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np


def _multiplications(layer: Any) -> int:
    """Of the forward pass of one image."""
    import keras

    if isinstance(layer, keras.layers.Conv2DTranspose):
        places = math.prod(layer.input.shape[1:3])
    elif isinstance(layer, keras.layers.Conv2D):
        places = math.prod(layer.output.shape[1:3])
    elif isinstance(layer, keras.layers.Dense):
        places = 1
    else:
        return 0
    return places * math.prod(layer.kernel.shape)


def of_step(model: Any, batch: int) -> int:
    """Additions and multiplications of the linear maps in a step of training.

    Twice the multiplications of the forward pass, three times: the backward pass has one product
    for the gradient of a map's input and one for that of its kernel. All else (normalisation,
    density, optimiser) is small beside them and is not counted.

    Args:
      model: a `StructuredVAE`.
      batch: B.
    """
    layers = [*model.encoder._flatten_layers(), *model.decoder._flatten_layers()]
    head = model.head
    kernels = [head.mean_kernel] + ([head.factor_kernel] if getattr(head, "rank", 0) else [])
    pixels = math.prod(model.image_shape[:2])
    last = pixels * sum(math.prod(k.shape) for k in kernels)
    return 2 * 3 * batch * (sum(map(_multiplications, layers)) + last)


def peak(size: int = 3072, repeats: int = 7) -> float:
    """Operations a second of a product of two square float32 matrices, the best of some.

    Args:
      size: rows and columns.
      repeats: products.
    """
    import tensorflow as tf

    a = tf.constant(np.random.default_rng(0).standard_normal((size, size)), tf.float32)
    product = tf.function(lambda x: tf.reduce_sum(tf.matmul(x, x)))
    float(product(a))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        float(product(a))
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
