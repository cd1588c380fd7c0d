"""Requests for whatever signatures a SavedModel has, by the names of their inputs."""

from __future__ import annotations

import math

import numpy as np
import orjson

from tf_structvae.serving.specs import Signature, numpy_type

PATCH = 60  # pixels, at most a third of the image's height


def inputs(signature: Signature, rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values that the signatures of exported models accept.

    Args:
      signature: of which no input is a string.
      rows: the size of each first dimension.
      seed: of the numbers.
    """
    rng = np.random.default_rng(seed)
    return {
        name: _values(name, (rows, *(size or 1 for size in (spec.shape or ())[1:])), spec, rng)
        for name, spec in signature.inputs.items()
    }


def _values(name, shape, spec, rng) -> np.ndarray:
    if name == "labels":
        return np.zeros(shape, numpy_type(spec))  # a class of any conditional model
    if spec.dtype != "float32":
        return rng.integers(0, 5, shape).astype(numpy_type(spec))  # seeds, pixels
    if name == "mask":
        return _patch(shape)
    if name == "noise_variance":
        return np.full(shape, 0.01, np.float32)
    if name in ("images", "values", "component_scales"):
        return rng.uniform(size=shape).astype(np.float32)
    return rng.normal(size=shape).astype(np.float32)


def _patch(shape: tuple[int, ...]) -> np.ndarray:
    """One on a square in the middle of each image [B, H, W, 1]."""
    mask = np.zeros(shape, np.float32)
    size = min(PATCH, math.ceil(shape[1] / 3))
    top, left = (shape[1] - size) // 2, (shape[2] - size) // 2
    mask[:, top : top + size, left : left + size] = 1
    return mask


def body(name: str, values: dict[str, np.ndarray], by_row: bool = False) -> bytes:
    """A request body in the column or the row format."""
    rows = len(next(iter(values.values())))
    content: dict = {"signature_name": name}
    if by_row:
        content["instances"] = [{k: _item(v[i]) for k, v in values.items()} for i in range(rows)]
    else:
        content["inputs"] = values
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _item(value):
    return value if np.ndim(value) else value.item()
