"""The Open Inference Protocol, version 2, as bytes: what KServe, Triton and MLServer speak.

The format is that of https://github.com/kserve/open-inference-protocol (`inference_rest.md`) with
the binary tensors of Triton's `protocol/extension_binary_data.md`. Needs no TensorFlow.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_structvae.serving import protocol, specs, values
from tf_structvae.serving.errors import invalid
from tf_structvae.serving.protocol import DEFAULT_SIGNATURE, Call
from tf_structvae.serving.specs import Signature, Spec

HEADER = "inference-header-content-length"
DATATYPES = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
    **{f"{u.lower()}int{bits}": f"{u}INT{bits}" for u in ("", "U") for bits in (8, 16, 32, 64)},
}
"""The protocol's name of each of TensorFlow's types."""
_SEEDS = "seeds"  # the input that the parameter "seed" stands for
_MOST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Inference(Call):
    """What a request asks for.

    Attributes:
      request_id: to be given back; None if there was none.
      outputs: names of those wanted; None for all.
      binary: names of those wanted as bytes; None for all of them.
    """

    request_id: str | None = None
    outputs: tuple[str, ...] | None = None
    binary: frozenset[str] | None = frozenset()


def decode(
    body: bytes, signatures: Mapping[str, Signature], batch: int, header: int | None = None
) -> Inference:
    """Reads the body of an inference request.

    `parameters` of the request are `signature_name`, of the function to call, `seed`, an integer
    that stands for the input `seeds`: row i gets [seed, i], `rows`, their number where no other
    input says it, and `binary_data_output`, for all outputs.

    Args:
      body: of the request.
      signatures: name -> what it takes.
      batch: most rows.
      header: bytes of its JSON, after which binary tensors follow; None: it is JSON alone.

    Raises:
      RequestError: 400; it is not of the documented form, or a name, type or shape is not the
        signature's.
    """
    if header is not None and not 0 <= header <= len(body):
        raise invalid(f"{HEADER} must be at most the body's {len(body)} bytes, got {header}.")
    found = protocol.loads(body if header is None else body[:header])
    rest = memoryview(body)[len(body) if header is None else header :]
    if not isinstance(found, dict):
        raise invalid("the request must be a JSON object.")
    parameters = _object(found.get("parameters", {}), "'parameters'")
    name = parameters.get("signature_name", DEFAULT_SIGNATURE)
    signature = specs.find(signatures, name if isinstance(name, str) else repr(name))
    given = found.get("inputs", [])
    if not isinstance(given, list):
        raise invalid("'inputs' must be a list of tensors.")
    inputs: dict[str, np.ndarray] = {}
    for tensor in given:
        key = _object(tensor, "an item of 'inputs'").get("name")
        if not isinstance(key, str) or key not in signature.inputs or key in inputs:
            raise invalid(
                f"'inputs' has the name {key!r}; the signature's inputs are "
                f"{', '.join(signature.inputs)}, each once."
            )
        inputs[key], rest = _tensor(tensor, signature.inputs[key], rest)
    if len(rest):
        raise invalid(f"{len(rest)} bytes follow the tensors of the request.")
    if "seed" in parameters:
        inputs[_SEEDS] = _seeds(parameters, signature, inputs, batch)
    missing = [key for key in signature.inputs if key not in inputs]
    if missing:
        raise invalid(f"'inputs' lacks {', '.join(missing)} of the signature {name!r}.")
    rows = specs.rows(inputs)
    protocol.check_rows(rows, batch)
    outputs, binary = _wanted(found.get("outputs"), parameters, signature)
    request_id = found.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise invalid("'id' must be a string.")
    return Inference(name, False, inputs, rows, request_id, outputs, binary)


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"{where} must be a JSON object.")
    return value


def _tensor(tensor: dict, spec: Spec, rest: memoryview) -> tuple[np.ndarray, memoryview]:
    """The array of an input, and the bytes after it."""
    name = tensor["name"]
    wanted = DATATYPES.get(spec.dtype)
    if tensor.get("datatype") != wanted:
        raise invalid(f"input {name!r} must have the datatype {wanted}.")
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise invalid(f"input {name!r} must have a 'shape' of integers of at least 0.")
    values.check_shape(tuple(shape), name, spec)
    size = math.prod(shape)
    told = _object(tensor.get("parameters", {}), f"'parameters' of input {name!r}")
    if "binary_data_size" not in told:
        if "data" not in tensor:
            raise invalid(f"input {name!r} must have 'data', or 'binary_data_size' bytes of it.")
        return values.decode_flat(tensor["data"], name, spec, tuple(shape)), rest
    length = told["binary_data_size"]
    if type(length) is not int or not 0 <= length <= len(rest) or "data" in tensor:
        raise invalid(
            f"'binary_data_size' of input {name!r} must be at most the {len(rest)} bytes that "
            "follow, and without 'data'."
        )
    part, rest = rest[:length], rest[length:]
    if spec.dtype == "string":
        array = _strings(part, size, name)
    else:
        dtype = specs.numpy_type(spec).newbyteorder("<")
        if length != size * dtype.itemsize:
            raise invalid(
                f"input {name!r} of shape {shape} has {size * dtype.itemsize} bytes, not {length}."
            )
        if spec.dtype == "bool" and not set(bytes(part)) <= {0, 1}:
            raise invalid(f"input {name!r} must hold bytes of 0 and 1.")
        array = np.frombuffer(part, dtype).astype(dtype.newbyteorder("="))
    return array.reshape(shape), rest


def _strings(part: memoryview, size: int, name: str) -> np.ndarray:
    """Each is its length in four bytes, little-endian, and then itself."""
    found: list[bytes] = []
    while len(part) >= 4 and len(found) < size:
        (length,) = struct.unpack("<I", part[:4])
        if length > len(part) - 4:
            break
        found.append(bytes(part[4 : 4 + length]))
        part = part[4 + length :]
    if len(part) or len(found) != size:
        raise invalid(f"input {name!r} must hold {size} strings, each after its length.")
    array = np.empty(size, object)
    array[:] = found
    return array


def _seeds(parameters, signature: Signature, inputs, batch: int) -> np.ndarray:
    seed, rows = parameters["seed"], parameters.get("rows", 1)
    if _SEEDS not in signature.inputs or _SEEDS in inputs:
        raise invalid(f"'seed' stands for an input {_SEEDS!r}, which must be the signature's.")
    if type(seed) is not int or not -_MOST_SEED <= seed <= _MOST_SEED:
        raise invalid("'seed' must be an integer of 32 bits.")
    if type(rows) is not int or rows < 0:
        raise invalid("'rows' must be an integer of at least 0.")
    others = [len(array) for array in inputs.values() if array.ndim]
    count = others[0] if others else rows
    protocol.check_rows(count, batch)
    return np.stack([np.full(count, seed), np.arange(count)], -1).astype(np.int32)


def _wanted(outputs, parameters, signature: Signature):
    """Names of the outputs, None for all, and which of them as bytes."""
    everything = _flag(parameters, "binary_data_output")
    if outputs is None or outputs == []:
        return None, None if everything else frozenset()
    if not isinstance(outputs, list):
        raise invalid("'outputs' must be a list.")
    names: list[str] = []
    binary = set()
    for item in outputs:
        name = _object(item, "an item of 'outputs'").get("name")
        if not isinstance(name, str) or name not in signature.outputs or name in names:
            raise invalid(
                f"'outputs' has the name {name!r}; the signature's outputs are "
                f"{', '.join(signature.outputs)}, each once."
            )
        names.append(name)
        told = _object(item.get("parameters", {}), f"'parameters' of output {name!r}")
        if _flag(told, "binary_data", everything):
            binary.add(name)
    return tuple(names), frozenset(binary)


def _flag(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise invalid(f"{name!r} must be true or false.")
    return value


def response(
    asked: Inference, outputs: Mapping[str, np.ndarray], model: str, version: str
) -> tuple[bytes, int | None]:
    """The body of a result, and the bytes of its JSON where binary tensors follow.

    Args:
      asked: by the request.
      outputs: of the signature.
      model: its name.
      version: the one that answers.

    Raises:
      RequestError: 500; strings that JSON shall hold are no text.
    """
    tensors: list[dict[str, Any]] = []
    parts: list[bytes] = []
    chosen = {name: outputs[name] for name in asked.outputs or sorted(outputs)}
    for name, array in chosen.items():
        text = array.dtype.kind in "OSU"
        tensor: dict[str, Any] = {
            "name": name,
            "shape": list(array.shape),
            "datatype": "BYTES" if text else DATATYPES[array.dtype.name],
        }
        if asked.binary is None or name in asked.binary:
            parts.append(_as_bytes(array, text))
            tensor["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            tensor["data"] = values.encodable(array.reshape(-1), name)
        tensors.append(tensor)
    content: dict[str, Any] = {"model_name": model, "model_version": version}
    if asked.request_id is not None:
        content["id"] = asked.request_id
    content["outputs"] = tensors
    head = protocol.dumps(content, chosen)
    if not parts:
        return head, None
    return b"".join([head, *parts]), len(head)


def _as_bytes(array: np.ndarray, text: bool) -> bytes:
    if not text:
        return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return b"".join(struct.pack("<I", len(s)) + s for s in array.reshape(-1).tolist())


def metadata(model: str, version: str, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """A model's inputs and outputs: those of the default signature, and of all by name.

    Args:
      model: its name.
      version: the one that is served.
      signatures: name -> what it takes and gives.
    """

    def tensors(found: Mapping[str, Spec]) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "datatype": DATATYPES.get(spec.dtype, spec.dtype.upper()),
                "shape": [-1 if n is None else n for n in spec.shape or ()],
            }
            for name, spec in found.items()
        ]

    def sides(signature: Signature) -> dict[str, Any]:
        return {"inputs": tensors(signature.inputs), "outputs": tensors(signature.outputs)}

    first = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else next(iter(signatures), "")
    default = sides(signatures[first]) if first else {"inputs": [], "outputs": []}
    return {
        "name": model,
        "versions": [version],
        "platform": "tensorflow_savedmodel",
        **default,
        "signatures": {name: sides(signatures[name]) for name in sorted(signatures)},
    }
