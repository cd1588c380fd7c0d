"""A model behind TF-Serving's REST API on another server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from tf_structvae.serving.body import Body
from tf_structvae.serving.editor.information import describe
from tf_structvae.serving.errors import RequestError, invalid

_URL = re.compile(r"(https?://[^/?#@\s]+(?:/[^?#\s]*)?)/v1/models/([^/:?#\s]+)/?")
_BELOW = re.compile(r"(/versions/[0-9]+|/labels/[A-Za-z0-9_-]+)?(:[a-z]+|/metadata|/card)?")
LARGEST_ANSWER = 512 << 20  # bytes; the components of a large model are the most there is
CONNECT_SECONDS = 5.0


class Remote:
    """Calls signatures by HTTP; the page itself talks to the editor alone.

    Args:
      url: http://HOST:PORT/v1/models/NAME.
      seconds: that an answer may take.
      transport: of httpx, for tests.

    Raises:
      ValueError: the URL is of another form.
    """

    def __init__(self, url: str, seconds: float, transport: httpx.AsyncBaseTransport | None = None):
        found = _URL.fullmatch(url)
        if not found:
            raise ValueError(f"--server must be http://HOST:PORT/v1/models/NAME, got {url!r}.")
        self.base, self.name = found.groups()
        self.url = f"{self.base}/v1/models/{self.name}"
        # trust_env: a proxy of the environment has no business between this and the server
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        self._client = httpx.AsyncClient(timeout=timeout, trust_env=False, transport=transport)

    async def information(self) -> dict[str, Any]:
        """See `describe`. The card is that of `bin/serve`; TF-Serving itself has none.

        Raises:
          ValueError: the model is none for the editor.
          RequestError: the server does not answer as it should.
        """
        found = await self._json("GET", f"{self.url}/metadata")
        try:
            signatures = found["metadata"]["signature_def"]["signature_def"]
            version = str(found["model_spec"]["version"])
        except (KeyError, TypeError):
            raise RequestError(502, f"{self.url}/metadata is not as TF-Serving's.") from None
        try:
            card = await self._json("GET", f"{self.url}/card")
        except RequestError:
            card = None
        return describe(self.name, version, signatures, card)

    async def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature.

        Raises:
          RequestError: as the server refuses it; 502, it does not answer as it should.
        """
        arrays = {k: np.ascontiguousarray(a) for k, a in inputs.items()}
        asked = {"signature_name": signature, "inputs": arrays}
        content = orjson.dumps(asked, option=orjson.OPT_SERIALIZE_NUMPY)
        found = await self._json("POST", f"{self.url}:predict", content)
        try:
            return {k: np.array(v, np.float32) for k, v in found["outputs"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RequestError(502, f"{self.url} did not answer with named arrays.") from None

    async def forward(self, request: Request, body: Body) -> Response:
        """The server's own answer to a request below /v1/."""
        path = request.scope["path"]
        if not path.startswith(f"/v1/models/{self.name}") or not _BELOW.fullmatch(
            path, len(f"/v1/models/{self.name}")
        ):
            raise invalid(f"Malformed request: {request.method} {path}")
        status, content = await self._fetch(request.method, self.base + path, await body.read())
        return Response(content, status, media_type="application/json")

    async def close(self) -> None:
        await self._client.aclose()

    async def _json(self, method: str, url: str, content: bytes | None = None) -> Any:
        status, answer = await self._fetch(method, url, content)
        try:
            found = orjson.loads(answer)
        except orjson.JSONDecodeError:
            raise RequestError(502, f"{url} answered {status} without JSON.") from None
        if status != 200:
            text = found.get("error") if isinstance(found, dict) else None
            raise RequestError(status, text or f"{url} answered {status}.")
        return found

    async def _fetch(self, method: str, url: str, content: bytes | None) -> tuple[int, bytes]:
        headers = {"content-type": "application/json"} if content else {}
        try:
            async with self._client.stream(method, url, content=content, headers=headers) as got:
                parts, size = [], 0
                async for part in got.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > LARGEST_ANSWER:
                        raise RequestError(502, f"{url} answers with too many bytes.")
                return got.status_code, b"".join(parts)
        except httpx.TimeoutException:
            raise RequestError(504, f"the server at {self.base} took too long.") from None
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise RequestError(
                502, f"the server at {self.base} does not answer: {reason}."
            ) from None
