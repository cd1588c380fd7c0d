"""Requests that share a call, without a model: what is called, and who gets what."""

import threading

import numpy as np
import pytest
from serving_models import eventually

from tf_structvae.serving.batching import Batches
from tf_structvae.serving.errors import RequestError, invalid
from tf_structvae.serving.specs import Signature, Spec

ROWS = Spec("float32", (None, 2))


class Held:
    """A servable whose calls wait until they may go on.

    The number 13 is refused.
    """

    def __init__(self, output=ROWS):
        self.calls = []
        self.go = threading.Semaphore(0)
        self._signature = Signature({"x": ROWS}, {"y": output})

    def signature(self, name):
        return self._signature

    def run(self, name, inputs):
        x = inputs["x"]
        self.calls.append((name, x[:, 0].tolist()))
        assert self.go.acquire(timeout=60)
        if (x == 13).any():
            raise invalid(f"13 in row {int(np.argwhere(x == 13)[0, 0])}")
        return {"y": x + 1 if name == "add" else -x}


class Client(threading.Thread):
    """Asks for a signature of the rows of some numbers."""

    def __init__(self, batches, servable, numbers, name="add", width=2):
        super().__init__(daemon=True)
        x = np.repeat(np.float32(numbers)[:, np.newaxis], width, 1)
        self._ask = lambda: batches.run(servable, name, {"x": x})
        self.found = None
        self.start()

    def run(self):
        try:
            self.found = self._ask()["y"][:, 0].tolist()
        except Exception as error:
            self.found = error

    def answer(self):
        self.join(60)
        assert not self.is_alive()
        return self.found


def waiting(batches, count):
    assert eventually(lambda: batches.waiting == count)


def busy(batches, held, number=0):
    """A client whose call runs."""
    before = len(held.calls)
    client = Client(batches, held, [number])
    assert eventually(lambda: len(held.calls) > before)
    return client


def queued(batches, held, *several, **kwargs):
    """Clients that wait in this order."""
    clients = []
    for numbers in several:
        clients.append(Client(batches, held, numbers, **kwargs))
        waiting(batches, len(clients))
    return clients


def test_a_lone_request_is_called_at_once():
    held, batches = Held(), Batches(1, 8, 64)
    client = busy(batches, held, 4)
    held.go.release()
    assert client.answer() == [5]
    assert held.calls == [("add", [4])]


def test_those_that_wait_share_the_next_call_and_each_gets_its_rows():
    held, batches = Held(), Batches(1, 8, 64)
    first = busy(batches, held)
    others = queued(batches, held, [1], [2, 3], [4])
    held.go.release(2)
    assert first.answer() == [1]
    assert [c.answer() for c in others] == [[2], [3, 4], [5]]
    assert held.calls[1:] == [("add", [1, 2, 3, 4])]
    assert batches._running == 0


def test_most_requests_and_most_rows_of_a_call():
    for most, rows, wanted in ((2, 64, [[1, 2], [3]]), (8, 2, [[1, 2], [3]])):
        held, batches = Held(), Batches(1, most, rows)
        first = busy(batches, held)
        others = queued(batches, held, [1], [2], [3])
        held.go.release(3)
        assert [c.answer() for c in (first, *others)] == [[1], [2], [3], [4]]
        assert [numbers for _, numbers in held.calls[1:]] == wanted


def test_another_function_version_or_shape_is_another_call():
    held, other, batches = Held(), Held(), Batches(1, 8, 64)
    first = busy(batches, held)
    clients = [Client(batches, held, [1])]
    waiting(batches, 1)
    for i, more in enumerate(({"name": "negate"}, {"width": 3}, {"servable": other}), 2):
        clients.append(Client(batches, more.pop("servable", held), [2], **more))
        waiting(batches, i)
    clients.append(Client(batches, held, [5]))
    waiting(batches, 5)
    held.go.release(9)
    other.go.release(9)
    assert first.answer() == [1]
    assert [c.answer() for c in clients] == [[2], [-2], [3], [3], [6]]
    assert held.calls[1] == ("add", [1, 5])
    assert sorted(held.calls[2:]) == [("add", [2]), ("negate", [2])]
    assert other.calls == [("add", [2])]


def test_only_the_request_at_fault_gets_the_error():
    held, batches = Held(), Batches(1, 8, 64)
    first = busy(batches, held)
    good, bad, last = queued(batches, held, [1], [2, 13], [3])
    held.go.release(9)
    assert first.answer() == [1]
    assert good.answer() == [2]
    assert last.answer() == [4]
    assert isinstance(bad.answer(), RequestError)
    assert str(bad.answer()) == "13 in row 1"


@pytest.mark.parametrize(
    "output", [Spec("float32", ()), Spec("float32", (3,)), Spec("float32", None)]
)
def test_outputs_without_rows_are_not_shared(output):
    held, batches = Held(output), Batches(1, 8, 64)
    first = busy(batches, held)
    others = queued(batches, held, [1], [2])
    held.go.release(3)
    assert [c.answer() for c in (first, *others)] == [[1], [2], [3]]
    assert [numbers for _, numbers in held.calls] == [[0], [1], [2]]


def test_as_many_calls_at_once_as_allowed():
    held, batches = Held(), Batches(2, 8, 64)
    first, second = busy(batches, held, 1), busy(batches, held, 2)
    others = queued(batches, held, [3], [4])
    assert len(held.calls) == 2
    held.go.release(3)
    assert [c.answer() for c in (first, second, *others)] == [[2], [3], [4], [5]]
    assert held.calls[2:] == [("add", [3, 4])]
    assert batches._running == 0
    assert not batches.waiting


def test_many_clients_all_get_their_own():
    held, batches = Held(), Batches(2, 5, 16)
    held.go.release(10_000)
    clients = {i: Client(batches, held, [i, i + 0.5]) for i in range(100, 300)}
    for i, client in clients.items():
        assert client.answer() == [i + 1, i + 1.5]
    assert batches._running == 0
    assert sum(len(numbers) for _, numbers in held.calls) == 400
