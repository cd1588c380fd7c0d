"""The server answers as its description says, whatever it is asked."""

import asyncio
import contextlib
import json
import re
import socket
import string
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import pytest
from fastapi.openapi.models import OpenAPI
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from server_thread import ServerThread
from serving_models import ROOT, SMALL, asgi, save

from tf_structvae.serving import app as app_lib
from tf_structvae.serving import connections, openapi

SIGNATURES = ["serving_default", "logarithm", "finite", "text", "types", "whole", "wide"]
FUZZ = settings(deadline=None, derandomize=True, database=None)
PREDICT = "/v1/models/{model}:predict"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "m"
    (save(directory, only=SIGNATURES) / "model_card.json").write_text("{}")
    return directory


@pytest.fixture(scope="module")
def ask(directory):
    """Asks one server of the module."""
    app = app_lib.create_app({"m": directory}, replace(SMALL, queue=32))
    with asyncio.Runner() if hasattr(asyncio, "Runner") else contextlib.nullcontext() as runner:
        run = runner.run if runner else asyncio.run

        def ask(method, path, body=b"", **headers):
            return run(asgi(app, body, path, method=method, **headers))

        ask.app = app
        yield ask


@pytest.fixture(scope="module")
def description(ask):
    status, found = ask("GET", openapi.PATH)
    assert status == 200
    return json.loads(found)


def test_it_is_published_and_an_openapi_description(description, ask):
    OpenAPI.model_validate(description)
    for reference in set(re.findall(r'"\$ref": "#/([^"]*)"', json.dumps(description))):
        found = description
        for part in reference.split("/"):
            found = found[part]
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    routes = {r.path for r in ask.app.routes if isinstance(r, APIRoute)}
    assert {"/v1/{path:path}", "/v2", "/v2/{path:path}"} <= routes
    below = ("/v1/", "/v2")
    apart = {p for p in description["paths"] if not p.startswith(below)}
    assert apart == {r for r in routes if not r.startswith(below)}
    text = (ROOT / "docs/serving.md").read_text()
    assert openapi.PATH in text


def test_every_status_of_the_code_is_in_it(description):
    """Those of the editor alone are not the server's."""
    told = set(description["paths"][PREDICT]["post"]["responses"])
    source = [f.read_text() for f in Path(app_lib.__file__).parent.glob("*.py")]
    raised = {s for text in source for s in re.findall(r"RequestError\(\s*(\d{3})", text)}
    assert {"403", "408", "413", "415", "429", "500", "503", "504"} <= raised
    assert raised | {"200", "400", "404"} == told


def check(description, status, content, method, address, path):
    """The answer is one of those described; nothing a client sends is the server's failure."""
    assert status != 500, (path, content)
    methods = description["paths"].get(address, {})
    if method.lower() not in methods:
        assert status in (400, 403, 404, 405), (status, path)
        described = {"schema": openapi.reference("Error")}
    else:
        responses = methods[method.lower()]["responses"]
        assert str(status) in responses, (status, path)
        described = responses[str(status)]["content"].get("application/json")
    if described and method != "HEAD":
        schema = {**described["schema"], "components": description["components"]}
        jsonschema.validate(json.loads(content), schema)


any_text = st.text(st.characters(exclude_categories=()), max_size=8)  # half surrogates, too
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.floats(width=32), any_text,
    st.sampled_from([0, 1, 2**63, -(2**63), 10**400, {"b64": "/w=="}, {"b64": "a"}, [], {}]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.sampled_from(["x", "b64", "data"]), inner, max_size=3)
    ),
    max_leaves=12,
)
rows = st.lists(st.integers(-9, 9) | st.floats(width=32) | values, max_size=9)
requests = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "signature_name": st.sampled_from(SIGNATURES) | leaves,
            "instances": rows | values,
            "inputs": rows | values,
        },
    ),
    st.builds(
        lambda key, name, value: {key: value, "signature_name": name},
        st.sampled_from(["instances", "inputs"]),
        st.sampled_from(SIGNATURES),
        rows | values,
    ),
    values,
)
bodies = st.one_of(
    st.binary(max_size=30),
    st.builds(lambda r: json.dumps(r).encode(), requests),
    st.builds(lambda r: json.dumps(r, ensure_ascii=False).encode("utf-8", "replace"), requests),
    st.builds(lambda r, n: json.dumps(r).encode()[:n], requests, st.integers(0, 60)),
)
latin = st.text(st.characters(max_codepoint=255), max_size=12)
headers = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from(["localhost:8501", "[::1]", "[", "elsewhere"]) | latin,
        "origin": st.sampled_from(["http://localhost", "http://[", "null", "//\u00aa"]) | latin,
        "content_type": latin,
        "content_encoding": st.sampled_from(["gzip", "identity"]) | latin,
        "content_length": st.sampled_from(["-1", "9" * 5000, "\u00b2"]) | latin,
    },
)
few_headers = st.just({}) | headers
part = st.sampled_from(["m", "1", "7", "\u0661", "9" * 30]) | any_text


@settings(FUZZ, max_examples=250)
@given(body=bodies, headers=few_headers)
def test_any_body(ask, description, body, headers):
    status, content = ask("POST", "/v1/models/m:predict", body, **headers)
    check(description, status, content, "POST", PREDICT, body)


@settings(FUZZ, max_examples=150)
@given(data=st.data(), headers=few_headers)
def test_any_address(ask, description, data, headers):
    address = data.draw(st.sampled_from([*sorted(description["paths"]), "/{a}", "/v1/{a}"]))
    path = re.sub(r"{\w+}", lambda _: data.draw(part), address)
    methods = [m.upper() for m in description["paths"].get(address, {}) if m != "parameters"]
    method = data.draw(st.sampled_from([*methods, *methods, "GET", "POST", "DELETE", "HEAD"]))
    status, content = ask(method, path, b'{"instances": [1]}', **headers)
    if re.fullmatch(re.sub(r"{\w+}", "[^/:]+", address), path):
        check(description, status, content, method, address, path)
    else:  # a part of it makes another address
        assert status < 500 or status == 503


wire_text = st.text(st.sampled_from(string.printable[:95] + "\u00e9"), max_size=10)
names = ["Origin", "Host", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Expect",
         "Connection", "Upgrade", "X"]  # fmt: skip


@pytest.fixture(scope="module")
def server(directory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "IDLE_SECONDS", 0.1)
        found = ServerThread(f"--model=m={directory}", "--timeout=0.1")
        yield found
        found.kill()


@settings(FUZZ, max_examples=60)
@given(
    method=st.sampled_from(["GET", "POST"]) | wire_text,
    path=st.sampled_from(["/v1/models/m:predict", "/healthz", "/%D9%A1", "/%ff%00"]) | wire_text,
    lines=st.lists(st.tuples(st.sampled_from(names), wire_text), max_size=3),
    body=st.sampled_from([b"", b'{"instances": [1]}', b"5\r\nabcde\r\n0\r\n\r\n"]),
)
def test_any_bytes_on_the_wire(server, method, path, lines, body):
    address = urlsplit(server.url)
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    text = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode("latin-1")
    found = b""
    connection = socket.create_connection((address.hostname, address.port), timeout=20)
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(text + body)
        while received := connection.recv(1 << 16):
            found += received
    statuses = re.findall(rb"HTTP/1.1 (\d{3})", found)
    assert set(statuses) <= {b"100", b"200", b"400", b"403", b"404", b"405", b"408", b"415"}, text
