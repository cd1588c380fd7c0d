"""Large requests are read in processes of their own."""

import json
import os
import signal

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from serving_models import SMALL, save

from tf_structvae.serving import app as app_lib
from tf_structvae.serving import protocol
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.readers import Readers
from tf_structvae.serving.specs import Signature, Spec

SIGNATURES = {
    "serving_default": Signature(
        {"x": Spec("float32", (None, 2)), "tag": Spec("string", (None,))}, {}
    )
}
ROW = {"x": [1, 2.5], "tag": "\u00e9"}


def body(*rows, **more):
    return json.dumps({"instances": rows, **more}).encode()


@pytest.fixture
def readers():
    found = Readers(large=0)
    yield found
    found.close()


def processes():
    return [p for p in psutil.Process().children() if "readers import main" in str(p.cmdline())]


def test_it_reads_as_this_process_does(readers):
    bodies = [body(ROW, ROW), body(ROW, {**ROW, "tag": {"b64": "/w=="}})]
    for content in bodies:
        wanted = protocol.decode(content, SIGNATURES, 8)
        found = readers.decode(content, SIGNATURES, 8)
        assert (found.signature_name, found.by_row, found.rows) == ("serving_default", True, 2)
        assert found.inputs.keys() == wanted.inputs.keys()
        for name, array in wanted.inputs.items():
            assert found.inputs[name].dtype == array.dtype
            np.testing.assert_array_equal(found.inputs[name], array)
    for content in (b"{", body(ROW, 1), body(ROW, signature_name="none"), body(*[ROW] * 9)):
        with pytest.raises(RequestError) as wanted:
            protocol.decode(content, SIGNATURES, 8)
        with pytest.raises(RequestError) as found:
            readers.decode(content, SIGNATURES, 8)
        assert (found.value.status, str(found.value)) == (400, str(wanted.value))
    assert len(processes()) == 1
    readers.close()
    assert not processes()


def test_a_process_that_is_killed_costs_one_request(readers):
    readers.decode(body(ROW), SIGNATURES, 8)
    (process,) = processes()
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(RequestError, match="too little memory") as refused:
        readers.decode(body(ROW), SIGNATURES, 8)
    assert refused.value.status == 503
    assert readers.decode(body(ROW), SIGNATURES, 8).rows == 1


def test_a_process_that_read_much_is_not_kept(readers, monkeypatch):
    monkeypatch.setattr("tf_structvae.serving.readers._KEPT", 10)
    readers.decode(body(ROW), SIGNATURES, 8)
    assert not processes()


def test_the_server_reads_large_requests_elsewhere(tmp_path, monkeypatch):
    """This process holds its interpreter for as long as it reads, and answers nobody else."""
    save(tmp_path / "m", only=["serving_default"])
    monkeypatch.setattr(app_lib, "Readers", lambda: Readers(large=1000))
    with TestClient(app_lib.create_app({"m": tmp_path / "m"}, SMALL), "http://localhost") as client:

        def predict(spaces):
            content = b'{"inputs": [1]' + b" " * spaces + b"}"
            return client.post("/v1/models/m:predict", content=content)

        assert predict(0).json() == {"outputs": [3.5]}
        assert not processes()
        parse = protocol.parse
        monkeypatch.setattr(protocol, "parse", lambda *_: pytest.fail("it is read here"))
        assert predict(1000).json() == {"outputs": [3.5]}
        monkeypatch.setattr(protocol, "parse", parse)
        assert len(processes()) == 1
    assert not processes()
