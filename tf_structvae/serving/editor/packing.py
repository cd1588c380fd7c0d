"""Named arrays as bytes, for the way between page and server: JSON of pictures is far larger.

uint32 n (little endian), n bytes of JSON, then the arrays one after the other, little endian and
row-major. The JSON is {"arrays": [{"name", "dtype", "shape"}, ...], ...}; its length is padded by
spaces so that the arrays start at a multiple of four. static/packing.js is the other end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from tf_structvae.serving.errors import invalid

DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "|u1"}
_MOST_DIMENSIONS = 8
_MOST = 1 << 31  # numbers of an array


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of float32, int32 or uint8 arrays."""
    listed = [
        {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
        for name, array in arrays.items()
    ]
    header = orjson.dumps({"arrays": listed})
    header += b" " * (-len(header) % 4)
    data = [np.ascontiguousarray(a, DTYPES[a.dtype.name]).tobytes() for a in arrays.values()]
    return b"".join([len(header).to_bytes(4, "little"), header, *data])


def unpack(body: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the rest of the JSON.

    Raises:
      RequestError: 400; the bytes are not of the form above.
    """
    start = 4 + int.from_bytes(body[:4], "little")
    if len(body) < 4 or start > len(body):
        raise invalid(f"the request's {len(body)} bytes are too few for its header.")
    try:
        header = orjson.loads(body[4:start])
    except orjson.JSONDecodeError as error:
        raise invalid(f"the request's header is no JSON: {error}") from None
    listed = header.pop("arrays", None) if isinstance(header, dict) else None
    if not isinstance(listed, list):
        raise invalid("the request's header must be an object with a list of 'arrays'.")
    arrays: dict[str, np.ndarray] = {}
    for item in listed:
        name, dtype, shape = _checked(item)
        if name in arrays:
            raise invalid(f"the request gives the array {name!r} twice.")
        end = start + math.prod(shape) * np.dtype(dtype).itemsize
        if end > len(body):
            raise invalid(f"the request ends within the array {name!r}.")
        arrays[name] = np.frombuffer(body[start:end], dtype).reshape(shape)
        start = end
    if start != len(body):
        raise invalid(f"the request goes on for {len(body) - start} bytes after its arrays.")
    return arrays, header


def _checked(item: Any) -> tuple[str, str, list[int]]:
    if not isinstance(item, dict) or item.keys() != {"name", "dtype", "shape"}:
        raise invalid("each of the request's arrays must have name, dtype and shape.")
    name, dtype, shape = item["name"], item["dtype"], item["shape"]
    if not isinstance(name, str):
        raise invalid("the name of an array must be a string.")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise invalid(f"array {name!r} has dtype {dtype!r}; it must be {', '.join(DTYPES)}.")
    whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    # of an array without a number the other sizes count, too: NumPy refuses large ones
    if not whole or len(shape) > _MOST_DIMENSIONS or math.prod(n or 1 for n in shape) > _MOST:
        raise invalid(
            f"array {name!r} has shape {shape!r}; it must be a list of at most {_MOST_DIMENSIONS} "
            f"sizes, and hold at most {_MOST} numbers."
        )
    return name, DTYPES[dtype], shape
