"""What requests are answered with, as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tf_structvae.serving.body import Body
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


async def guarded(body: Body, answer: Callable[[], Awaitable[Response]]) -> Response:
    """What `answer` returns; its refusals as JSON, after the rest of the body."""
    try:
        try:
            return await answer()
        except RequestError as error:
            response = as_error(error)
        # not before the error is gone: its traceback holds all that was made of the request
        await body.discard()
        return response
    except RequestError as error:  # the rest did not come in time
        return as_error(error)
    except ClientDisconnect:
        return Response(status_code=LEFT)


async def plain_error(_: Request, error: Exception) -> Response:
    """What the routes themselves refuse: unknown addresses, other methods."""
    assert isinstance(error, HTTPException)
    response = as_json({"error": str(error.detail)}, error.status_code)
    response.headers.update(error.headers or {})
    return response


async def failed(_: Request, error: Exception) -> Response:
    """What the server itself does wrong; the error goes to the log."""
    return as_json({"error": "the server failed; its log has the reason."}, 500)
