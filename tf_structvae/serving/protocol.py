"""The predict requests and responses of TF-Serving's REST API, as bytes.

The format is that of https://www.tensorflow.org/tfx/serving/api_rest: "Predict API", "JSON
mapping", "Encoding binary values" and "JSON conformance".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from tf_structvae.serving import specs, values
from tf_structvae.serving.errors import invalid
from tf_structvae.serving.specs import Signature

DEFAULT_SIGNATURE = "serving_default"
_SPECIAL = (b"NaN", b"Infinity")  # tokens that the API allows and JSON does not


@dataclass(frozen=True)
class PredictRequest:
    """A request before its signature is known.

    Attributes:
      signature_name: of the function to call.
      by_row: "instances" rather than "inputs".
      value: of that field.
    """

    signature_name: str
    by_row: bool
    value: Any


@dataclass(frozen=True)
class Call:
    """What a request asks for.

    Attributes:
      signature_name: of the function to call.
      by_row: whether the answer is to be, too.
      inputs: of the function.
      rows: their number.
    """

    signature_name: str
    by_row: bool
    inputs: dict[str, np.ndarray]
    rows: int


def decode(body: bytes, signatures: Mapping[str, Signature], batch: int) -> Call:
    """Reads a request body for one of several signatures.

    Args:
      body: of the request.
      signatures: name -> what it takes.
      batch: most rows.

    Raises:
      RequestError: 400; see `parse` and `tensors`, and: it has too many rows.
    """
    asked = parse(body)
    signature = specs.find(signatures, asked.signature_name)
    if asked.by_row:
        check_rows(len(asked.value), batch)
    inputs = tensors(asked, signature)
    rows = specs.rows(inputs)
    check_rows(rows, batch)
    return Call(asked.signature_name, asked.by_row, inputs, rows)


def check_rows(rows: int, batch: int) -> None:
    """Refuses too many.

    Raises:
      RequestError: 400, there are more rows than a batch may have.
    """
    if rows > batch:
        raise invalid(f"the request has {rows} rows; at most {batch} may be.")


def parse(body: bytes) -> PredictRequest:
    """Reads a request body.

    Raises:
      RequestError: 400; it is no JSON object, or not one of the documented form.
    """
    found = loads(body)
    if not isinstance(found, dict):
        raise invalid("the request body must be a JSON object.")
    name = found.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise invalid("'signature_name' must be a string.")
    given = [key for key in ("instances", "inputs") if key in found]
    if len(given) != 1:
        raise invalid("the request must have one of 'instances' and 'inputs', and not both.")
    value = found[given[0]]
    by_row = given == ["instances"]
    if by_row and not (isinstance(value, list) and value):
        raise invalid("'instances' must be a list of at least one value.")
    return PredictRequest(name or DEFAULT_SIGNATURE, by_row, value)


def loads(body: bytes) -> Any:
    """JSON with the tokens that the API adds to it.

    Raises:
      RequestError: 400, it is none.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = str(error)  # kept itself, it would hold this frame, and so the body and itself
    if any(token in body for token in _SPECIAL):
        try:
            found = json.loads(body.decode())
            if b"\\u" in body:  # half a pair of surrogates is no text
                json.dumps(found, ensure_ascii=False).encode()
            return found
        except (ValueError, RecursionError) as error:
            raise invalid(f"JSON Parse error: {error}") from None
    raise invalid(f"JSON Parse error: {message}")


def tensors(request: PredictRequest, signature: Signature) -> dict[str, np.ndarray]:
    """The arrays that a signature is called with.

    Raises:
      RequestError: 400; a name, type or shape is not the signature's.
    """
    names = signature.inputs
    named = _by_name_from_rows(request.value, names) if request.by_row else None
    if named is None:
        is_map = isinstance(request.value, dict) and not values.is_binary(request.value)
        if request.by_row or not is_map:
            named = {_only(names): request.value}
        else:
            named = request.value
            _check_names(named, names, "'inputs'")
    return {name: values.decode(named[name], name, spec) for name, spec in names.items()}


def _only(names: Mapping[str, Any]) -> str:
    if len(names) != 1:
        raise invalid(f"the signature has the inputs {', '.join(names)}: give each by its name.")
    return next(iter(names))


def _by_name_from_rows(rows: list, names: Mapping[str, Any]) -> dict[str, list] | None:
    """Rows of named values, column by column; None if they are plain values."""

    def is_object(row):
        return isinstance(row, dict) and not values.is_binary(row)

    if not any(is_object(row) for row in rows):
        return None
    for i, row in enumerate(rows):
        if not is_object(row):
            raise invalid(f"'instances' mixes objects and plain values: see item {i}.")
        _check_names(row, names, f"item {i} of 'instances'")
    return {name: [row[name] for row in rows] for name in names}


def _check_names(given: Mapping[str, Any], names: Mapping[str, Any], where: str) -> None:
    if given.keys() != names.keys():
        raise invalid(
            f"{where} has the names {', '.join(sorted(given)) or 'none'}; the signature's inputs "
            f"are {', '.join(names)}."
        )


def response(outputs: Mapping[str, np.ndarray], by_row: bool) -> bytes:
    """The body of a result; a lone output goes without its name.

    Raises:
      RequestError: 400; rows are asked for, and the outputs have not the same number of them.
    """
    encoded = {name: values.encodable(outputs[name], name) for name in sorted(outputs)}
    if not by_row:
        lone = len(encoded) == 1
        return dumps({"outputs": next(iter(encoded.values())) if lone else encoded}, outputs)
    shapes = {name: array.shape for name, array in outputs.items()}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        raise invalid(f"outputs of shapes {shapes} have no common rows: use the column format.")
    if len(encoded) == 1:
        return dumps({"predictions": next(iter(encoded.values()))}, outputs)
    count = next(iter(shapes.values()))[0]
    rows = [{name: array[i] for name, array in encoded.items()} for i in range(count)]
    return dumps({"predictions": rows}, outputs)


def dumps(content: dict, outputs: Mapping[str, np.ndarray]) -> bytes:
    """JSON of an answer that holds these outputs.

    orjson writes float32 as the shortest digits that give it back, but NaN as null.
    """
    floats = [array for array in outputs.values() if array.dtype.kind == "f"]
    if all(np.isfinite(array).all() for array in floats):
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(content, default=lambda array: array.tolist()).encode()
