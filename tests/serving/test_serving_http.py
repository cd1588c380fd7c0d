"""The server's answers, in one process."""

import asyncio
import base64
import functools
import json
import threading

import pytest
from fastapi.testclient import TestClient
from serving_models import SMALL, eventually, save
from starlette.requests import ClientDisconnect, Request

from tf_structvae.serving.app import METRICS_PATH, create_app
from tf_structvae.serving.body import Body
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.limits import Limits
from tf_structvae.serving.servable import Servable

MODEL = "/v1/models/half_plus_three"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "half_plus_three"
    save(directory, 123)
    return directory


@pytest.fixture(scope="module")
def client(directory):
    app = create_app({"half_plus_three": directory}, SMALL)
    with TestClient(app, "http://localhost") as client:
        yield client


def predict(client, content, status=200, path=f"{MODEL}:predict", **kwargs):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    answer = client.post(path, content=body, **kwargs)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def error(client, content, status, **kwargs):
    found = predict(client, content, status, **kwargs)
    assert found.keys() == {"error"}
    return found["error"]


def test_documented_examples(client):
    assert client.get(MODEL).json() == {
        "model_version_status": [
            {
                "version": "123",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    wanted = {"predictions": [3.5, 4.0, 5.5]}
    for version in ("", "/versions/123"):
        path = f"{MODEL}{version}:predict"
        assert predict(client, {"instances": [1.0, 2.0, 5.0]}, path=path) == wanted
    found = error(client, {"instances": [1.0]}, 404, path="/v1/models/half:predict")
    assert found == "Servable not found for request: Latest(half)"


def test_columns_and_signatures(client):
    assert predict(client, {"inputs": [1.0, 2.0]}) == {"outputs": [3.5, 4.0]}
    assert predict(client, {"inputs": {"x": [1.0]}, "signature_name": ""}) == {"outputs": [3.5]}
    row = {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}
    found = predict(client, {"signature_name": "named", "instances": [row, row]})
    assert found == {"predictions": [{"tag": "foo", "total": 25.0}] * 2}
    message = error(client, {"signature_name": "none", "instances": [1]}, 400)
    assert 'Serving signature name: "none" not found' in message
    assert predict(client, {"signature_name": "whole", "inputs": [1, 2]}) == {"outputs": 3.0}
    message = error(client, {"signature_name": "whole", "instances": [1, 2]}, 400)
    assert "column format" in message


def test_binary_special_and_integer_values(client):
    encoded = {"b64": base64.b64encode(b"\x89PNG\xff").decode()}
    found = predict(client, {"signature_name": "text", "instances": [encoded]})
    assert found == {"predictions": [{"image_bytes": encoded, "length": 5}]}
    body = b'{"signature_name": "logarithm", "inputs": [0, -1, 1, Infinity]}'
    answer = client.post(f"{MODEL}:predict", content=body)
    assert answer.text == (
        '{"outputs": {"y": [-Infinity, NaN, 0.0, Infinity], "z": [0.0, -1.0, 1.0, Infinity]}}'
    )
    row = {"small": -3, "large": 2**53 + 1, "flag": True}
    found = predict(client, {"signature_name": "types", "instances": [row]})
    assert found == {"predictions": [row]}


def test_the_model_refuses_by_naming_its_input(client):
    body = b'{"signature_name": "finite", "instances": [[1, NaN]]}'
    assert error(client, body, 400).startswith("values: NaN or infinity")
    found = predict(client, {"signature_name": "finite", "instances": [[1, 2]]})
    assert found == {"predictions": [[1.0, 2.0]]}


def test_metadata(client):
    for version in ("", "/versions/123"):
        found = client.get(f"{MODEL}{version}/metadata").json()
        spec = {"name": "half_plus_three", "signature_name": "", "version": "123"}
        assert found["model_spec"] == spec
        definition = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert definition["method_name"] == "tensorflow/serving/predict"
        x = definition["inputs"]["x"]
        assert x["dtype"] == "DT_FLOAT"
        shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
        assert x["tensor_shape"] == shape
        assert definition["outputs"].keys() == {"y"}


def test_card(client, directory):
    for path in (f"{MODEL}/card", f"{MODEL}/versions/123/card"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "model_card.json" in answer.json()["error"]
    (directory / "123/model_card.json").write_text('{"format": 1}')
    try:
        assert client.get(f"{MODEL}/card").json() == {"format": 1}
    finally:
        (directory / "123/model_card.json").unlink()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{MODEL}:predict", 400),
        ("PUT", f"{MODEL}:predict", 400),
        ("DELETE", MODEL, 400),
        ("POST", f"{MODEL}:regress", 400),
        ("GET", "/v1/else", 400),
        ("GET", f"{MODEL}/versions/7", 404),
        ("GET", f"{MODEL}/versions/%D9%A1", 400),
        ("GET", f"{MODEL}/versions/7/metadata", 404),
        ("GET", f"{MODEL}/labels/stable", 404),
        ("POST", f"{MODEL}/labels/stable:predict", 404),
        ("POST", f"{MODEL}/versions/7:predict", 404),
        ("GET", "/v1/models/none/card", 404),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("POST", "/healthz", 405),
    ],
)
def test_every_error_is_json(client, method, path, status):
    content = b'{"instances": [1]}' if method == "POST" else None
    answer = client.request(method, path, content=content)
    assert answer.status_code == status
    assert answer.json().keys() == {"error"}


def test_health_and_metrics(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"half_plus_three": 123}
    predict(client, {"instances": [1, 2, 3]})
    before = metrics(client)
    predict(client, {"instances": [1, 2, 3]})
    error(client, b"{", 400)
    client.get("/v1/models/made-up-name")
    after = metrics(client)

    def grown(name):
        return after[name] - before.get(name, 0)

    labels = 'model="half_plus_three",signature="serving_default"'
    assert grown(f"structvae_predict_rows_total{{{labels}}}") == 3
    assert grown(f"structvae_predict_seconds_count{{{labels}}}") == 1
    for status in ("200", "400"):
        name = f'model="half_plus_three",status="{status}",verb="predict"'
        assert grown(f"structvae_requests_total{{{name}}}") == 1
    assert after['structvae_model_version{model="half_plus_three"}'] == 123
    assert after["structvae_running"] == after["structvae_inside"] == 0
    assert not [name for name in after if "made-up-name" in name]


def metrics(client):
    answer = client.get(METRICS_PATH)
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8501"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "rebound.example"}, 403),
        ({"host": "localhost.example:8501"}, 403),
        ({"host": "localhost:8501", "origin": "http://localhost:8501"}, 200),
        ({"host": "localhost:8501", "origin": "https://page.example"}, 403),
        ({"host": "localhost:8501", "origin": "null"}, 403),
        ({"host": "["}, 403),
        ({"host": "localhost:8501", "origin": "http://["}, 400),
    ],
)
def test_other_hosts_and_origins_are_refused(client, headers, status):
    answer = client.get(MODEL, headers=headers)
    assert answer.status_code == status
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_other_hosts_may_be_allowed(directory):
    for allowed, status in ((["models.example"], 403), (["*"], 200)):
        app = create_app({"m": directory}, SMALL, allowed)
        answers = [
            TestClient(app, f"http://{host}").get("/healthz").status_code
            for host in ("models.example", "localhost")
        ]
        assert answers == [200, status]


def test_sizes_are_bounded(client):
    assert "4096 bytes" in error(client, b" " * 4097, 413)
    parts = (b" " * 1000 for _ in range(5))
    answer = client.post(f"{MODEL}:predict", content=parts)  # in chunks, its length is not told
    assert answer.status_code == 413
    assert "9 rows" in error(client, {"instances": [1.0] * 9}, 400)
    assert len(predict(client, {"instances": [1.0] * 8})["predictions"]) == 8
    wide = {"signature_name": "wide", "instances": [1.0] * 4}
    assert "1200 numbers" in error(client, wide, 400)
    wide["instances"] = [1.0] * 3
    assert len(predict(client, wide)["predictions"][2]) == 300
    headers = {"content-encoding": "gzip"}
    assert "compressed" in error(client, b"xx", 415, headers=headers)


def test_a_body_must_come_in_time():
    """And no more of it is held than allowed, however it is sent."""

    async def read(parts, limits):
        asked = []

        async def receive():
            asked.append(1)
            if len(asked) > len(parts):
                await asyncio.sleep(60)
            return {"type": "http.request", "body": parts[len(asked) - 1], "more_body": True}

        request = Request({"type": "http", "headers": [], "method": "POST"}, receive)
        deadline = asyncio.get_running_loop().time() + limits.seconds
        with pytest.raises(RequestError) as found:
            await Body(request, limits, deadline).read()
        return found.value.status, len(asked)

    short = Limits(request_bytes=10, seconds=0.05)
    assert asyncio.run(read([b"12345"], short)) == (408, 2)
    # 3 parts fill it; 8 times as much is read and dropped before the client is told
    assert asyncio.run(read([b"12345"] * 100, Limits(request_bytes=10))) == (413, 3 + 16)


def test_a_body_of_a_client_that_left_is_not_taken_for_the_whole():
    part = {"type": "http.request", "body": b"123", "more_body": True}
    told = [part, {"type": "http.disconnect"}]

    async def read():
        async def receive():
            return told.pop(0)

        request = Request({"type": "http", "headers": [], "method": "POST"}, receive)
        return await Body(request, Limits(), asyncio.get_running_loop().time() + 10).read()

    with pytest.raises(ClientDisconnect):
        asyncio.run(read())


@pytest.fixture
def slow(directory, monkeypatch):
    """A client of a model whose calls wait to be let go; and how to do so."""
    go, run = threading.Event(), Servable.run

    def wait(self, name, inputs):
        assert go.wait(300)
        return run(self, name, inputs)

    monkeypatch.setattr(Servable, "run", wait)

    def start(**changes):
        fixed = {"concurrency": 1, "queue": 1, "joined": 1, "seconds": 300}
        limits = Limits(**{**fixed, **changes})
        return TestClient(create_app({"half_plus_three": directory}, limits), "http://localhost")

    yield start, go
    go.set()


def threads(function, count):
    found = []
    started = [threading.Thread(target=lambda: found.append(function())) for _ in range(count)]
    for thread in started:
        thread.start()
    return started, found


def test_a_full_server_says_so_and_serves_those_inside(slow):
    start, go = slow
    with start() as client:
        gate = client.app.state.gate
        running, found = threads(lambda: predict(client, {"instances": [1.0]}), 2)
        assert eventually(lambda: gate.inside == 2)
        assert gate.running == 1
        answer = client.post(f"{MODEL}:predict", content=b'{"instances": [1.0]}')
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200  # while the model is busy
        assert client.get(MODEL).status_code == 200
        go.set()
        for thread in running:
            thread.join(300)
        assert found == [{"predictions": [3.5]}] * 2
        assert gate.inside == gate.running == 0


def test_a_call_that_takes_too_long_keeps_its_place(slow):
    start, go = slow
    with start(seconds=0.3) as client:
        gate = client.app.state.gate
        assert "0.3 s" in error(client, {"instances": [1.0]}, 504)
        assert gate.running == 1
        answer = client.post(f"{MODEL}:predict", content=b'{"instances": [1.0]}')
        assert answer.status_code == 503  # none was free in time
        assert answer.headers["retry-after"] == "1"
        assert gate.running == 1
        go.set()
        assert eventually(lambda: gate.running == 0)
        # the limit is short, so that a busy machine may need more than one attempt
        again = functools.partial(client.post, f"{MODEL}:predict", content=b'{"instances": [1.0]}')
        assert eventually(lambda: again().json() == {"predictions": [3.5]})


def test_requests_that_wait_share_a_call(directory, monkeypatch):
    sizes, go, run = [], threading.Event(), Servable.run

    def wait(self, name, inputs):
        sizes.append(len(inputs["x"]))
        assert go.wait(300)
        return run(self, name, inputs)

    monkeypatch.setattr(Servable, "run", wait)
    app = create_app(
        {"half_plus_three": directory}, Limits(concurrency=1, joined=4, queue=8, seconds=300)
    )
    with TestClient(app, "http://localhost") as client:
        first, alone = threads(lambda: predict(client, {"instances": [1.0]}), 1)
        assert eventually(lambda: sizes == [1])
        others, found = threads(lambda: predict(client, {"instances": [2.0, 4.0]}), 3)
        assert eventually(lambda: app.state.batches.waiting == 3)
        go.set()
        for thread in (*first, *others):
            thread.join(300)
    assert alone == [{"predictions": [3.5]}]
    assert found == [{"predictions": [4.0, 5.0]}] * 3
    assert sizes == [1, 6]


@pytest.mark.parametrize("name", ["request_bytes", "batch", "concurrency", "joined", "seconds"])
def test_limits_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        Limits(**{name: 0})


def test_the_callers_own_routes_go_beside(directory):
    app = create_app({"m": directory}, SMALL)
    app.add_api_route("/edit", lambda: {"own": True})
    client = TestClient(app, "http://localhost")
    assert client.get("/edit").json() == {"own": True}
    assert client.get("/v1/models/m").status_code == 200
