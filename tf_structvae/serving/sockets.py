"""Addresses to listen at."""

from __future__ import annotations

import socket


def bind(host: str, port: int) -> socket.socket:
    """A socket that holds the address and does not listen yet: it is asked for before models load.

    Args:
      host: a name or address of this machine.
      port: 0 is any free one.

    Raises:
      OSError: the address is in use, or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise OSError(f"host {host}, port {port}: {error.strerror or error}.") from error
    return found


def address(bound: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
