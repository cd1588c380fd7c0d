"""What requests are answered with, as JSON."""

from __future__ import annotations

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tf_structvae.serving.errors import RequestError

LEFT = 499  # what is counted when a client leaves before its answer; nobody sees it


def as_json(content: object, status: int = 200) -> Response:
    """`content` as a response."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def as_error(error: RequestError) -> Response:
    """A refusal, with when to try again where that helps."""
    response = as_json({"error": str(error)}, error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


async def plain_error(_: Request, error: Exception) -> Response:
    """What the routes themselves refuse: unknown addresses, other methods."""
    assert isinstance(error, HTTPException)
    response = as_json({"error": str(error.detail)}, error.status_code)
    response.headers.update(error.headers or {})
    return response
