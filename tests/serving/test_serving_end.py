"""The end of a server while a client goes on asking."""

import http.client
import threading
from urllib.parse import urlsplit

from server_thread import ServerThread
from serving_models import eventually, save


def test_a_connection_that_was_just_accepted_does_not_keep_it(tmp_path):
    """uvicorn tells the connections that it knows to end. One that is accepted at that moment is
    not among them, and as long as its client asks, the server would wait."""
    save(tmp_path / "m", only=["serving_default"])
    server = ServerThread(f"--model=m={tmp_path / 'm'}")
    answered = []

    def ask():
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=300)
        while not answered or answered[-1] == 200:
            try:
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                answered.append(answer.status)
                if answer.will_close:
                    return
            except (OSError, http.client.HTTPException):
                return

    client = threading.Thread(target=ask, daemon=True)
    client.start()
    assert eventually(lambda: len(answered) > 3)
    (connection,) = server._server.server_state.connections
    told, real = [], connection.shutdown

    def shutdown():
        told.append(1)
        if len(told) > 1:  # it missed the first time
            real()

    connection.shutdown = shutdown
    server._server.should_exit = True
    server._thread.join(60)  # the client asks on and on
    ended = not server.alive
    server.kill()
    client.join(300)
    assert ended
    assert set(answered) == {200}
    assert len(told) > 1
