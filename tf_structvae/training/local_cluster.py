"""A cluster of workers on this machine. Needs no TensorFlow."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path

from tf_structvae.training import tf_config


def _free_addresses(count: int) -> list[str]:
    """Addresses on the loopback interface that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]


def environments(workers: int) -> list[dict[str, str]]:
    """The environment of each worker: TF_CONFIG, and its share of the CPU's threads."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    addresses = _free_addresses(workers)
    # `#!/usr/bin/env python3` shall find this Python
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    shared = {"OMP_NUM_THREADS": threads, "TF_NUM_INTRAOP_THREADS": threads, **os.environ}
    return [
        {**shared, "PATH": path, "TF_CONFIG": tf_config.of_worker(addresses, i)}
        for i in range(workers)
    ]
