"""The editor's HTTP server: the page, and the way from it to a model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from tf_structvae.serving import app as serving_app
from tf_structvae.serving import openapi
from tf_structvae.serving.body import Body
from tf_structvae.serving.editor import packing
from tf_structvae.serving.editor.guard import Guard
from tf_structvae.serving.editor.local import Local
from tf_structvae.serving.editor.remote import Remote
from tf_structvae.serving.errors import RequestError, invalid
from tf_structvae.serving.hosts import LOOPBACK, HostCheck
from tf_structvae.serving.limits import Limits
from tf_structvae.serving.responses import as_json, failed, guarded, plain_error

STATIC = Path(__file__).with_name("static")
PACKED = "application/octet-stream"


def create_app(
    name: str,
    directory: str | Path,
    limits: Limits | None = None,
    allowed_hosts: Collection[str] = LOOPBACK,
) -> FastAPI:
    """The editor of an exported model, over `serving.app.create_app`.

    Args:
      name: of the model.
      directory: that holds its versions.
      limits: None is `Limits()`.
      allowed_hosts: see `serving.app.create_app`.

    Raises:
      ValueError: no version can be loaded.
    """
    limits = limits or Limits()
    app = serving_app.create_app({name: directory}, limits, allowed_hosts)
    _add(app, Local(app, name, limits), limits)
    return app


def create_remote_app(
    remote: Remote, limits: Limits | None = None, allowed_hosts: Collection[str] = LOOPBACK
) -> FastAPI:
    """The editor of a model behind another server, to which requests below /v1/ are passed on.

    Args:
      remote: the other server.
      limits: None is `Limits()`; size and seconds are kept to.
      allowed_hosts: see `serving.app.create_app`.
    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await remote.close()

    async def forward(request: Request) -> Response:
        return await _guarded(request, limits, lambda body: remote.forward(request, body))

    app = FastAPI(title="tf_structvae editor", openapi_url=None, lifespan=lifespan)
    app.state.gate = SimpleNamespace(running=0)  # no calls of models to wait for at the end
    app.add_middleware(HostCheck, allowed=allowed_hosts)
    app.add_api_route("/v1/{path:path}", forward, methods=["GET", "POST"])
    app.add_exception_handler(HTTPException, plain_error)
    app.add_exception_handler(Exception, failed)
    openapi.publish(app, openapi.document())
    _add(app, remote, limits)
    return app


_ARRAYS = openapi.content({"type": "string", "format": "binary"}, PACKED)
_PATHS = {
    "/editor/model": {
        "get": openapi.operation(
            "What the page knows of the model.",
            openapi.content({"type": "object"}),
            (400, 403, 404, 408, 409, 500, 502, 503, 504),
        )
    },
    "/editor/predict/{signature}": {
        "parameters": [openapi.parameter("signature", {"type": "string"})],
        "post": openapi.operation(
            "The outputs of a signature, all arrays packed as bytes.",
            _ARRAYS,
            (400, 403, 404, 408, 413, 415, 429, 500, 502, 503, 504),
            requestBody={"required": True, **_ARRAYS},
        ),
    },
}


class _Page(StaticFiles):
    """Static files. No name of one holds NUL, to which old releases of Starlette answer 500."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return ("", None) if "\0" in path else super().lookup_path(path)


def _add(app: FastAPI, model: Local | Remote, limits: Limits) -> None:
    async def information(request: Request) -> Response:
        async def answer(_: Body) -> Response:
            try:
                return as_json(await model.information())
            except ValueError as error:
                raise RequestError(409, str(error)) from None

        return await _guarded(request, limits, answer)

    async def predict(request: Request) -> Response:
        async def answer(body: Body) -> Response:
            if request.headers.get("content-type") != PACKED:
                raise RequestError(415, f"the request must be of type {PACKED}.")
            inputs, options = packing.unpack(await body.read())
            wanted = _wanted(options)
            outputs = await model.predict(request.path_params["signature"], inputs)
            absent = [name for name in wanted or () if name not in outputs]
            if absent:
                raise invalid(f"the signature has no output {absent[0]!r}.")
            kept = {k: v for k, v in outputs.items() if wanted is None or k in wanted}
            return Response(packing.pack(kept), media_type=PACKED)

        return await _guarded(request, limits, answer)

    app.state.description["paths"].update(_PATHS)
    app.add_api_route("/editor/model", information)
    app.add_api_route("/editor/predict/{signature}", predict, methods=["POST"])
    app.mount("/", _Page(directory=STATIC, html=True))
    app.add_middleware(Guard)


def _wanted(options: dict[str, Any]) -> list[str] | None:
    wanted = options.pop("outputs", None)
    good = wanted is None or (isinstance(wanted, list) and all(isinstance(n, str) for n in wanted))
    if options or not good:
        raise invalid("the request's header may hold 'arrays' and 'outputs', a list of names.")
    return wanted


async def _guarded(request: Request, limits: Limits, answer) -> Response:
    """What `answer` of the body returns; its refusals as JSON."""
    body = Body(request, limits, asyncio.get_running_loop().time() + limits.seconds)
    return await guarded(body, lambda: answer(body))
