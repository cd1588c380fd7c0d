"""The errors that a client gets."""

from __future__ import annotations

_LONGEST = 2000  # characters of a message


class RequestError(Exception):
    """A request that gets no result; answered as {"error": message}.

    Attributes:
      status: the HTTP status.
      retry_after: seconds after which the same request may succeed; None if it will not.
    """

    def __init__(self, status: int, message: str, retry_after: int | None = None):
        # a client may have made it as long as its request: by names that are none, say
        super().__init__(message if len(message) <= _LONGEST else f"{message[:_LONGEST]}...")
        self.status = status
        self.retry_after = retry_after


class LoadError(ValueError):
    """A version of a model that cannot be loaded.

    Attributes:
      reason: as a client may read it: it names no place of this machine.
    """

    def __init__(self, path: object, reason: str):
        super().__init__(f"{path}: {reason}")
        self.reason = reason


def invalid(message: str) -> RequestError:
    """The request is at fault (TF-Serving's InvalidArgument)."""
    return RequestError(400, message)


def missing(message: str) -> RequestError:
    """What it asks for is not there (TF-Serving's NotFound)."""
    return RequestError(404, message)
