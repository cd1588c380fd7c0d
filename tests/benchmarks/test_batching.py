"""What the benchmark of many clients asks for and tables."""

import http.server
import threading

import pytest

from tf_structvae.benchmarks import batching


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[bytes] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.seen.append(body)
        self.send_response(200 if self.path == "/good" else 429)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"no")

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_load_counts_the_answers_of_all_clients(url):
    Handler.seen.clear()
    found = batching.load(url, "/good", b"body", clients=3, seconds=0.5)
    assert set(Handler.seen) == {b"body"}
    # each client counts within its half second, and ends its last request after it
    assert 0 < found["rate"] * 0.5 <= len(Handler.seen)
    assert 0 < found["median"] <= found["p99"]


def test_load_says_what_was_refused(url):
    assert batching.load(url, "/bad", b"body", 2, 0.5) == {"error": "429: b'no'"}


def test_table_has_ratios_to_the_server_that_shares_no_call():
    results = [
        {"signature": "sample", "clients": 8, "joined": n, "rate": r, "median": 0.05, "p99": 0.1}
        for n, r in ((8, 150.0), (1, 100.0))
    ]
    results.append({"signature": "sample", "clients": 32, "joined": 8, "error": "429"})
    lines = batching.table(results).splitlines()
    assert lines[2] == "| sample | 8 | 1 | 100.0 | 1.00 | 50 | 100 |"
    assert lines[3] == "| sample | 8 | 8 | 150.0 | 1.50 | 50 | 100 |"
    assert "| sample | 32 | 8 | 429 |" in lines[4]


@pytest.mark.long
def test_suite():
    found = batching.run(quick=True)
    assert [(r["joined"], r["clients"]) for r in found] == [
        (joined, clients) for joined in batching.JOINED for clients in batching.CLIENTS
    ]
    assert all(r["rate"] > 0 for r in found), found
