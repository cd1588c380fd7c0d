"""The OpenAPI description of the server: every address, and every answer that it may give."""

from __future__ import annotations

import copy
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from tf_structvae import __version__
from tf_structvae.serving.responses import as_json

PATH = "/openapi.json"
ABOUT = """TensorFlow Serving's REST API (/v1) and the Open Inference Protocol (/v2).

Bodies are JSON with two additions of the first: NaN, Infinity and -Infinity are numbers, and a
string of any bytes is {"b64": ...}. Whatever else is asked for below /v1/ is answered with 400,
below /v2 and elsewhere with 404, and another method with 405, below /v2 with 404. What is no HTTP
at all is answered with 400 in plain text."""

REASONS = {
    400: "The request is at fault.",
    403: "The host is none of the server's names, or a page of another origin asks.",
    404: "The model, version, label or file is not served.",
    408: "The request did not arrive in time.",
    409: "The editor cannot show this model.",
    413: "The request is too large.",
    415: "The request is compressed, or of another type.",
    429: "Too many requests wait.",
    500: "The model or the server failed.",
    502: "The server behind this one does not answer as it should.",
    503: "No call was free in time, memory ran out, or (plain text) too many are connected.",
    504: "The call took too long.",
}
_RETRY = (429, 503)
EVERYWHERE = (400, 403, 500, 503)
BELOW_MODEL = (*EVERYWHERE, 404, 408)
PREDICT = (*BELOW_MODEL, 413, 415, 429, 504)


def content(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """A body of one form."""
    return {"content": {media_type: {"schema": schema}}}


def reference(name: str) -> dict[str, str]:
    """One of the schemas below."""
    return {"$ref": f"#/components/schemas/{name}"}


def operation(summary: str, answer: dict[str, Any], errors: tuple[int, ...], **more: Any) -> dict:
    """What a method of an address does.

    Args:
      summary: a sentence.
      answer: its `content` if all is well.
      errors: keys of `REASONS`.
      **more: other fields of the operation.
    """
    responses = {"200": {"description": "The answer.", **answer}, **_errors(errors)}
    return {"summary": summary, "responses": responses, **more}


def _errors(statuses: tuple[int, ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted(statuses):
        response = {"description": REASONS[status], **content(reference("Error"))}
        if status == 503:
            response["content"]["text/plain"] = {"schema": {"type": "string"}}
        if status in _RETRY:
            about = "Seconds after which the same request may succeed."
            response["headers"] = {"Retry-After": {"description": about, "schema": _INTEGER}}
        responses[str(status)] = response
    return responses


def parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A part of an address."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


def document(metrics_path: str | None = None) -> dict[str, Any]:
    """The description of a server.

    Args:
      metrics_path: where Prometheus asks; None: it only passes on what is asked below /v1/.
    """
    paths: dict[str, Any] = {}
    model = parameter("model", NAME)
    for below, parameters in (
        ("", [model]),
        ("/versions/{version}", [model, parameter("version", VERSION)]),
        ("/labels/{label}", [model, parameter("label", NAME)]),
    ):
        address = f"/v1/models/{{model}}{below}"
        for end, methods in _MODEL.items():
            paths[address + end] = {"parameters": parameters, **copy.deepcopy(methods)}
    about = content({"type": "object", "required": ["openapi", "paths"]})
    paths[PATH] = {"get": operation("This description.", about, EVERYWHERE)}
    if metrics_path:
        paths |= _upkeep(metrics_path)
    else:
        for methods in paths.values():
            for method in ("get", "post"):
                if method in methods:
                    methods[method]["responses"] |= _errors((502, 504))
    return {
        "openapi": "3.1.0",
        "info": {"title": "tf_structvae", "version": __version__, "description": ABOUT},
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _upkeep(metrics_path: str) -> dict[str, Any]:
    served = {"type": "object", "additionalProperties": {"anyOf": [_INTEGER, {"type": "null"}]}}
    ready = operation("The served version of every model.", content(served), EVERYWHERE)
    ready["responses"]["503"]["description"] += " Or a model has no served version."
    ready["responses"]["503"]["content"]["application/json"]["schema"] = {
        "anyOf": [reference("Error"), served]
    }
    text = content(_STRING, "text/plain")
    return {
        "/healthz": {
            "get": operation("Whether it runs.", content(fields(status=_STRING)), EVERYWHERE)
        },
        "/readyz": {"get": ready},
        metrics_path: {"get": operation("Counters for Prometheus.", text, EVERYWHERE)},
    }


def publish(app: FastAPI, description: dict[str, Any]) -> None:
    """Adds the address of a description, `app.state.description`."""

    async def answer() -> Response:
        return as_json(app.state.description)

    app.state.description = description
    app.add_api_route(PATH, answer)


def fields(**properties: Any) -> dict[str, Any]:
    """The schema of an object that has these properties.

    Args:
      **properties: schemas by name.
    """
    return {"type": "object", "properties": properties, "required": list(properties)}


_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
NAME = {"type": "string", "pattern": "^[^/:]+$"}
VERSION = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_VALUE = reference("Value")
_SIGNATURE_NAME = {"type": "string", "default": "serving_default"}
_STATE = fields(
    version=_STRING,
    state={"enum": ["LOADING", "AVAILABLE", "UNLOADING", "END"]},
    status=fields(error_code={"enum": ["OK", "UNKNOWN"]}, error_message=_STRING),
)
_SCHEMAS = {
    "Error": {**fields(error=_STRING), "additionalProperties": False},
    "Binary": {**fields(b64=_STRING), "additionalProperties": False},
    "Value": {
        "description": "A number, string or truth value, or lists of lists of one shape of them.",
        "anyOf": [
            *({"type": kind} for kind in ("number", "string", "boolean")),
            reference("Binary"),
            {"type": "array", "items": _VALUE},
        ],
    },
    "NamedValues": {"type": "object", "additionalProperties": _VALUE},
    "PredictRequest": {
        "type": "object",
        "properties": {
            "signature_name": _SIGNATURE_NAME,
            "instances": {
                "description": "Rows; a lone input may go without its name.",
                "type": "array",
                "minItems": 1,
                "items": {"anyOf": [_VALUE, reference("NamedValues")]},
            },
            "inputs": {
                "description": "Columns; a lone input may go without its name.",
                "anyOf": [_VALUE, reference("NamedValues")],
            },
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "PredictResponse": {
        "type": "object",
        "properties": {
            "predictions": {
                "type": "array",
                "items": {"anyOf": [_VALUE, reference("NamedValues")]},
            },
            "outputs": {"anyOf": [_VALUE, reference("NamedValues")]},
        },
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
    },
    "Status": fields(model_version_status={"type": "array", "items": _STATE}),
    "Metadata": fields(
        model_spec=fields(name=_STRING, signature_name=_STRING, version=_STRING),
        metadata=fields(signature_def=fields(signature_def={"type": "object"})),
    ),
}
_MODEL = {
    "": {
        "get": operation(
            "Versions and their states; of one that could not be loaded, why.",
            content(reference("Status")),
            BELOW_MODEL,
        )
    },
    "/metadata": {
        "get": operation(
            "Names, types and shapes of all signatures.",
            content(reference("Metadata")),
            BELOW_MODEL,
        )
    },
    "/card": {
        "get": operation("The version's model_card.json.", content({"type": "object"}), BELOW_MODEL)
    },
    ":predict": {
        "post": operation(
            "The outputs of a signature for the rows of the request.",
            content(reference("PredictResponse")),
            PREDICT,
            requestBody={"required": True, **content(reference("PredictRequest"))},
        )
    },
}
