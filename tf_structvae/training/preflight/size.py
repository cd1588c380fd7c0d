"""Roughly what a training step holds, from the shapes of its network: whether to measure it."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator
from typing import Any

import keras
from ml_collections import ConfigDict

from tf_structvae.datasets import pipeline
from tf_structvae.training.from_config import build_model

_PROGRAM = 1 << 30  # TensorFlow and the libraries
_COPIES = 10  # of P, by TFP's class; a local head makes fewer


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a run's network.

    Attributes:
      parameters: how many weights encoder, decoder and head have.
      image: bytes of all that the layers emit for one image, each tensor counted once.
    """

    parameters: dict[str, int]
    image: int

    def step(self, images: int) -> int:
        """Bytes: the program, weights, gradients, Adam's two moments, and what the layers emit.

        TensorFlow frees some of these tensors early, and copies others.

        Args:
          images: how many are trained on at once.
        """
        return _PROGRAM + 16 * sum(self.parameters.values()) + images * self.image


def of_network(config: ConfigDict, image_shape: tuple[int, int, int], classes: int = 0) -> Size:
    """The network of a run is described, not built, which takes no memory.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      classes: of the labels of a conditional model.
    """
    policy, state = keras.config.dtype_policy(), random.getstate()
    keras.config.set_dtype_policy(config.train.precision)
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build_model(config, image_shape, classes)
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(state)  # initialisers draw their seeds from it
    m, head = config.model, sum(math.prod(v.shape) for v in model.head.weights)
    parameters = {"encoder": model.encoder.count_params(), "head": head}
    parameters["decoder"] = model.decoder.count_params() - head
    decoded = _emitted(model.decoder)
    if m.likelihood in ("stock_low_rank", "local_low_rank"):  # these build P, inside the head
        decoded += 4 * _COPIES * m.rank * math.prod(image_shape)
    return Size(parameters, _emitted(model.encoder) + config.objective.samples * decoded)


def _tensors(value: Any) -> Iterator:
    yield from value if isinstance(value, (list, tuple)) else [value]


def _emitted(network: keras.Model) -> int:
    return sum(
        4 * math.prod(t.shape[1:]) for layer in network.layers for t in _tensors(layer.output)
    )


def of_data(images: int, image_shape: tuple[int, int, int]) -> int:
    """Bytes that `pipeline.training_batches` holds: all images if they are small, else a buffer."""
    everything = images * math.prod(image_shape)
    return everything if everything <= pipeline.CACHE_BYTES else pipeline.SHUFFLE_BYTES
