"""The editor of a model behind TF-Serving's REST API."""

import json

import editor_models
import httpx
import numpy as np
import pytest
from editor_models import LIMITS, ORIGIN, ask
from starlette.testclient import TestClient

from tf_structvae.serving.app import create_app as create_serving_app
from tf_structvae.serving.editor import packing
from tf_structvae.serving.editor.remote import Remote
from tf_structvae.serving.editor.server import create_remote_app


class TensorFlowServing(httpx.AsyncBaseTransport):
    """What TF-Serving documents, over our server: it has no card."""

    def __init__(self, app):
        self._app = httpx.ASGITransport(app)

    async def handle_async_request(self, request):
        path = request.url.path
        if path.endswith("/card"):
            return httpx.Response(400, json={"error": f"Malformed request: GET {path}"})
        response = await self._app.handle_async_request(request)
        found = json.loads(await response.aread())
        if path.endswith("/metadata"):
            spec = {"name": "waves", "signature_name": "", "version": "1"}
            found = {"model_spec": spec, "metadata": found["metadata"]}
        return httpx.Response(response.status_code, json=found)


def test_tf_serving_needs_no_card(saved):
    directory, model = saved
    transport = TensorFlowServing(create_serving_app({"waves": directory}, LIMITS))
    remote = Remote(f"{ORIGIN}:8501/v1/models/waves", 5.0, transport)
    with TestClient(create_remote_app(remote, LIMITS), base_url=ORIGIN) as client:
        found = client.get("/editor/model").json()
        assert found["card"] is None
        assert found["image_shape"] == list(editor_models.COLOUR)
        assert (found["latent_dim"], found["rank"]) == (editor_models.LATENT, editor_models.RANK)
        seeds = np.array([[3, 0]], np.int32)
        drawn, _ = packing.unpack(ask(client, "sample", {"seeds": seeds}).content)
        np.testing.assert_allclose(drawn["latents"], model.sample(seeds)["latents"], rtol=1e-5)
        for name in ("decode", "components"):
            found, _ = packing.unpack(ask(client, name, {"latents": drawn["latents"]}).content)
            for key, value in getattr(model, name)(drawn["latents"]).items():
                np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-6)


def test_forwarding_goes_to_the_model_alone(remote):
    for path in ("/v1/models/waves/../other", "/v1/models/wavesother", "/v1/models/other/metadata",
                 "/v1/models/waves/versions/1/../../x", "/v1/models/waves@h", "/v1/"):  # fmt: skip
        response = remote.get(path.replace("..", "%2e%2e"))
        assert response.status_code == 400, path


def _broken(answer):
    return Remote(f"{ORIGIN}:1/v1/models/waves", 1.0, transport=httpx.MockTransport(answer))


def _unreachable(_):
    raise httpx.ConnectError("connection refused")


def _slow(_):
    raise httpx.ReadTimeout("")


@pytest.mark.parametrize(
    ("answer", "status", "message"),
    [
        (_unreachable, 502, "does not answer: connection refused"),
        (_slow, 504, "took too long"),
        (lambda _: httpx.Response(200, text="<html>"), 502, "without JSON"),
        (lambda _: httpx.Response(200, json={}), 502, "is not as TF-Serving's"),
        (lambda _: httpx.Response(404, json={"error": "no such model"}), 404, "no such model"),
        (lambda _: httpx.Response(500, json=[]), 500, "answered 500"),
        (lambda _: httpx.Response(302, headers={"location": "http://x/"}), 502, "302"),
    ],
)
def test_broken_server_is_told_in_words(answer, status, message):
    with TestClient(create_remote_app(_broken(answer)), base_url=ORIGIN) as client:
        response = client.get("/editor/model")
        assert response.status_code == status
        assert message in response.json()["error"]
        predicted = ask(client, "decode", {"latents": np.zeros([1, 3], np.float32)})
        assert predicted.status_code in (status, 502)
        assert client.get("/").status_code == 200


def test_answer_that_does_not_end_is_told(monkeypatch):
    async def endless():
        for _ in range(1000):
            yield b" " * 1000
        pytest.fail("the whole answer was read")

    monkeypatch.setattr("tf_structvae.serving.editor.remote.LARGEST_ANSWER", 10_000)
    remote = _broken(lambda _: httpx.Response(200, content=endless()))
    with TestClient(create_remote_app(remote), base_url=ORIGIN) as client:
        response = client.get("/editor/model")
        assert response.status_code == 502
        assert "answers with too many bytes" in response.json()["error"]


@pytest.mark.parametrize(
    "url", ["", "localhost:8501", "http://host/v1/models/", "ftp://h/v1/models/m",
            "http://h/v1/models/a/b", "http://user@h/v1/models/m", "http://h/v1/models/m?x"]
)  # fmt: skip
def test_server_must_be_a_models_address(url):
    with pytest.raises(ValueError, match="--server must be http://HOST:PORT/v1/models/NAME"):
        Remote(url, 1.0)


def test_server_address_may_have_a_prefix():
    assert Remote("https://h:1/tf/v1/models/m/", 1.0).url == "https://h:1/tf/v1/models/m"
