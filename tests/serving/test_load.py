"""The load test: a whole one against a server in this process, whose time is told by its answers,
and clients that see servers which refuse, hang up or answer wrongly."""

import http.server
import re
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from server_thread import ServerThread
from serving_models import save

from tf_structvae.benchmarks import load, load_requests
from tf_structvae.benchmarks.load_requests import Request
from tf_structvae.serving import directory, protocol
from tf_structvae.serving.servable import Servable

SIGNATURES = ("serving_default", "finite")


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return save(tmp_path_factory.mktemp("m"), only=SIGNATURES)


class AnswerClock:
    """A hundredth of a second goes by with each answer, however long that takes.

    Who supervises sleeps until so many answers have come, a client that waits does not.
    """

    def __init__(self, tally):
        self._tally, self._main = tally, threading.current_thread()

    def monotonic(self):
        with self._tally.lock:
            return sum(map(len, self._tally.seconds.values())) / 100

    def sleep(self, seconds):
        if threading.current_thread() is not self._main:
            time.sleep(0.001)
            return
        end, guard = self.monotonic() + seconds, time.monotonic() + 600
        while self.monotonic() < end:
            assert time.monotonic() < guard, "no answers"
            time.sleep(0.001)


@pytest.fixture
def _in_threads(monkeypatch):
    """Servers are threads, and each version is served before time goes on."""
    tally, publish, start, running = load.Tally(), load._publish, load._start, []

    def started(*given):
        running[:] = [start(*given)]
        return running[0]

    def published(version, directory, number):
        publish(version, directory, number)
        guard = time.monotonic() + 600
        while running and load._served(running[0].url) != number:
            assert time.monotonic() < guard, f"version {number} is not served"
            time.sleep(0.01)

    monkeypatch.setattr(load, "ServerProcess", ServerThread)
    monkeypatch.setattr(load, "REQUEST_MB", 1)
    monkeypatch.setattr(load, "Tally", lambda: tally)
    monkeypatch.setattr(load, "time", AnswerClock(tally))
    monkeypatch.setattr(load, "_start", started)
    monkeypatch.setattr(load, "_publish", published)


@pytest.mark.usefixtures("_in_threads")
def test_versions_that_change_and_a_kill_cost_no_answer(version, tmp_path):
    options = load.Options(minutes=0.06, clients=2, publish=0.7, kill=1.5)
    report, well = load.run(version, tmp_path, options)
    assert well, report
    published, kills, crashes, served = map(
        int,
        re.search(
            r"published: (\d+); kills: (\d+); crashes: (\d+); last version served: (\d+);", report
        ).groups(),
    )
    assert 2 <= published <= 6
    assert 1 <= kills <= 2
    assert crashes == 0
    assert served == published
    assert sorted(directory.versions(tmp_path)) == list(range(max(published - 2, 1), published + 1))
    rows = dict(re.findall(r"^\| (\w+: .+?) \| (\d+) \|", report, re.MULTILINE))
    answers = int(re.search(r"(\d+) answers", report)[1])
    assert sum(map(int, rows.values())) == answers >= 360
    assert {f"valid: {name}" for name in SIGNATURES} <= set(rows)
    assert sum(kind.startswith("invalid: ") for kind in rows) > 10
    assert int(re.search(r"lost and tried again: (\d+)", report)[1]) > 0
    assert int(re.search(r"disturbed connections: (\d+)", report)[1]) > 0


@pytest.mark.usefixtures("_in_threads")
def test_wrong_answers_are_told(version, tmp_path, monkeypatch):
    other = save(tmp_path / "other", offset=3.1, only=SIGNATURES)
    monkeypatch.setattr(load, "Servable", lambda _: Servable(other))
    options = load.Options(minutes=0.02, clients=1, publish=0.0)
    report, well = load.run(version, tmp_path / "served", options)
    assert not well
    wrong = re.findall(r"^\* WRONG (.*)", report, re.MULTILINE)
    assert {w.split(": ")[0] for w in wrong} == {"serving_default"}
    assert wrong[0].startswith("serving_default: 200 b'{\"")


def test_a_server_that_ends_by_itself_is_started_again_and_told(monkeypatch, tmp_path, clock):
    def server(alive):
        return SimpleNamespace(url="http://127.0.0.1:9", alive=alive, pid=1)

    started = []
    monkeypatch.setattr(load, "_start", lambda *given: started.append(given) or server(True))
    monkeypatch.setattr(load, "_served", lambda url: 1)
    monkeypatch.setattr(load.memory, "resident", lambda pid: 7 << 20)
    held = []
    options = load.Options(minutes=0.01, publish=0.0)
    last, events = load._supervise(server(False), None, tmp_path, options, load.Tally(), held)
    assert started == [(tmp_path, 9)]  # at the same port
    assert last.alive
    assert events["crashes"] == 1
    assert {size for _, size in held} == {7 << 20}
    assert held[-1][0] == pytest.approx(0.6)
    report = load._report(load.Tally(), held, events, options)
    assert "crashes: 1" in report
    assert "0 s 7 MB" in report


# One client.


@pytest.fixture
def stub():
    """A server that answers with the statuses it is told, one a request; None: it hangs up."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = server.statuses.pop(0) if len(server.statuses) > 1 else server.statuses[0]
            if status is None:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Clock:
    """Only waiting takes time."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(load, "time", found)
    return found


def asked(stub, statuses, requests=1, retry=False):
    """The tally of a client whose requests at fault are to be answered 4xx."""
    stub.statuses = list(statuses)
    tally = load.Tally()
    url = f"http://127.0.0.1:{stub.server_address[1]}"
    client = load.Client(url, [], [], tally, threading.Event(), 0, retry)
    for _ in range(requests):
        client._send(Request("at fault", b"{"))
    return tally


def test_client_comes_back_when_it_is_told_to(stub, clock):
    tally = asked(stub, [503, 429, 400])
    assert (tally.turned_away, tally.tried_again, tally.wrong) == (2, 0, [])
    assert clock.now > 0
    assert tally.seconds["invalid: at fault"] == [0.0]  # of the last try alone


def test_client_notes_other_answers(stub):
    tally = asked(stub, [200])
    assert tally.wrong == ["at fault: 200 b''"]
    assert len(tally.seconds["invalid: at fault"]) == 1


def test_client_tells_a_lost_connection_from_an_idle_one(stub, clock):
    tally = asked(stub, [None, 400])
    assert len(tally.wrong) == 1
    assert tally.wrong[0].startswith("at fault: no answer: RemoteDisconnected")
    assert not tally.seconds
    # where the server is killed now and then, and where it may have closed an idle connection
    for statuses, requests, retry in (([None, 400], 1, True), ([400, None, 400], 2, False)):
        tally = asked(stub, statuses, requests, retry)
        assert (tally.tried_again, tally.wrong) == (1, [])
        assert len(tally.seconds["invalid: at fault"]) == requests


def test_client_gives_up(stub, clock, monkeypatch):
    monkeypatch.setattr(load, "_PATIENCE", 0.12)
    tally = asked(stub, [503])
    assert tally.wrong == ["at fault: not answered in 0.12 s"]
    assert tally.turned_away == 3


def test_disturbed_connections_are_as_described():
    found = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen():
            for _ in range(4):
                connection, _ = listener.accept()
                with connection:
                    found.append(connection.recv(1000))

        thread = threading.Thread(target=listen)
        thread.start()
        for way in range(4):
            load_requests.disturb(listener.getsockname(), "m", way)
        thread.join(10)
    heads, bodies = zip(*(data.split(b"\r\n\r\n", 1) for data in found), strict=True)
    lengths = [re.search(rb"Content-Length: (\d+)", head) for head in heads]
    for way in (0, 1):
        assert int(lengths[way][1]) > len(bodies[way]) > 0
    assert lengths[2] is None
    assert not heads[2].startswith(b"POST")
    assert int(lengths[3][1]) == len(bodies[3])
    assert heads[3].startswith(b"POST /v1/models/m:predict HTTP/1.1")


# Answers.


@pytest.mark.parametrize("by_row", [False, True])
def test_answers_of_several_outputs(by_row):
    outputs = {"y": np.arange(6.0).reshape(3, 2), "z": np.ones([3, 4])}
    request = Request("several", outputs=outputs, by_row=by_row)

    def right(changed):
        return request.is_right(200, protocol.response(changed, by_row))

    assert right(outputs)
    assert right({k: v + 1e-4 for k, v in outputs.items()})
    assert not right({**outputs, "z": np.full([3, 4], 1.01)})
    assert not right({"y": outputs["y"], "w": outputs["z"]})
    assert not right({"y": outputs["y"]})
    assert not right({k: v[:2] for k, v in outputs.items()})
    assert not right({**outputs, "z": np.ones([3, 3])})


@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"3", b'{"outputs": {"y": [1, "a"]}}'])
def test_what_is_no_answer_is_wrong(content):
    request = Request("one", outputs={"y": np.zeros(2), "z": np.zeros(2)})
    assert not request.is_right(200, content)
    ragged = Request("ragged", outputs={"y": np.zeros([2, 2])})
    assert not ragged.is_right(200, b'{"outputs": [[0, 0], [0]]}')
