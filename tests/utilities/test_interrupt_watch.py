"""What the thread that waits for Ctrl-C does, with the end of the process made up."""

import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tf_structvae.utilities import interrupt


class Ended(Exception):
    """Instead of the end of the process."""


def test_children_are_told_and_then_ended(monkeypatch):
    events, children = [], iter([[11, 12], [12]])

    def kill(pid, number):
        events.append((pid, number))
        if pid == 11:
            raise ProcessLookupError  # it ended by itself

    clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda s: events.append(s))
    monkeypatch.setattr(interrupt, "os", SimpleNamespace(kill=kill))
    monkeypatch.setattr(interrupt, "time", clock)
    monkeypatch.setattr(interrupt, "_children", lambda: next(children))
    monkeypatch.setattr(interrupt, "end", lambda: events.append("end"))
    ours, written = socket.socketpair()
    with written:
        written.send(bytes([signal.SIGCHLD]))
        written.send(bytes([signal.SIGTERM, signal.SIGINT]))
    interrupt._watch(ours)
    told, ended = signal.SIGINT, signal.SIGKILL
    assert events == [(11, told), (12, told), 1.0, (12, ended), 1.5, "end"]


def test_other_signals_end_nothing(monkeypatch):
    monkeypatch.setattr(interrupt, "end", None)
    monkeypatch.setattr(interrupt, "_children", None)
    ours, written = socket.socketpair()
    with written:
        written.send(bytes([signal.SIGCHLD, signal.SIGTERM]))
    interrupt._watch(ours)
    assert ours.fileno() == -1  # closed


@pytest.fixture
def child():
    """Of this process's group, and one of a session of its own."""
    command = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
    started = [subprocess.Popen(command, start_new_session=new) for new in (False, True)]
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_children_are_those_of_the_terminal(child):
    own, other = child
    found = interrupt._children()
    assert own.pid in found
    assert other.pid not in found


def test_the_end_takes_the_children_along(child, monkeypatch, capsys):
    def leave(status):
        raise Ended(status)

    own, other = child
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setattr(interrupt, "_children", lambda: [gone.pid, own.pid])
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Ended, match="130"):
        interrupt.end()
    assert own.wait(600) == -signal.SIGKILL
    assert other.poll() is None
    assert capsys.readouterr().err == "\nstopped.\n"
