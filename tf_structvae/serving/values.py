"""JSON values to arrays and back, by the types of TF-Serving's JSON mapping."""

from __future__ import annotations

import base64
import binascii
import math
from itertools import chain
from typing import Any

import numpy as np

from tf_structvae.serving.errors import RequestError, invalid
from tf_structvae.serving.specs import Spec, numpy_type

_NUMBERS = {"bool", "float16", "float32", "float64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
_TYPES: dict[str, set[type]] = {"f": {int, float}, "i": {int}, "u": {int}, "b": {bool}}
_WIDE = {"f": np.float64, "i": np.int64, "u": np.uint64, "b": np.bool_}
_MOST_DIMENSIONS = 32  # NumPy 1 has no more
_BYTES_SUFFIX = "_bytes"  # an output of this name is binary, says the API


def is_binary(value: Any) -> bool:
    """Whether it is {"b64": text}, the form of a string of any bytes."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def decode(value: Any, name: str, spec: Spec) -> np.ndarray:
    """The array of a nested list.

    Args:
      value: what stands in the request.
      name: of the input, for the message.
      spec: its type and shape.

    Raises:
      RequestError: 400; the lists are ragged, or type or shape is not that of the input.
    """
    shape, leaves = _flatten(value, name)
    check_shape(shape, name, spec)
    return _array(leaves, name, spec).reshape(shape)


def decode_flat(value: Any, name: str, spec: Spec, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a shape whose values stand in a flat list, or nested in row-major order.

    Args:
      value: what stands in the request.
      name: of the input, for the message.
      spec: its type.
      shape: its shape, which has been checked.

    Raises:
      RequestError: 400; other numbers of values, or of another type.
    """
    _, leaves = _flatten(value, name)
    if len(leaves) != math.prod(shape):
        raise invalid(
            f"input {name!r} of shape {list(shape)} must hold {math.prod(shape)} values, got "
            f"{len(leaves)}."
        )
    return _array(leaves, name, spec).reshape(shape)


def check_shape(shape: tuple[int, ...], name: str, spec: Spec) -> None:
    """Refuses a shape that is not the input's.

    Raises:
      RequestError: 400, it is not.
    """
    if len(shape) > _MOST_DIMENSIONS:
        raise invalid(
            f"input {name!r} has {len(shape)} dimensions; at most {_MOST_DIMENSIONS} may be."
        )
    if not spec.accepts(shape):
        wanted = ", ".join("?" if size is None else str(size) for size in spec.shape or ())
        raise invalid(f"input {name!r} has shape {list(shape)}; it must be [{wanted}].")


def _array(leaves: list, name: str, spec: Spec) -> np.ndarray:
    if spec.dtype == "string":
        array = np.empty(len(leaves), object)
        array[:] = [_bytes(leaf, name) for leaf in leaves]
        return array
    return _numbers(leaves, name, spec)


def _flatten(value: Any, name: str) -> tuple[tuple[int, ...], list]:
    """Shape and values of a nested list, level by level: a Python loop over values is slow."""
    shape: list[int] = []
    level = [value]
    while True:
        kinds = set(map(type, level))
        if list not in kinds:
            return tuple(shape), level
        lengths = set(map(len, level)) if kinds == {list} else set()
        if len(lengths) != 1:
            raise invalid(f"the lists of input {name!r} have not all the same length.")
        shape += lengths
        level = list(chain.from_iterable(level))


def _numbers(leaves: list, name: str, spec: Spec) -> np.ndarray:
    if spec.dtype not in _NUMBERS:
        raise invalid(f"input {name!r} has the type {spec.dtype}, which JSON cannot give.")
    wanted = numpy_type(spec)
    if not set(map(type, leaves)) <= _TYPES[wanted.kind]:
        raise invalid(f"input {name!r} must hold values of type {spec.dtype} alone.")
    try:
        wide: np.ndarray = np.array(leaves, _WIDE[wanted.kind])
    except OverflowError:
        raise _beyond(name, spec) from None
    with np.errstate(over="ignore"):
        array = wide.astype(wanted)
    is_float = wanted.kind == "f"
    fits = np.isfinite(array) == np.isfinite(wide) if is_float else array == wide
    if not fits.all():
        raise _beyond(name, spec)
    return array


def _beyond(name: str, spec: Spec) -> RequestError:
    return invalid(f"input {name!r} holds a number beyond the range of {spec.dtype}.")


def _bytes(item: Any, name: str) -> bytes:
    if isinstance(item, str):
        try:
            return item.encode()
        except UnicodeEncodeError:
            raise invalid(f"input {name!r} holds a string that is not Unicode.") from None
    if is_binary(item):
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, ValueError):
            raise invalid(f"input {name!r} holds a 'b64' that is not Base64.") from None
    raise invalid(f"input {name!r} must hold strings, or {{'b64': ...}} for bytes.")


def encodable(array: np.ndarray, name: str) -> Any:
    """What the JSON writers take: an array whose numbers lie in order, a number, or lists of text.

    Raises:
      RequestError: 500; strings are not UTF-8, and the name does not end with `_bytes`.
    """
    if array.dtype.kind in "OS":
        return _text(array.tolist(), name)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _text(item: Any, name: str) -> Any:
    if isinstance(item, list):
        return [_text(each, name) for each in item]
    if name.endswith(_BYTES_SUFFIX):
        return {"b64": base64.b64encode(item).decode()}
    try:
        return item.decode()
    except UnicodeDecodeError:
        message = f"output {name!r} is not text; the model must name it {name}{_BYTES_SUFFIX}."
        raise RequestError(500, message) from None
