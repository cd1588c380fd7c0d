"""Connections that wait: for a request, for a body, for the client to read."""

import contextlib
import http.client
import socket
from urllib.parse import urlsplit

import pytest
from server_thread import ServerThread
from serving_models import eventually, save

from tf_structvae.serving import connections, server

HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
BODY = b'{"instances": [1.0]}'
FOR_EVER = 3600.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "m"
    save(directory, only=["serving_default", "wide"])
    return f"--model=m={directory}"


@pytest.fixture
def start(model):
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            found = ServerThread(model, *arguments)
            stack.callback(found.kill)
            return found

        yield start


@pytest.fixture
def connect():
    with contextlib.ExitStack() as stack:

        def connect(server, *sent):
            address = urlsplit(server.url)
            found = socket.create_connection((address.hostname, address.port), timeout=20)
            stack.enter_context(found)
            for part in sent:
                found.sendall(part)
            return found

        yield connect


def healthy(server):
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=20)
    connection.request("GET", "/healthz")
    status = connection.getresponse().status
    connection.close()
    return status


def ended(connection):
    """Waits until the server closes it; what came before."""
    found = b""
    while part := connection.recv(1 << 16):
        found += part
    return found


def read(connection, wanted):
    """Waits until it has come."""
    found = b""
    while wanted not in found:
        part = connection.recv(1 << 16)
        assert part, found
        found += part


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_a_request_must_come_in_time(start, connect, monkeypatch, sent):
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    assert ended(connect(start(), sent)) == b""


def test_so_must_the_next_one(start, connect, monkeypatch):
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.2)
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for rest in (b"", b"GET /hea"):  # uvicorn's own time-out ends with the first byte
        connection = connect(start(), request)
        read(connection, b"ok")
        connection.sendall(rest)
        assert ended(connection) == b""


def test_a_request_under_way_is_not_idle(start, connect, monkeypatch):
    """Nor is one that comes behind another in one packet."""
    found = start()
    monkeypatch.setattr(connections, "IDLE_SECONDS", FOR_EVER)
    connection = connect(found, HEAD)
    assert eventually(lambda: waiting(found) == [False])
    connection.sendall(BODY + HEAD)
    read(connection, b"3.5")
    assert eventually(lambda: waiting(found) == [False])
    connection.sendall(BODY)
    read(connection, b"3.5")
    assert eventually(lambda: waiting(found) == [True])


def waiting(server):
    return [c._idle is not None for c in server._server.server_state.connections]


def test_idle_connections_shut_nobody_out(start, connect, monkeypatch):
    """The one that has waited longest gives way; one with a request stays."""
    monkeypatch.setattr(server, "CONNECTIONS", 4)
    monkeypatch.setattr(connections, "IDLE_SECONDS", FOR_EVER)
    found = start()
    busy = connect(found, HEAD)
    assert eventually(lambda: waiting(found) == [False])
    idle = [connect(found) for _ in range(8)]
    for _ in range(3):
        assert healthy(found) == 200
    for connection in idle[:6]:
        assert ended(connection) == b""
    busy.sendall(BODY)
    read(busy, b"3.5")


def test_too_many_requests_at_once_are_told(start, connect, monkeypatch):
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    found = start()
    for _ in range(2):
        connect(found, HEAD)
    assert eventually(lambda: waiting(found) == [False, False])
    assert healthy(found) == 503


def test_a_stalled_body_does_not_keep_the_server(start, connect, monkeypatch):
    monkeypatch.setattr(connections, "LAST_SECONDS", 0.2)
    found = start("--timeout=600")
    stalled = connect(found, HEAD + b"{")
    unread = connect(found, HEAD.replace(b"POST /v1/models/m:predict", b"GET /healthz"))
    read(unread, b"ok")  # it was answered without its body
    assert eventually(lambda: sorted(waiting(found)) == [False, True])
    found._server.should_exit = True
    assert ended(stalled) == ended(unread) == b""
    found._thread.join(20)
    assert not found.alive


def test_a_body_under_way_is_waited_for(start, connect, monkeypatch):
    monkeypatch.setattr(connections, "LAST_SECONDS", FOR_EVER)
    found = start("--timeout=600")
    late = connect(found, HEAD)
    assert eventually(lambda: waiting(found) == [False])
    found._server.should_exit = True
    assert eventually(lambda: all(c._last for c in found._server.server_state.connections))
    late.sendall(BODY)
    assert b"3.5" in ended(late)
    found._thread.join(20)
    assert not found.alive


def test_an_answer_must_be_read(start, connect, monkeypatch):
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.2)
    found = start()
    body = b'{"signature_name": "wide", "inputs": [%s]}' % b",".join([b"1.234567"] * 64)
    request = HEAD.replace(b" 20", b" %d" % len(body)) + body
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with client:
        address = urlsplit(found.url)
        client.connect((address.hostname, address.port))
        client.sendall(80 * request)  # answers of 14 MB, more than the buffers hold
        assert eventually(lambda: found._server.server_state.connections)
        assert eventually(lambda: not found._server.server_state.connections)
