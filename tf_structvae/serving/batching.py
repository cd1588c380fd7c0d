"""Requests that wait for the same function at the same time share a call of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.specs import Signature


class _Servable(Protocol):
    def signature(self, name: str) -> Signature: ...

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...


@dataclass(eq=False)
class _Request:
    servable: _Servable
    name: str
    inputs: Mapping[str, np.ndarray]
    key: tuple | None  # requests with the same can be joined; None: with no other
    rows: int
    woken: threading.Event = field(default_factory=threading.Event)
    leads: bool = False
    taken: bool = False
    outputs: dict[str, np.ndarray] | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None

    def run(self) -> None:
        try:
            self.outputs = self.servable.run(self.name, self.inputs)
        except RequestError as error:  # without its traceback, which holds the inputs
            self.error = RequestError(error.status, str(error), error.retry_after)
        except Exception as error:
            self.error = error


class Batches:
    """Calls functions for several threads, each for as many of their requests as wait for it.

    Nobody waits for others to come: a request that finds a free place is called at once, alone. A
    place that gets free takes the request that has waited longest, and with it those behind it that
    ask for the same function of the same version with rows of the same shape. A call that fails is
    repeated for each of its requests alone, so that only the one at fault gets the error.

    Args:
      calls: at once.
      requests: most that share a call.
      rows: most of a call of several requests.
    """

    def __init__(self, calls: int, requests: int, rows: int):
        self._calls, self._requests, self._rows = calls, requests, rows
        self._lock = threading.Lock()  # of the fields below
        self._waiting: deque[_Request] = deque()
        self._running = 0

    @property
    def waiting(self) -> int:
        """Requests that no call has taken yet."""
        return len(self._waiting)

    def run(
        self, servable: _Servable, name: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature, as `Servable.run` has them but for rounding.

        Args:
          servable: a loaded version.
          name: of the signature.
          inputs: its arrays.

        Raises:
          RequestError: see `Servable.run`.
        """
        request = _Request(servable, name, inputs, *_key(servable, name, inputs))
        with self._lock:
            self._waiting.append(request)
            request.leads = self._running < self._calls
            self._running += request.leads
        if not request.leads:
            request.woken.wait()
        if request.leads:
            self._lead(request)
        outputs, error = request.outputs, request.error
        if outputs is not None:
            return outputs
        assert error is not None
        request.error = None  # or the error and what was asked would hold each other
        try:
            raise error
        finally:
            del error

    def _lead(self, request: _Request) -> None:
        """Calls for those who wait, in their order, until this request was taken."""
        request.woken.clear()  # from here on it means that the request is done
        while True:
            with self._lock:
                joined = [] if request.taken else self._take()
                if not joined:
                    self._hand_over()
                    break
            _call(joined)
            for one in joined:
                one.woken.set()
        if not request.done:
            request.woken.wait()

    def _hand_over(self) -> None:
        successor = next((r for r in self._waiting if not r.leads), None)
        if successor is None:
            self._running -= 1
        else:
            successor.leads = True
            successor.woken.set()

    def _take(self) -> list[_Request]:
        joined: list[_Request] = [self._waiting.popleft()]
        rest: deque[_Request] = deque()
        rows = joined[0].rows
        while self._waiting:
            other = self._waiting.popleft()
            fits = len(joined) < self._requests and rows + other.rows <= self._rows
            if fits and joined[0].key is not None and other.key == joined[0].key:
                joined.append(other)
                rows += other.rows
            else:
                rest.append(other)
        self._waiting = rest
        for one in joined:
            one.taken = True
        return joined


def _key(servable: _Servable, name: str, inputs: Mapping[str, np.ndarray]):
    """What requests must share to be joined, None if that is not possible; and rows."""
    signature = servable.signature(name)
    rows = {len(array) if array.ndim else 0 for array in inputs.values()}
    by_row = all(
        spec.shape and spec.shape[0] is None
        for spec in (*signature.inputs.values(), *signature.outputs.values())
    )
    if len(rows) != 1 or not by_row or rows == {0}:
        return None, max(rows, default=1)
    kinds = tuple(sorted((k, str(a.dtype), a.shape[1:]) for k, a in inputs.items()))
    return (servable, name, kinds), rows.pop()


def _call(joined: list[_Request]) -> None:
    """Sets what all of them asked for."""
    first = joined[0]
    if len(joined) > 1:
        ends = np.cumsum([r.rows for r in joined])
        try:
            inputs = {k: np.concatenate([r.inputs[k] for r in joined]) for k in first.inputs}
            outputs: dict[str, Any] = first.servable.run(first.name, inputs)
        except Exception:
            outputs = {}
        if outputs and all(len(value) == ends[-1] for value in outputs.values()):
            for request, end in zip(joined, ends, strict=True):
                own = slice(end - request.rows, end)
                request.outputs = {k: value[own] for k, value in outputs.items()}
            return
    for request in joined:
        request.run()
