"""The HTTP server as an application, for uvicorn or a larger application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tf_structvae import __version__
from tf_structvae.serving import (
    open_inference,
    open_inference_openapi,
    open_inference_paths,
    openapi,
    paths,
    protocol,
)
from tf_structvae.serving.batching import Batches
from tf_structvae.serving.body import Body
from tf_structvae.serving.errors import invalid, missing
from tf_structvae.serving.hosts import LOOPBACK, HostCheck
from tf_structvae.serving.limits import Gate, Limits
from tf_structvae.serving.metrics import CONTENT_TYPE, Metrics
from tf_structvae.serving.paths import Target
from tf_structvae.serving.protocol import Call
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

    Routes other than /v1/, /v2, /healthz, /readyz, /openapi.json and `METRICS_PATH` are free for
    the caller to add; `app.state.description` is where they may be described.

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
    app.state.batches = server.batches
    app.add_middleware(HostCheck, allowed=allowed_hosts)
    verbs = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]
    app.add_api_route("/v1/{path:path}", server.answer, methods=verbs)
    app.add_api_route("/v2", server.answer_open_inference, methods=verbs)
    app.add_api_route("/v2/{path:path}", server.answer_open_inference, methods=verbs)
    app.add_api_route("/healthz", server.health)
    app.add_api_route("/readyz", server.ready)
    app.add_api_route(METRICS_PATH, server.metrics_text)
    openapi.publish(app, open_inference_openapi.add(openapi.document(METRICS_PATH)))
    app.add_exception_handler(HTTPException, plain_error)
    app.add_exception_handler(Exception, failed)
    return app


@dataclass
class _Seen:
    """What a request turned out to be for, for the counters."""

    model: str = "unknown"
    verb: str = "unknown"


class _Server:
    def __init__(self, models: Mapping[str, str | Path], limits: Limits):
        self.limits = limits
        self.metrics = Metrics()
        self.models = Repository(models, self.metrics)
        self.gate = Gate(limits)
        self.readers = Readers()
        self.batches = Batches(limits.concurrency, limits.joined, limits.batch)

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

        async def respond(body: Body, seen: _Seen) -> Response:
            target = paths.parse(request.method, request.scope["path"])
            seen.verb = target.verb
            seen.model = self.models[target.model].name
            return await self._respond(target, body)

        return await self._counted(request, respond)

    async def answer_open_inference(self, request: Request) -> Response:
        """Any request below /v2."""

        async def respond(body: Body, seen: _Seen) -> Response:
            target = open_inference_paths.parse(request.method, request.scope["path"])
            seen.verb = target.verb
            if target.model is None:
                return self._about(target.verb)
            seen.model = self.models[target.model].name
            if target.verb == "infer":
                header = _header_length(request.headers.get(open_inference.HEADER))
                return await self._infer(target, body, header)
            with self.models[target.model].use(target.version) as servable:
                if target.verb == "ready":
                    return as_json({"name": target.model, "ready": True})
                found = open_inference.metadata(
                    target.model, servable.path.name, servable.signatures
                )
            return as_json(found)

        return await self._counted(request, respond)

    async def _counted(
        self, request: Request, respond: Callable[[Body, _Seen], Awaitable[Response]]
    ) -> Response:
        """An answer, counted by the model and the verb that it has seen."""
        loop = asyncio.get_running_loop()
        body = Body(request, self.limits, loop.time() + self.limits.seconds)
        seen = _Seen()
        response = await guarded(body, lambda: respond(body, seen))
        self.metrics.request(seen.model, seen.verb, response.status_code)
        return response

    def _about(self, verb: str) -> Response:
        if verb == "server":
            about = {"name": "tf_structvae", "version": __version__}
            return as_json({**about, "extensions": ["binary_tensor_data", "signatures"]})
        if verb == "live":
            return as_json({"live": True})
        ready = all(model.current for model in self.models)
        return as_json({"ready": ready}, 200 if ready else 503)

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
        def run(data: bytes) -> tuple[Call, bytes]:
            with self.models[target.model].use(target.version, target.label) as servable:
                asked, outputs = self._outputs(servable, data, protocol.decode)
            return asked, protocol.response(outputs, asked.by_row)

        result = await self._called(target.model, body, run)
        return Response(result, media_type="application/json")

    async def _infer(
        self, target: open_inference_paths.Target, body: Body, header: int | None
    ) -> Response:
        model = target.model or ""
        head: int | None = None

        def run(data: bytes) -> tuple[Call, bytes]:
            nonlocal head
            read = partial(open_inference.decode, header=header)
            with self.models[model].use(target.version) as servable:
                version = servable.path.name
                asked, outputs = self._outputs(servable, data, read)
            assert isinstance(asked, open_inference.Inference)
            result, head = open_inference.response(asked, outputs, model, version)
            return asked, result

        result = await self._called(model, body, run)
        if head is None:
            return Response(result, media_type="application/json")
        headers = {open_inference.HEADER: str(head)}
        return Response(result, media_type="application/octet-stream", headers=headers)

    async def _called(
        self, model: str, body: Body, run: Callable[[bytes], tuple[Call, bytes]]
    ) -> bytes:
        """The answer to a body, from one of the threads that call models."""
        start = asyncio.get_running_loop().time()
        async with self.gate.admit():
            data = await body.read()
            asked, result = await self.gate.call(lambda: run(data), start + self.limits.seconds)
        seconds = asyncio.get_running_loop().time() - start
        self.metrics.predicted(model, asked.signature_name, asked.rows, seconds)
        return result

    def _outputs(
        self, servable: Servable, data: bytes, read: Callable[..., Call]
    ) -> tuple[Call, dict[str, np.ndarray]]:
        asked = self.readers.decode(data, servable.signatures, self.limits.batch, read)
        size = asked.rows * servable.signature(asked.signature_name).row_size
        if size > self.limits.response_values:
            raise invalid(
                f"the response would hold {size} numbers; at most "
                f"{self.limits.response_values} may be: ask for fewer rows."
            )
        return asked, self.batches.run(servable, asked.signature_name, asked.inputs)


def _header_length(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise invalid(f"{open_inference.HEADER} must be a number of bytes, got {text[:40]!r}.")
    return int(text)


def _card(servable: Servable) -> Response:
    try:
        content = (servable.path / CARD).read_bytes()
    except OSError:
        raise missing(f"version {servable.path.name} has no {CARD}.") from None
    return Response(content, media_type="application/json")
