"""How much of the machine requests may take: size, number at once, and time.

The sizes are kept to by `body` and `app`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar, cast

from tf_structvae.serving.errors import RequestError

T = TypeVar("T")
RETRY_SECONDS = 1


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
      request_bytes: largest body.
      batch: most rows of a request.
      response_values: most numbers in a response, as far as the signature determines their number.
      concurrency: calls of models at once.
      joined: most requests that share a call; see `batching`.
      queue: requests that may wait for a call, or be on their way in.
      seconds: from the first byte of a request to its result.
    """

    request_bytes: int = 32 << 20
    batch: int = 64
    response_values: int = 16 << 20
    concurrency: int = field(default_factory=lambda: os.cpu_count() or 1)
    joined: int = 1
    queue: int = 32
    seconds: float = 60.0

    def __post_init__(self):
        positive = (
            "request_bytes", "batch", "response_values", "concurrency", "joined", "seconds"
        )  # fmt: skip
        for name in positive:
            if not getattr(self, name) > 0:  # NaN neither
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.queue < 0:
            raise ValueError(f"queue must not be negative, got {self.queue}.")


class Gate:
    """Lets so many requests in, and so many of them to the models.

    A call cannot be stopped: after its time is over its client gets an error, and the call keeps
    its place until it ends, so that there are never more of them than allowed.

    Args:
      limits: how many of both, and for how long.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.inside = 0  # requests that were let in
        self.running = 0  # calls, those that nobody waits for included
        # those that wait to share a call have threads of their own
        places = min(limits.concurrency * limits.joined, limits.concurrency + limits.queue)
        self._free = asyncio.Semaphore(places)
        self._threads = ThreadPoolExecutor(places, "predict")

    @asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """A place in the queue.

        Raises:
          RequestError: 429, there is none.
        """
        if self.inside >= self.limits.concurrency + self.limits.queue:
            raise RequestError(429, "too many requests are waiting.", RETRY_SECONDS)
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def call(self, function: Callable[[], T], deadline: float) -> T:
        """The result of a function, run in a thread when there is a free one.

        Args:
          function: takes nothing.
          deadline: of the loop's clock, seconds.

        Raises:
          RequestError: 503, none was free in time; 504, the function took too long.
        """
        loop = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(self._free.acquire(), deadline - loop.time())
        except asyncio.TimeoutError:
            raise RequestError(503, "no call was free in time.", RETRY_SECONDS) from None
        self.running += 1
        future = loop.run_in_executor(self._threads, _outcome, function)
        future.add_done_callback(self._ended)
        done, _ = await asyncio.wait({future}, timeout=max(deadline - loop.time(), 0.0))
        if not done:
            raise RequestError(504, f"the call took longer than {self.limits.seconds:g} s allow.")
        outcome: T | RequestError | None = None
        try:
            outcome = future.result()
            if isinstance(outcome, RequestError):
                raise outcome
            return cast(T, outcome)
        finally:  # an error's traceback holds this frame, which must not hold the error
            outcome = None
            del future, done

    def _ended(self, future: asyncio.Future) -> None:
        self.running -= 1
        self._free.release()
        if not future.cancelled():
            future.exception()  # or asyncio reports that nobody asked for it

    def close(self) -> None:
        """No more calls; the running ones go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _outcome(function: Callable[[], T]) -> T | RequestError:
    """The result of a function, or its refusal alone.

    The traceback of an error, and that of the error before it, hold all that was made of a
    request. They are dropped in this thread, or it would hold them a while after the answer.
    """
    try:
        return function()
    except RequestError as error:
        return RequestError(error.status, str(error), error.retry_after)
