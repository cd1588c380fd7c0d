"""The HTTP server as an application, for uvicorn or a larger application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tf_structvae.serving import openapi, paths, protocol
from tf_structvae.serving.body import Body
from tf_structvae.serving.errors import invalid, missing
from tf_structvae.serving.hosts import LOOPBACK, HostCheck
from tf_structvae.serving.limits import Gate, Limits
from tf_structvae.serving.metrics import CONTENT_TYPE, Metrics
from tf_structvae.serving.paths import Target
from tf_structvae.serving.readers import Readers
from tf_structvae.serving.repository import Repository
from tf_structvae.serving.responses import as_json, failed, guarded, plain_error
from tf_structvae.serving.servable import CARD, Servable

METRICS_PATH = "/monitoring/prometheus/metrics"  # TF-Serving's example configuration has the same


def create_app(
    models: Mapping[str, str | Path],
    limits: Limits | None = None,
    allowed_hosts: Collection[str] = LOOPBACK,
    poll_seconds: float = 2.0,
) -> FastAPI:
    """A server of exported models; their highest versions are loaded before it returns.

    Routes other than /v1/, /healthz, /readyz, /openapi.json and `METRICS_PATH` are free for the
    caller to add; `app.state.description` is where they may be described.

    Args:
      models: name -> directory of versions.
      limits: None is `Limits()`.
      allowed_hosts: names under which it may be reached, without ports; "*" is any.
      poll_seconds: how often it looks for new versions.

    Raises:
      ValueError: no model, one of which no version can be loaded, or a `poll_seconds` that is
        not positive.
    """
    if not poll_seconds > 0:
        raise ValueError(f"poll_seconds must be positive, got {poll_seconds}.")
    server = _Server(models, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        server.models.start(poll_seconds)
        yield
        server.models.stop()
        server.gate.close()
        server.readers.close()

    # FastAPI's own description knows none of the answers, and its pages load scripts from elsewhere
    app = FastAPI(title="tf_structvae", openapi_url=None, lifespan=lifespan)
    app.state.models, app.state.gate, app.state.metrics = server.models, server.gate, server.metrics
    app.add_middleware(HostCheck, allowed=allowed_hosts)
    verbs = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    app.add_api_route("/v1/{path:path}", server.answer, methods=verbs)
    app.add_api_route("/healthz", server.health)
    app.add_api_route("/readyz", server.ready)
    app.add_api_route(METRICS_PATH, server.metrics_text)
    openapi.publish(app, openapi.document(METRICS_PATH))
    app.add_exception_handler(HTTPException, plain_error)
    app.add_exception_handler(Exception, failed)
    return app


class _Server:
    def __init__(self, models: Mapping[str, str | Path], limits: Limits):
        self.limits = limits
        self.metrics = Metrics()
        self.models = Repository(models, self.metrics)
        self.gate = Gate(limits)
        self.readers = Readers()

    async def health(self) -> Response:
        return as_json({"status": "ok"})

    async def ready(self) -> Response:
        versions = {model.name: model.current for model in self.models}
        return as_json(versions, 200 if all(versions.values()) else 503)

    async def metrics_text(self) -> Response:
        text = self.metrics.text(inside=self.gate.inside, running=self.gate.running)
        return Response(text, media_type=CONTENT_TYPE)

    async def answer(self, request: Request) -> Response:
        """Any request below /v1/."""
        loop = asyncio.get_running_loop()
        body = Body(request, self.limits, loop.time() + self.limits.seconds)
        model = verb = "unknown"

        async def respond() -> Response:
            nonlocal model, verb
            target = paths.parse(request.method, request.scope["path"])
            verb = target.verb
            model = self.models[target.model].name
            return await self._respond(target, body)

        response = await guarded(body, respond)
        self.metrics.request(model, verb, response.status_code)
        return response

    async def _respond(self, target: Target, body: Body) -> Response:
        model = self.models[target.model]
        if target.verb == "predict":
            return await self._predict(target, body)
        if target.verb == "status":
            if target.label is not None:
                with model.use(label=target.label):
                    pass
            return as_json(model.status(target.version))
        with model.use(target.version, target.label) as servable:
            if target.verb == "card":
                return _card(servable)
            number = servable.path.name
            spec = {"name": model.name, "signature_name": "", "version": number}
            metadata = {"signature_def": {"signature_def": servable.metadata}}
            return as_json({"model_spec": spec, "metadata": metadata})

    async def _predict(self, target: Target, body: Body) -> Response:
        start = asyncio.get_running_loop().time()
        async with self.gate.admit():
            data = await body.read()
            result, name, rows = await self.gate.call(
                lambda: self._run(target, data), start + self.limits.seconds
            )
        seconds = asyncio.get_running_loop().time() - start
        self.metrics.predicted(target.model, name, rows, seconds)
        return Response(result, media_type="application/json")

    def _run(self, target: Target, data: bytes) -> tuple[bytes, str, int]:
        """The response, the signature's name and the number of rows."""
        with self.models[target.model].use(target.version, target.label) as servable:
            asked = self.readers.decode(data, servable.signatures, self.limits.batch)
            size = asked.rows * servable.signature(asked.signature_name).row_size
            if size > self.limits.response_values:
                raise invalid(
                    f"the response would hold {size} numbers; at most "
                    f"{self.limits.response_values} may be: ask for fewer rows."
                )
            outputs = servable.run(asked.signature_name, asked.inputs)
        return protocol.response(outputs, asked.by_row), asked.signature_name, asked.rows


def _card(servable: Servable) -> Response:
    try:
        content = (servable.path / CARD).read_bytes()
    except OSError:
        raise missing(f"version {servable.path.name} has no {CARD}.") from None
    return Response(content, media_type="application/json")
