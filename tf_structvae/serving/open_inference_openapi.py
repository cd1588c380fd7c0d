"""The part of the OpenAPI description that is the Open Inference Protocol."""

from __future__ import annotations

import copy
from typing import Any

from tf_structvae.serving import openapi
from tf_structvae.serving.open_inference import DATATYPES, HEADER
from tf_structvae.serving.openapi import content, fields, operation, parameter, reference

_BELOW_MODEL = openapi.BELOW_MODEL
_INFER = openapi.PREDICT
_STRING, _FLAG = {"type": "string"}, {"type": "boolean"}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_DATATYPE = {"enum": sorted(DATATYPES.values())}
_PARAMETERS = {"type": "object"}
_BINARY = content({"type": "string", "format": "binary"}, "application/octet-stream")
_LENGTH = {
    HEADER: {
        "description": "Bytes of the JSON, after which binary tensors follow in its order.",
        "schema": {"type": "integer"},
    }
}
SCHEMAS = {
    "Tensor": {
        **fields(name=_STRING, shape=_SHAPE, datatype=_DATATYPE),
        "description": "With `data`, flat or nested in row-major order, or as bytes.",
    },
    "InferenceRequest": {
        "type": "object",
        "properties": {
            "id": _STRING,
            "parameters": {
                "type": "object",
                "properties": {
                    "signature_name": {**_STRING, "default": "serving_default"},
                    "seed": {"type": "integer"},
                    "rows": {"type": "integer", "minimum": 0},
                    "binary_data_output": _FLAG,
                },
            },
            "inputs": {"type": "array", "items": reference("Tensor")},
            "outputs": {"type": "array", "items": fields(name=_STRING)},
        },
    },
    "InferenceResponse": fields(
        model_name=_STRING,
        model_version=_STRING,
        outputs={"type": "array", "items": reference("Tensor")},
    ),
    "TensorMetadata": fields(name=_STRING, datatype=_STRING, shape=_SHAPE),
}
_SIDE = {"type": "array", "items": reference("TensorMetadata")}
_MODEL = {
    "": operation(
        "Names, types and shapes of the default signature, and of all by name.",
        content(
            fields(
                name=_STRING,
                versions={"type": "array", "items": _STRING},
                platform=_STRING,
                inputs=_SIDE,
                outputs=_SIDE,
                signatures={"type": "object"},
            )
        ),
        _BELOW_MODEL,
    ),
    "/ready": operation(
        "Whether the model is served.", content(fields(name=_STRING, ready=_FLAG)), _BELOW_MODEL
    ),
}


def add(document: dict[str, Any]) -> dict[str, Any]:
    """A description with the protocol's addresses.

    Args:
      document: of `openapi.document`.
    """
    everywhere = (*openapi.EVERYWHERE, 404, 408)
    server = content(fields(name=_STRING, version=_STRING, extensions={"type": "array"}))
    paths: dict[str, Any] = {
        "/v2": {"get": operation("Name, version and extensions.", server, everywhere)},
        "/v2/health/live": {
            "get": operation("Whether it runs.", content(fields(live=_FLAG)), everywhere)
        },
    }
    ready = operation("Whether every model is served.", content(fields(ready=_FLAG)), everywhere)
    ready["responses"]["503"]["content"]["application/json"]["schema"] = {
        "anyOf": [reference("Error"), fields(ready=_FLAG)]
    }
    paths["/v2/health/ready"] = {"get": ready}
    answer = content(reference("InferenceResponse"))
    answer = {"content": {**answer["content"], **_BINARY["content"]}, "headers": _LENGTH}
    request = {"content": {**content(reference("InferenceRequest"))["content"]}}
    request["content"] |= _BINARY["content"]
    infer = operation(
        "The outputs of a signature.",
        answer,
        _INFER,
        requestBody={"required": True, **request},
    )
    model = parameter("model", openapi.NAME)
    for below, parameters in (
        ("", [model]),
        ("/versions/{version}", [model, parameter("version", openapi.VERSION)]),
    ):
        address = f"/v2/models/{{model}}{below}"
        for end, get in _MODEL.items():
            paths[address + end] = {"parameters": parameters, "get": copy.deepcopy(get)}
        paths[f"{address}/infer"] = {"parameters": parameters, "post": copy.deepcopy(infer)}
    schemas = {**document["components"]["schemas"], **SCHEMAS}
    return {
        **document,
        "paths": {**document["paths"], **paths},
        "components": {"schemas": schemas},
    }
