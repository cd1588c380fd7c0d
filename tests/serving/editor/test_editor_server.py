"""The editor's server: what it answers, and whom it refuses."""

import http.client
import json

import editor_models
import numpy as np
import pytest
from editor_models import LIMITS, ORIGIN, ask
from starlette.testclient import TestClient

from tf_structvae.serving.editor import packing
from tf_structvae.serving.editor.server import PACKED, STATIC, create_app

LATENTS = np.array([[0.5, -1.0, 0.2]], np.float32)


@pytest.mark.parametrize("way", ["client", "remote"])
def test_predict_equals_the_model(way, request, saved):
    client = request.getfixturevalue(way)
    p = saved[1].distribution(LATENTS)
    response = ask(client, "decode", {"latents": LATENTS})
    assert response.status_code == 200, response.text
    found, _ = packing.unpack(response.content)
    assert found["means"].shape == (1, *editor_models.COLOUR)
    np.testing.assert_allclose(found["means"].ravel(), np.ravel(p.mean()), rtol=1e-5)
    np.testing.assert_allclose(found["variances"].ravel(), np.ravel(p.variance()), rtol=1e-5)
    lone, _ = packing.unpack(ask(client, "decode", {"latents": LATENTS}, ["means"]).content)
    np.testing.assert_array_equal(lone["means"], found["means"])
    assert list(lone) == ["means"]
    # whole numbers are cast to what the signature takes
    seeds = np.array([[1, 0]], np.uint8)
    drawn, _ = packing.unpack(ask(client, "sample", {"seeds": seeds}).content)
    assert drawn["latents"].shape == (1, editor_models.LATENT)


@pytest.mark.parametrize("way", ["client", "remote"])
def test_information(way, request):
    found = request.getfixturevalue(way).get("/editor/model").json()
    assert found["name"] == "waves"
    assert found["version"] == "1"
    assert found["image_shape"] == list(editor_models.COLOUR)
    assert (found["latent_dim"], found["rank"]) == (editor_models.LATENT, editor_models.RANK)
    assert found["card"]["data"]["license"] == "CC0-1.0"
    assert "encode" in found["signatures"]


@pytest.mark.parametrize("way", ["client", "remote"])
def test_tf_serving_api_is_there_too(way, request, saved):
    client = request.getfixturevalue(way)
    asked = {"signature_name": "decode", "inputs": LATENTS.tolist()}
    found = client.post("/v1/models/waves:predict", json=asked).json()["outputs"]
    mean = saved[1].distribution(LATENTS).mean()
    np.testing.assert_allclose(np.ravel(found["means"]), np.ravel(mean), rtol=1e-5)
    assert client.get("/v1/models/waves/metadata").status_code == 200
    assert client.post("/v1/models/none:predict", json=asked).status_code in (400, 404)


def test_page_and_its_headers(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for response in (page, client.get("/main.js"), client.get("/none"), client.get("/v1/none")):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    assert client.get("/main.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/none").status_code == 404


def test_page_names_no_other_host():
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, file
        assert "https://" not in text, file
        assert "<style" not in text, file  # the policy would refuse it
        assert ' style="' not in text, file


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://elsewhere.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"host": "elsewhere.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
    ],
)
@pytest.mark.parametrize("way", ["client", "remote"])
def test_other_origins_are_refused(way, headers, request):
    client = request.getfixturevalue(way)
    response = ask(client, "decode", {"latents": LATENTS}, **headers)
    assert response.status_code == 403
    response = client.post("/v1/models/waves:predict", json={}, headers=headers)
    assert response.status_code == 403


def test_links_and_the_page_itself_are_answered(client):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/main.js", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    own = {"origin": ORIGIN, "sec-fetch-site": "same-origin"}
    assert ask(client, "decode", {"latents": LATENTS}, **own).status_code == 200


def test_form_of_a_page_cannot_post(client):
    """Types that a form may send need no leave of the browser."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"content-type": kind}
        assert ask(client, "decode", {"latents": LATENTS}, **headers).status_code == 415


def _packed(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(4, "little") + text + data


def _one(**changes):
    item = {"name": "latents", "dtype": "float32", "shape": [1, 3]} | changes
    return {"arrays": [{k: v for k, v in item.items() if v is not None}]}


TWELVE = bytes(12)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "too few for its header"),
        (b"\1\0\0", "too few for its header"),
        (b"\xff\xff\xff\xff{}", "too few for its header"),
        (_packed(b"{"), "is no JSON"),
        (_packed(b"[" * 5000), "is no JSON"),
        (_packed([]), "must be an object"),
        (_packed({"arrays": 3}), "must be an object"),
        (_packed({"arrays": [3]}), "must have name, dtype and shape"),
        (_packed(_one(shape=None)), "must have name, dtype and shape"),
        (_packed(_one(name=3), TWELVE), "must be a string"),
        (_packed(_one(dtype="object"), TWELVE), "has dtype 'object'"),
        (_packed(_one(dtype=["float32"]), TWELVE), "has dtype"),
        (_packed(_one(shape=[-1, 3]), TWELVE), "list of at most 8 sizes"),
        (_packed(_one(shape=[True, 3]), TWELVE), "list of at most 8 sizes"),
        (_packed(_one(shape=[1] * 9), TWELVE), "list of at most 8 sizes"),
        (_packed(_one(shape=[2**15, 2**15]), TWELVE), "ends within the array 'latents'"),
        (_packed(_one(shape=[2**62, 2**62]), TWELVE), "hold at most"),
        (_packed(_one(shape=[0, 2**62, 4])), "hold at most"),
        (_packed(_one(shape=[2**63, 0])), "hold at most"),
        (_packed(_one(), TWELVE[:-1]), "ends within the array 'latents'"),
        (_packed(_one(), TWELVE + b"1"), "goes on for 1 bytes"),
        (_packed({"arrays": _one()["arrays"] * 2}, 2 * TWELVE), "twice"),
        (_packed(_one() | {"outputs": "means"}, TWELVE), "may hold 'arrays' and 'outputs'"),
        (_packed(_one() | {"other": 1}, TWELVE), "may hold 'arrays' and 'outputs'"),
        (_packed(_one() | {"outputs": ["none"]}, TWELVE), "no output 'none'"),
        (_packed(_one(shape=[3, 1]), TWELVE), "latents"),
        (_packed(_one(name="other"), TWELVE), "other"),
        (_packed({"arrays": []}), "none"),
        (_packed(_one(shape=[5, 3]), 5 * TWELVE), "5 rows"),
    ],
)
def test_malformed_bodies_are_refused(client, body, message):
    headers = {"content-type": PACKED}
    response = client.post("/editor/predict/decode", content=body, headers=headers)
    assert response.status_code == 400
    assert message in response.json()["error"]
    assert ask(client, "decode", {"latents": LATENTS}).status_code == 200


@pytest.mark.parametrize("way", ["client", "remote"])
def test_oversized_bodies_are_refused(way, request):
    client = request.getfixturevalue(way)
    headers = {"content-type": PACKED}
    large = bytes(LIMITS.request_bytes + 1)
    response = client.post("/editor/predict/decode", content=large, headers=headers)
    assert response.status_code == 413
    told = headers | {"content-encoding": "gzip"}
    assert client.post("/editor/predict/decode", content=b"1", headers=told).status_code == 415


@pytest.mark.parametrize("way", ["client", "remote"])
def test_unknown_signatures_and_methods_are_refused(way, request):
    client = request.getfixturevalue(way)
    response = ask(client, "none", {"latents": LATENTS})
    assert response.status_code == 400
    assert "none" in response.json()["error"]
    assert client.get("/editor/predict/decode").status_code in (404, 405)
    assert client.post("/editor/model").status_code in (404, 405)
    assert client.delete("/").status_code in (404, 405)


def test_nothing_outside_the_page_is_read(app):
    """By the bytes on the wire: clients tidy paths up."""
    with editor_models.served(app) as server:
        for path in (
            "/../server.py",
            "/static/../../server.py",
            "/%2e%2e/server.py",
            "/..%2fserver.py",
            "/%2e%2e%2fserver.py",
            "/..%5cserver.py",
            "//etc/passwd",
            "/%2fetc/passwd",
            "/....//server.py",
            "/main.js/../../server.py",
            "/%00",
            "/v1/../../server.py",
            "/editor/predict/..%2f..%2fserver.py",
        ):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status in (400, 404, 405), path
            assert "def " not in text, path
            assert "root:" not in text, path
            connection.close()


def test_model_without_a_needed_signature_is_told(tmp_path):
    editor_models.save(tmp_path / "m", without=["decode"])
    with TestClient(create_app("m", tmp_path / "m"), base_url=ORIGIN) as client:
        response = client.get("/editor/model")
        assert response.status_code == 409
        assert "no signature 'decode'" in response.json()["error"]


@pytest.mark.parametrize("channels", [2, 4])
def test_model_of_other_channels_is_told(tmp_path, channels):
    editor_models.save(tmp_path / "m", shape=(8, 8, channels))
    with TestClient(create_app("m", tmp_path / "m"), base_url=ORIGIN) as client:
        response = client.get("/editor/model")
        assert response.status_code == 409
        assert f"makes arrays of shape [8, 8, {channels}]" in response.json()["error"]
