"""What a refused request took is free when its answer is sent, without a garbage collection."""

import asyncio
import gc
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from editor_models import LIMITS as EDITOR_LIMITS
from serving_models import SMALL, asgi, save

from tf_structvae.serving.app import create_app
from tf_structvae.serving.editor import packing, server

PATH = "/v1/models/m:predict"
NUMBERS = b"1.5," * 50_000
REFUSED = {
    "names": b'{"instances":[' + b'{"a":1},' * 25_000 + b'{"a":1}]}',
    "input names": b'{"inputs":{"a":[' + NUMBERS + b"1]}}",
    "cut short": b'{"inputs":[' + NUMBERS,
    "cut short, with NaN": b'{"inputs":[NaN,' + NUMBERS,
    "half a surrogate": b'{"inputs":[NaN,' + NUMBERS + b'"\\ud800"]}',
    "ragged": b'{"inputs":[' + NUMBERS + b"[1]]}",
    "beyond the range": b'{"inputs":[' + NUMBERS + b"1e39]}",
    "type": b'{"inputs":[' + NUMBERS + b"true]}",
    "shape": b'{"inputs":[[' + NUMBERS + b"1]]}",
    "rows": b'{"inputs":[' + NUMBERS + b"1]}",
    "Base64": b'{"signature_name":"text","inputs":[' + b'"text",' * 30_000 + b'{"b64":"a"}]}',
    "no such signature": b'{"signature_name":"none","inputs":[' + NUMBERS + b"1]}",
    "by the model": b'{"signature_name":"finite","inputs":[' + b"[1,2]," * 30_000 + b"[NaN,1]]}",
}
LIMITS = replace(SMALL, request_bytes=1 << 20)
MANY = replace(LIMITS, batch=1 << 20, response_values=1 << 30)  # the model itself refuses


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "m"
    save(directory, only=["serving_default", "finite", "text"])
    return directory


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def kept(app, body, status, path=PATH, **given):
    """Bytes that are left of three requests: the most when an answer is sent, and after all.

    The least of four such trials, since other threads of the process, those of tests before this
    one among them, allocate now and then.
    """

    async def ask():
        most = 0

        def sent():
            nonlocal most
            most = max(most, tracemalloc.get_traced_memory()[0] - start)

        start = tracemalloc.get_traced_memory()[0]
        for _ in range(3):
            assert (await asgi(app, body, path, sent, **given))[0] == status
        return most, tracemalloc.get_traced_memory()[0] - start

    async def trials():
        await asgi(app, body, path, **given)  # what is kept once is kept for good
        tracemalloc.start()
        try:
            found = [await ask() for _ in range(4)]
        finally:
            tracemalloc.stop()
        return tuple(map(min, zip(*found, strict=True)))

    return asyncio.run(trials())


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refused_request_keeps_no_memory(directory, no_collection, kind):
    limits = MANY if kind in ("by the model", "Base64") else LIMITS
    app, body = create_app({"m": directory}, limits), REFUSED[kind]
    at_answer, after = kept(app, body, 400)
    # one copy of the body is already more, and its values are a multiple of that
    assert at_answer < len(body) / 2
    assert after < len(body) / 4


@pytest.mark.parametrize(
    ("status", "given"),
    [(408, {"complete": False}), (413, {"content_length": "2000000"}), (404, {})],
)
def test_nor_does_one_that_is_not_read(directory, no_collection, status, given):
    limits = replace(LIMITS, seconds=0.05)
    path = PATH.replace(":", "/versions/7:") if status == 404 else PATH
    body = REFUSED["rows"]
    at_answer, after = kept(create_app({"m": directory}, limits), body, status, path, **given)
    assert at_answer < len(body) / 2
    assert after < len(body) / 4


@pytest.mark.parametrize(("extra", "status"), [(b"", 400), (b"1", 400)])
def test_nor_does_one_of_the_editor(directory, no_collection, extra, status):
    """Refused by the model's signature, and by the form of its bytes."""
    limits = replace(EDITOR_LIMITS, request_bytes=1 << 20)
    app = server.create_app("m", directory, limits)
    body = packing.pack({"x": np.zeros(50_000, np.float32)}) + extra
    given = {"content_type": server.PACKED}
    path = "/editor/predict/serving_default"
    at_answer, after = kept(app, body, status, path, **given)
    assert at_answer < len(body) / 2
    assert after < len(body) / 4
