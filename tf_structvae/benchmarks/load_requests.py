"""What a load test sends: valid requests with their answers, and requests at fault."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import orjson

from tf_structvae.benchmarks import requests
from tf_structvae.serving import protocol
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.servable import Servable
from tf_structvae.serving.specs import Signature

# Another process may add in another order, so answers agree to float32's accuracy only.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Request:
    """One request and what it is to be answered.

    Attributes:
      kind: what it is called in the table.
      body, method, path, headers: what is sent; an iterator as body is sent in chunks.
      outputs: of a valid request; None: it is at fault, and is answered 4xx.
      by_row: the format of the answer.
    """

    kind: str
    body: bytes | Callable[[], Iterator[bytes]] = b""
    method: str = "POST"
    path: str = ":predict"
    headers: tuple[tuple[str, str], ...] = ()
    outputs: dict[str, np.ndarray] | None = None
    by_row: bool = False

    def is_right(self, status: int, content: bytes) -> bool:
        """Whether this is the answer to it."""
        if self.outputs is None:
            return 400 <= status < 500
        try:
            return status == 200 and self._agrees(orjson.loads(content))
        except (ValueError, TypeError, AttributeError):  # no JSON, or of another form
            return False

    def _agrees(self, found: dict) -> bool:
        assert self.outputs is not None
        wanted = orjson.loads(protocol.response(self.outputs, self.by_row))
        if found.keys() != wanted.keys():
            return False
        pairs = _pairs(*found.values(), *wanted.values())
        return all(a.shape == b.shape and np.allclose(a, b, 0, TOLERANCE) for a, b in pairs)


def _pairs(found, wanted) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The arrays of two answers, side by side."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict) or found.keys() != wanted.keys():
            yield np.zeros(1), np.zeros(0)  # never equal
            return
        for name in wanted:
            yield from _pairs(found[name], wanted[name])
    elif isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        for a, b in zip(found, wanted, strict=True):
            yield from _pairs(a, b)
    else:
        yield np.asarray(found, np.float64), np.asarray(wanted, np.float64)


def valid(servable: Servable, count: int = 4) -> list[Request]:
    """Requests for every signature, of 1 and 3 rows, in both formats."""
    found = []
    for name, signature in sorted(servable.signatures.items()):
        for i in range(count):
            values = requests.inputs(signature, (1, 3)[i % 2], seed=i)
            by_row = i >= count // 2
            body = requests.body(name, values, by_row)
            outputs = servable.run(name, values)
            found.append(Request(name, body, outputs=outputs, by_row=by_row))
    return found


def invalid(servable: Servable, largest: int) -> list[Request]:
    """Requests that are wrong in one way each.

    Args:
      servable: the model that is served.
      largest: bytes of a body that the server accepts.
    """
    name, signature = sorted(servable.signatures.items())[0]
    good = requests.body(name, requests.inputs(signature, 1))
    found = [
        Request("no JSON", b"instances=1"),
        Request("cut short", good[:-2]),
        Request("empty", b""),
        Request("no object", b"[1, 2]"),
        Request("no inputs", b'{"signature_name": "%s"}' % name.encode()),
        Request("deep lists", b'{"instances": ' + b"[" * 3000),
        Request("other signature", b'{"signature_name": "none", "instances": [1]}'),
        Request("other model", good, path="-other:predict"),
        Request("other version", good, path="/versions/987654:predict"),
        Request("other label", good, path="/labels/none:predict"),
        Request("GET for POST", method="GET"),
        Request("DELETE", method="DELETE", path=""),
        Request("PUT", good, method="PUT"),
        Request("classify", good, path=":classify"),
        Request("other host", good, headers=(("Host", "rebound.example"),)),
        Request("other origin", good, headers=(("Origin", "https://page.example"),)),
        Request("compressed", b"\x1f\x8b", headers=(("Content-Encoding", "gzip"),)),
        Request("oversized", b" " * (largest + 1)),
        Request("oversized chunks", lambda: (b" " * 65536 for _ in range(largest // 65536 + 2))),
    ]
    for name, signature in sorted(servable.signatures.items()):
        found += _wrong_values(servable, name, signature)
    return found


def _wrong_values(servable: Servable, name: str, signature: Signature) -> Iterator[Request]:
    values = requests.inputs(signature, 1)
    first = next(iter(values))

    def changed(array):
        return requests.body(name, {**values, first: array})

    yield Request("missing input", requests.body(name, values).replace(first.encode(), b"nobody"))
    yield Request("wrong shape", changed(np.zeros((2, 3, 5, 7, 9), values[first].dtype)))
    yield Request("wrong type", changed(np.full(values[first].shape, True)))
    yield Request("too many rows", requests.body(name, requests.inputs(signature, 65)))
    for key, array in values.items():
        broken = array.astype(np.float32)
        broken.flat[0] = np.nan
        named = {k: v.tolist() for k, v in {**values, key: broken}.items()}
        body = json.dumps({"signature_name": name, "inputs": named}).encode()
        if _refuses(servable, body):
            yield Request("NaN", body)


def _refuses(servable: Servable, body: bytes) -> bool:
    """Whether model or protocol refuse it: a model may have a use for NaN."""
    try:
        asked = protocol.parse(body)
        inputs = protocol.tensors(asked, servable.signature(asked.signature_name))
        servable.run(asked.signature_name, inputs)
    except RequestError:
        return True
    return False


def disturb(address: tuple[str, int], model: str, way: int) -> None:
    """A connection that is not what it should be; nobody waits for its answer."""
    head = f"POST /v1/models/{model}:predict HTTP/1.1\r\nHost: localhost\r\n".encode()
    with socket.create_connection(address, timeout=10) as connection:
        if way % 4 == 0:  # half of a body, then half-closed
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n{")
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
        elif way % 4 == 1:  # leaves in the middle of the body
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        elif way % 4 == 2:  # no HTTP
            connection.sendall(b"\x16\x03\x01\x02\x00\r\n\r\n")
            connection.recv(1000)
        else:  # leaves before the answer
            body = b'{"instances": [[1, 2]]}'
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
