"""The Open Inference Protocol: what it asks and answers, against the other and a client."""

import asyncio
import contextlib
import importlib.util
import json
import struct
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from server_thread import ServerThread
from serving_models import ROOT, SMALL, asgi, save

from tf_structvae.serving import app as app_lib
from tf_structvae.serving import open_inference, openapi, readers
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.specs import Signature, Spec

SIGNATURES = ["serving_default", "named", "text", "types", "wide", "logarithm"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "m"
    save(directory, only=SIGNATURES)
    return directory


@pytest.fixture(scope="module")
def ask(directory):
    """Asks one server of the module."""
    app = app_lib.create_app({"m": directory}, replace(SMALL, queue=32, request_bytes=1 << 20))
    with asyncio.Runner() if hasattr(asyncio, "Runner") else contextlib.nullcontext() as runner:
        run = runner.run if runner else asyncio.run

        def ask(method, path, body=b"", **headers):
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            status, found = run(asgi(app, content, path, method=method, **headers))
            with contextlib.suppress(ValueError):  # bytes may follow the JSON
                return status, json.loads(found)
            return status, found

        yield ask


def tensor(name, array, **more):
    array = np.asarray(array)
    datatype = open_inference.DATATYPES.get(array.dtype.name, "BYTES")
    return {
        "name": name,
        "shape": list(array.shape),
        "datatype": datatype,
        "data": array.reshape(-1).tolist(),
        **more,
    }


def binary(inputs, **fields):
    """The body and the header of a request whose tensors are bytes."""
    tensors, parts = [], []
    for name, array in inputs.items():
        if array.dtype == object:
            part = b"".join(struct.pack("<I", len(s)) + s for s in array.ravel())
        else:
            part = array.tobytes()
        given = tensor(name, array)
        del given["data"]
        tensors.append({**given, "parameters": {"binary_data_size": len(part)}})
        parts.append(part)
    head = json.dumps({**fields, "inputs": tensors}).encode()
    return b"".join([head, *parts]), {"inference_header_content_length": str(len(head))}


X = np.float32([1.0, -0.1, 3e-8])


def test_health_metadata_and_readiness(ask):
    assert ask("GET", "/v2/health/live") == (200, {"live": True})
    assert ask("GET", "/v2/health/ready") == (200, {"ready": True})
    status, about = ask("GET", "/v2")
    assert (status, about["name"]) == (200, "tf_structvae")
    assert "binary_tensor_data" in about["extensions"]
    for path in ("/v2/models/m", "/v2/models/m/versions/1"):
        status, found = ask("GET", path)
        assert status == 200
        x = {"name": "x", "datatype": "FP32", "shape": [-1]}
        assert found["inputs"] == [x]
        assert found["outputs"] == [{**x, "name": "y"}]
        assert (found["versions"], found["platform"]) == (["1"], "tensorflow_savedmodel")
        assert set(found["signatures"]) == set(SIGNATURES)
        assert found["signatures"]["named"]["inputs"][0] == {
            "name": "sensor",
            "datatype": "FP32",
            "shape": [-1, 2, 2],
        }
        assert ask("GET", f"{path}/ready") == (200, {"name": "m", "ready": True})
    for path in ("/v2/models/other", "/v2/models/m/versions/2", "/v2/else", "/v2/models/m/infer"):
        status, found = ask("GET", path)
        assert status == 404
        assert set(found) == {"error"}


@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/models/m/versions/1/infer"])
def test_json_and_bytes_answer_what_the_other_protocol_does(ask, path):
    _, other = ask("POST", "/v1/models/m:predict", {"inputs": X.tolist()})
    status, found = ask("POST", path, {"id": "7", "inputs": [tensor("x", X)]})
    assert status == 200
    assert found["outputs"] == [
        {"name": "y", "shape": [3], "datatype": "FP32", "data": other["outputs"]}
    ]
    assert (found["model_name"], found["model_version"], found["id"]) == ("m", "1", "7")
    body, header = binary({"x": X}, parameters={"binary_data_output": True})
    status, answered = ask("POST", path, body, **header)
    assert status == 200
    head = json.loads(answered[: answered.index(b"}]}") + 3])
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 12}
    rest = answered[answered.index(b"}]}") + 3 :]
    assert np.frombuffer(rest, "<f4").tolist() == (np.float32(0.5) * X + np.float32(3)).tolist()


def test_types_strings_and_several_inputs(ask):
    given = {
        "flag": np.array([True, False]),
        "large": np.array([2**62, -1]),
        "small": np.int32([5, -7]),
    }
    request = {"parameters": {"signature_name": "types"}}
    _, plain = ask(
        "POST", "/v2/models/m/infer", {**request, "inputs": [tensor(*i) for i in given.items()]}
    )
    assert {t["name"]: t["data"] for t in plain["outputs"]} == {
        k: v.tolist() for k, v in given.items()
    }
    body, header = binary(given, **request)
    assert ask("POST", "/v2/models/m/infer", body, **header) == (200, plain)

    texts = np.array([b"a", b"\xff\x00", b""], object)
    request = {
        "parameters": {"signature_name": "text"},
        "outputs": [{"name": "image_bytes", "parameters": {"binary_data": True}}],
    }
    body, header = binary({"data": texts}, **request)
    _, found = ask("POST", "/v2/models/m/infer", body, **header)
    assert found.endswith(b"".join(struct.pack("<I", len(s)) + s for s in texts))
    # nested data are as good as flat ones
    nested = tensor("signal", np.ones([1, 5], np.float32))
    nested["data"] = [[1.0] * 5]
    sensor = tensor("sensor", np.ones([1, 2, 2], np.float32))
    tag = {"name": "tag", "shape": [1], "datatype": "BYTES", "data": ["t"]}
    request = {
        "parameters": {"signature_name": "named"},
        "inputs": [nested, sensor, tag],
        "outputs": [{"name": "total"}],
    }
    _, found = ask("POST", "/v2/models/m/infer", request)
    assert found["outputs"] == [{"name": "total", "shape": [1], "datatype": "FP32", "data": [9.0]}]


SEEDED = {
    "sample": Signature(
        {"seeds": Spec("int32", (None, 2))}, {"images": Spec("float32", (None, 3))}
    ),
    "condition": Signature(
        {"seeds": Spec("int32", (None, 2)), "z": Spec("float32", (None, 4))}, {}
    ),
    "decode": Signature({"z": Spec("float32", (None, 4))}, {}),
}


def test_a_seed_stands_for_the_seeds_of_all_rows():
    def read(name, inputs=(), **parameters):
        request = {"parameters": {"signature_name": name, **parameters}, "inputs": list(inputs)}
        return open_inference.decode(json.dumps(request).encode(), SEEDED, 8)

    found = read("sample", seed=5, rows=3)
    assert found.inputs["seeds"].tolist() == [[5, 0], [5, 1], [5, 2]]
    assert (found.inputs["seeds"].dtype, found.rows) == (np.int32, 3)
    z = tensor("z", np.zeros([2, 4], np.float32))
    assert read("condition", [z], seed=1).inputs["seeds"].tolist() == [[1, 0], [1, 1]]
    for arguments, words in (
        (("decode", [z], {"seed": 1}), "'seed' stands for an input 'seeds'"),
        (("sample", [tensor("seeds", np.int32([[1, 2]]))], {"seed": 1}), "'seed' stands for"),
        (("sample", (), {"seed": "1"}), "'seed' must be an integer of 32 bits"),
        (("sample", (), {"seed": 2**40}), "'seed' must be an integer of 32 bits"),
        (("sample", (), {"seed": 1, "rows": 9}), "the request has 9 rows; at most 8 may be"),
        (("sample", (), {"seed": 1, "rows": -1}), "'rows' must be an integer of at least 0"),
        (("sample", (), {}), "'inputs' lacks seeds"),
    ):
        name, inputs, parameters = arguments
        with pytest.raises(RequestError, match=words):
            read(name, inputs, **parameters)


GOOD = tensor("x", X)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ([], "must be a JSON object"),
        ({"inputs": 3}, "'inputs' must be a list"),
        ({"inputs": [3]}, "an item of 'inputs' must be a JSON object"),
        ({"inputs": []}, "'inputs' lacks x"),
        ({"inputs": [GOOD, GOOD]}, "'inputs' has the name 'x'"),
        ({"inputs": [{**GOOD, "name": "y"}]}, "'inputs' has the name 'y'"),
        ({"inputs": [{**GOOD, "datatype": "FP64"}]}, "must have the datatype FP32"),
        ({"inputs": [{**GOOD, "shape": [4]}]}, "must hold 4 values, got 3"),
        ({"inputs": [{**GOOD, "shape": [3, 1]}]}, "it must be"),
        ({"inputs": [{**GOOD, "shape": [-3]}]}, "'shape' of integers of at least 0"),
        ({"inputs": [{**GOOD, "shape": "3"}]}, "'shape' of integers"),
        ({"inputs": [{**GOOD, "data": ["a", 1, 2]}]}, "values of type float32 alone"),
        ({"inputs": [{k: v for k, v in GOOD.items() if k != "data"}]}, "must have 'data'"),
        ({"inputs": [{**GOOD, "parameters": {"binary_data_size": 12}}]}, "'binary_data_size'"),
        ({"inputs": [GOOD], "parameters": 3}, "'parameters' must be a JSON object"),
        ({"inputs": [GOOD], "parameters": {"signature_name": "n"}}, '"n" not found'),
        ({"inputs": [GOOD], "parameters": {"signature_name": 3}}, '"3" not found'),
        ({"inputs": [GOOD], "id": 3}, "'id' must be a string"),
        ({"inputs": [GOOD], "outputs": {}}, "'outputs' must be a list"),
        ({"inputs": [GOOD], "outputs": [{"name": "x"}]}, "'outputs' has the name 'x'"),
        ({"inputs": [GOOD], "parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({"inputs": [tensor("x", np.zeros(9, np.float32))]}, "9 rows; at most 8 may be"),
    ],
)
def test_requests_at_fault(ask, request_, words):
    status, found = ask("POST", "/v2/models/m/infer", request_)
    assert status == 400
    assert words in found["error"]


def test_bytes_at_fault(ask):
    body, header = binary({"x": X})

    def refused(body, length, words):
        header = {"inference_header_content_length": str(length)}
        status, found = ask("POST", "/v2/models/m/infer", body, **header)
        assert status == 400
        assert words in found["error"]

    length = int(header["inference_header_content_length"])
    refused(body + b"1", length, "1 bytes follow the tensors")
    refused(body[:-1], length, "at most the 11 bytes")
    refused(body, len(body) + 1, "must be at most the body's")
    refused(body, "a", "must be a number of bytes")
    short = body[:length].replace(b'"binary_data_size": 12', b'"binary_data_size": 8 ')
    refused(short + body[length : length + 8], length, "of shape [3] has 12 bytes, not 8")
    texts, header = binary(
        {"data": np.array([b"abc"], object)}, parameters={"signature_name": "text"}
    )
    length = int(header["inference_header_content_length"])
    refused(texts[:length] + b"\xff\x00\x00\x00abc", length, "must hold 1 strings")
    flags = {"flag": np.array([True]), "large": np.array([1]), "small": np.int32([1])}
    body, header = binary(flags, parameters={"signature_name": "types"})
    length = int(header["inference_header_content_length"])
    refused(body[:length] + b"\x02" + body[length + 1 :], length, "bytes of 0 and 1")


def test_a_large_request_is_read_by_a_process_of_its_own(directory, monkeypatch):
    asked = []
    original = readers._Reader.ask
    monkeypatch.setattr(
        readers._Reader, "ask", lambda self, r: asked.append(r[1:2]) or original(self, r)
    )
    padded = {"inputs": [tensor("x", X)], "comment": "x" * readers.LARGE}
    app = app_lib.create_app({"m": directory})
    with TestClient(app, "http://localhost") as client:  # which ends its processes
        found = client.post("/v2/models/m/infer", json=padded).json()
    assert len(asked) == 1
    np.testing.assert_array_equal(
        np.float32(found["outputs"][0]["data"]), np.float32(0.5) * X + np.float32(3)
    )


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "data", "seeds"]) | values,
        "shape": st.lists(st.integers(-1, 4) | leaves, max_size=3) | values,
        "datatype": st.sampled_from(["FP32", "BYTES", "INT32"]) | values,
        "data": values | st.lists(st.floats(width=32), max_size=4),
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | leaves}),
    },
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "id": leaves,
        "inputs": st.lists(tensors, max_size=3) | values,
        "outputs": st.lists(tensors, max_size=2) | values,
        "parameters": st.fixed_dictionaries(
            {},
            optional={
                "signature_name": st.sampled_from(SIGNATURES) | leaves,
                "seed": leaves,
                "rows": leaves,
                "binary_data_output": leaves,
            },
        ),
    },
)


@settings(deadline=None, derandomize=True, database=None, max_examples=200)
@given(
    request=requests | values, rest=st.binary(max_size=20), length=st.none() | st.integers(0, 400)
)
def test_any_request(ask, request, rest, length):
    """The answer is one of those described; nothing a client sends is the server's failure."""
    _, description = ask("GET", openapi.PATH)
    body = json.dumps(request).encode()
    header = {}
    if length is not None or rest:
        told = len(body) if length is None else length
        header = {"inference_header_content_length": str(told)}
    status, found = ask("POST", "/v2/models/m/infer", body + rest, **header)
    responses = description["paths"]["/v2/models/{model}/infer"]["post"]["responses"]
    assert str(status) in responses
    assert status != 500, (request, found)
    if isinstance(found, dict):
        described = responses[str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(found, {**described, "components": description["components"]})


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tritons_client_draws_the_samples_of_the_demonstration_model():
    pytest.importorskip("tritonclient.http")
    server = ServerThread(f"--model=demo={ROOT / 'saved_models/demo'}")
    try:
        address = server.url.removeprefix("http://")
        images = example("client_open_inference").draw(address, "demo", count=3, seed=7)
        seeds = [[7, k] for k in range(3)]
        other = example("client_rest").predict(
            f"{server.url}/v1/models/demo", "sample", {"seeds": seeds}
        )
        np.testing.assert_array_equal(images, np.float32(other["images"]))
    finally:
        server.kill()
