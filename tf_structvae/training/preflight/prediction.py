"""How much memory a run takes, from the shapes of its network. All in bytes.

A training step holds

* the program: TensorFlow, the libraries and the traced graph, `PROGRAM`;
* four numbers for each weight: its value, its gradient and Adam's two moments; a fifth, the sum of
  gradients, where a batch is trained in parts;
* for each image of a part what the backward pass reads: the inputs of all layers with weights and
  the outputs of all activations;
* for each image of a part `WORKSPACE` times the largest of these: the gradients that are alive at
  once and what convolutions copy;
* what the head needs beyond that: nothing if P stays a product, `STOCK_COPIES` of P [N, R] for
  TFP's class, `LOCAL_COPIES` of it and `LOCAL_FEATURE_COPIES` of the features for a local one,
  `WEIGHTED_COPIES` of the features for each channel if the noise differs by pixel;
* the cached or shuffled images of the training set.

Evaluation holds `EVALUATION_WORKSPACE` times the largest output of a layer for each image of its
batch.

The constants were fitted to peaks of resident memory on a CPU (TensorFlow 2.21): the default and
the paper's network, 64x64 to 218x178, batch 4 to 128, all heads. The predictions are within 20%
of these (test_preflight.py: 30%). On a CPU half precision saves nothing that could be counted on:
batch normalisation and the convolutions go through float32. XLA is the roughest. GPUs were not
measured.
"""

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

PROGRAM = 950 << 20
WORKSPACE = 5
EVALUATION_WORKSPACE = 7
STOCK_COPIES = 10
WEIGHTED_COPIES = 2
LOCAL_COPIES, LOCAL_FEATURE_COPIES = 7, 3  # at 64x64, ranks 25 and 75
LOCAL_PROGRAM = 150 << 20  # XLA's part of it, for the products of a local head
XLA_PROGRAM = 800 << 20  # its compiler
XLA_ACTIVATIONS = 1.5


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Memory of one replica of a run, in bytes; see the module."""

    parameters: dict[str, int]  # how many weights encoder, decoder and head have
    program: int
    weights: int  # one copy of all weights
    image: int  # what a step holds for each image, at rank 0
    image_by_rank: int  # what it holds beyond that for each column of P
    evaluated_image: int
    data: int
    batch: int  # images in a step, of all replicas
    parts: int  # config.train.accumulate
    replicas: int
    evaluation_batch: int
    rank: int
    gpu: bool

    @property
    def part(self) -> int:
        """How many images one replica holds at once."""
        return math.ceil(math.ceil(self.batch / self.replicas) / self.parts)

    @property
    def state(self) -> int:
        """Weights, gradients and Adam's moments."""
        return self.weights * (4 if self.parts == 1 else 5)

    @property
    def activations(self) -> int:
        """What is kept for the images of a part."""
        return self.part * (self.image + self.rank * self.image_by_rank)

    @property
    def step(self) -> int:
        """The peak of a training step."""
        return self.program + self.data + self.state + self.activations

    @property
    def evaluation(self) -> int:
        """The peak of an evaluation."""
        images = self.evaluation_batch * self.evaluated_image
        return self.program + self.data + 3 * self.weights + images

    @property
    def total(self) -> int:
        """The peak of the run."""
        return max(self.step, self.evaluation)

    def at(self, **changes: Any) -> Prediction:
        """With another batch, parts, evaluation_batch or rank."""
        return dataclasses.replace(self, **changes)


def predict(
    config: ConfigDict,
    image_shape: tuple[int, int, int],
    replicas: int = 1,
    images: int = 0,
    gpu: bool = False,
    classes: int = 0,
) -> Prediction:
    """The memory that a run takes. The network is described, not built: that takes none.

    Args:
      config: of the run.
      image_shape: (H, W, C).
      replicas: how many share a batch, each with memory of its own.
      images: how many the training set has; 0 leaves it out.
      gpu: whether the memory is a GPU's: then without data, and half precision counts.
      classes: of the labels of a conditional model.
    """
    encoder, decoder, head = _describe(config, image_shape, classes)
    half = gpu and config.train.precision != "float32"
    seen, decoded = _kept(encoder, half), _kept(decoder, half)
    m, samples = config.model, config.objective.samples
    features = 4 * math.prod(head.input.shape[1:])
    pixels = 4 * math.prod(image_shape)
    image = sum(seen) + samples * sum(decoded)
    image += WORKSPACE * max(*seen, *(samples * size for size in decoded))
    if m.likelihood == "low_rank" and m.noise in ("per_channel", "per_pixel"):
        image += samples * WEIGHTED_COPIES * image_shape[-1] * features
    local = m.likelihood == "local_low_rank"
    if local:
        image += samples * LOCAL_FEATURE_COPIES * features
    copies = {"stock_low_rank": STOCK_COPIES, "local_low_rank": LOCAL_COPIES}
    by_rank = samples * copies.get(m.likelihood, 0) * pixels
    xla = config.train.jit
    parameters = {"encoder": encoder.count_params(), "head": _count(head)}
    parameters["decoder"] = decoder.count_params() - parameters["head"]
    return Prediction(
        parameters=parameters,
        program=PROGRAM + (XLA_PROGRAM if xla else LOCAL_PROGRAM if local else 0),
        weights=4 * sum(parameters.values()),
        image=int(image * (XLA_ACTIVATIONS if xla else 1)),
        image_by_rank=by_rank,
        evaluated_image=max(_evaluated(encoder), _evaluated(decoder)),
        data=0 if gpu else _data(images, math.prod(image_shape)),
        batch=config.train.batch_size,
        parts=config.train.get("accumulate", 1),
        replicas=replicas,
        evaluation_batch=config.evaluation.batch_size,
        rank=m.rank,
        gpu=gpu,
    )


def _describe(config: ConfigDict, image_shape: tuple[int, int, int], classes: int):
    """Encoder, decoder and head of a config, without values, and without a trace elsewhere."""
    policy, state = keras.config.dtype_policy(), random.getstate()
    keras.config.set_dtype_policy(config.train.precision)
    try:
        with keras.StatelessScope(initialize_variables=False):
            model = build_model(config, image_shape, classes)
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(state)  # initialisers draw their seeds from it
    return model.encoder, model.decoder, model.head


def _count(layer: keras.layers.Layer) -> int:
    return sum(math.prod(v.shape) for v in layer.weights)


def _tensors(layer_side) -> Iterator:
    yield from layer_side if isinstance(layer_side, (list, tuple)) else [layer_side]


def _kept(network: keras.Model, half: bool) -> list[int]:
    """Sizes of what the backward pass reads of one image.

    Batch normalisation works in float32 whatever the precision (Keras, `BatchNormalization`).
    """
    sizes: dict[int, int] = {}
    for layer in network.layers:
        number = 2 if half and layer.compute_dtype != "float32" else 4
        if isinstance(layer, keras.layers.BatchNormalization):
            number = 4
        kept = [*_tensors(layer.input)] if layer.weights else []
        if isinstance(layer, keras.layers.Activation):
            kept += _tensors(layer.output)
        for tensor in kept:
            size = number * math.prod(tensor.shape[1:])
            sizes[id(tensor)] = max(size, sizes.get(id(tensor), 0))
    return list(sizes.values())


def _evaluated(network: keras.Model) -> int:
    """What a network holds for one image in inference."""
    sizes = [4 * math.prod(t.shape[1:]) for la in network.layers for t in _tensors(la.output)]
    return EVALUATION_WORKSPACE * max(sizes)


def _data(images: int, size: int) -> int:
    """What `pipeline.training_batches` holds: all images if they are small, else a buffer."""
    everything = images * size
    return everything if everything <= pipeline.CACHE_BYTES else pipeline.SHUFFLE_BYTES
