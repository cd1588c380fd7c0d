"""Serves exported models over HTTP by TF-Serving's REST API."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from absl import flags

from tf_structvae.programs import command

_MODEL = flags.DEFINE_multi_string(
    "model", None, "NAME=DIRECTORY, or DIRECTORY whose last part is the name; may be repeated."
)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen at; 0.0.0.0 is all.")
_PORT = flags.DEFINE_integer("port", 8501, "0 is any free one.", lower_bound=0, upper_bound=65535)
_ALLOWED = flags.DEFINE_list(
    "allowed_hosts", None, "Names it may be reached by; default: at loopback its names, else any."
)
_REQUEST = flags.DEFINE_float("max_request_mb", 32, "Largest request body, MB.")
_BATCH = flags.DEFINE_integer("max_batch", 64, "Most rows of a request.")
_CONCURRENCY = flags.DEFINE_integer(
    "concurrency", None, "Calls of a model at once; default: one a core."
)
_JOINED = flags.DEFINE_integer(
    "joined_requests", 1, "Most requests of one signature that share a call when they wait."
)
_QUEUE = flags.DEFINE_integer("queue", 32, "Requests that may wait; further ones get status 429.")
_TIMEOUT = flags.DEFINE_float("timeout", 60, "Seconds a request may take.")
_POLL = flags.DEFINE_float("poll_seconds", 2, "How often to look for new versions.")
flags.mark_flag_as_required("model")


def directories(models: list[str]) -> dict[str, Path]:
    """Name -> directory of the words given for --model.

    Raises:
      ValueError: a name is given twice.
    """
    found: dict[str, Path] = {}
    for word in models:
        name, equals, path = word.partition("=")
        directory = Path(path if equals else word)
        name = name if equals else directory.absolute().name
        if name in found:
            raise ValueError(f"--model: the name {name!r} is given twice.")
        found[name] = directory
    return found


def main() -> None:
    concurrency = (os.cpu_count() or 1) if _CONCURRENCY.value is None else _CONCURRENCY.value
    command.positive(
        max_request_mb=_REQUEST.value,
        max_batch=_BATCH.value,
        concurrency=concurrency,
        joined_requests=_JOINED.value,
        timeout=_TIMEOUT.value,
        poll_seconds=_POLL.value,
    )
    # what needs no TensorFlow comes first: mistakes are reported at once
    from tf_structvae.serving import directory as directory_lib
    from tf_structvae.serving import sockets
    from tf_structvae.serving.limits import Limits

    models = directories(_MODEL.value or [])
    for directory in models.values():
        directory_lib.check(directory)
    limits = Limits(
        request_bytes=max(int(_REQUEST.value * 2**20), 1),
        batch=_BATCH.value,
        concurrency=concurrency,
        joined=_JOINED.value,
        queue=_QUEUE.value,
        seconds=_TIMEOUT.value,
    )
    bound = sockets.bind(_HOST.value, _PORT.value)
    try:
        from tf_structvae.serving import hosts, server
        from tf_structvae.serving.app import create_app
    except ImportError as error:
        raise ImportError(
            f"the server needs the extra [serving] of this package: {error}"
        ) from error
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # it warns of the loader that TF-Serving uses, too
    allowed = _ALLOWED.value or (hosts.LOOPBACK if _HOST.value in hosts.LOOPBACK else hosts.ANY)
    server.keep_imports()
    app = create_app(models, limits, allowed, _POLL.value)

    def ready() -> None:
        served = ", ".join(f"{m.name} version {m.current}" for m in app.state.models)
        print(f"ready     {sockets.address(bound)} serves {served}", flush=True)

    finished = server.run(app, bound, ready, seconds=_TIMEOUT.value)
    print("stopped." if finished else "stopped; a call of a model was cut short.", flush=True)
    if not finished:
        sys.stdout.flush()
        os._exit(1)  # the interpreter would wait for the call


def run() -> None:
    command.run(main)
