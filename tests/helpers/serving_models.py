"""Small SavedModels for the tests of the server, and the server as a process."""

import asyncio
import contextlib
import sys
import time
from pathlib import Path

import forked
import tensorflow as tf

from tf_structvae.benchmarks.server_process import ServerProcess
from tf_structvae.serving.limits import Limits

ROOT = Path(__file__).parents[2]
SMALL = Limits(
    request_bytes=4096,
    batch=8,
    response_values=1000,
    concurrency=1,
    queue=1,
    joined=1,
    seconds=5,
)


def _spec(*shape, dtype=tf.float32, name):
    return tf.TensorSpec(shape, dtype, name)


def save(directory, version=1, offset=3.0, only=None):
    """Writes NAME/VERSION at once: x/2 + offset by default, and what the REST API can express.

    Args:
      only: names of signatures; default all.
    """
    module = tf.Module()
    module.offset = tf.Variable(offset)

    def half_plus(x):
        return {"y": 0.5 * x + module.offset}

    def named(tag, signal, sensor):
        return {"tag": tag, "total": tf.reduce_sum(signal, 1) + tf.reduce_sum(sensor, [1, 2])}

    def logarithm(x):
        return {"y": tf.math.log(x), "z": x}

    def finite(values):
        check = tf.debugging.assert_all_finite(values, "values: NaN or infinity")
        return {"values": tf.identity(check)}

    def text(data):
        return {"image_bytes": data, "length": tf.strings.length(data)}

    def types(small, large, flag):
        return {"small": small, "large": large, "flag": flag}

    def whole(x):
        return {"sum": tf.reduce_sum(x)}

    def wide(x):
        return {"y": tf.tile(x[:, tf.newaxis], [1, 300])}

    def busy(gate):
        """Runs until there is a file of that path."""
        closed = lambda _: tf.size(tf.io.matching_files(gate)) == 0  # noqa: E731
        with tf.control_dependencies(tf.while_loop(closed, lambda i: [i + 1], [0])):
            return {"gate": tf.identity(gate)}

    tag, data = _spec(None, dtype=tf.string, name="tag"), _spec(None, dtype=tf.string, name="data")
    x = _spec(None, name="x")
    signatures = {
        "serving_default": (half_plus, [x]),
        "named": (named, [tag, _spec(None, 5, name="signal"), _spec(None, 2, 2, name="sensor")]),
        "logarithm": (logarithm, [x]),
        "finite": (finite, [_spec(None, 2, name="values")]),
        "text": (text, [data]),
        "types": (
            types,
            [
                _spec(None, dtype=tf.int32, name="small"),
                _spec(None, dtype=tf.int64, name="large"),
                _spec(None, dtype=tf.bool, name="flag"),
            ],
        ),
        "whole": (whole, [x]),
        "wide": (wide, [x]),
        "busy": (busy, [_spec(None, dtype=tf.string, name="gate")]),
    }
    functions = {
        name: tf.function(f, input_signature=inputs).get_concrete_function()
        for name, (f, inputs) in signatures.items()
        if only is None or name in only
    }
    temporary = Path(directory) / f".{version}"
    tf.saved_model.save(module, str(temporary), signatures=functions)
    final = Path(directory) / str(version)
    temporary.rename(final)
    return final


@contextlib.contextmanager
def process(*arguments, port=0, program="serve"):
    """bin/serve, or another program of a server, as a process of its own, killed in the end."""
    command = [sys.executable, str(ROOT / "bin" / program)]
    words = map(str, arguments)
    server = ServerProcess(*words, port=port, program=command, start=forked.Popen)
    try:
        yield server
    finally:
        server.kill()


async def asgi(app, body, path, sent=lambda: None, complete=True, method="POST", **headers):
    """(status, answer) of an application, without a server.

    Args:
      sent: is called when the answer is, and nothing else is left to do.
      complete: False: the body does not go on.
    """
    parts = [{"type": "http.request", "body": body, "more_body": not complete}]
    found = []

    async def receive():
        if parts:
            return parts.pop()
        await asyncio.sleep(3600)

    async def send(message):
        if message["type"] == "http.response.start":
            found.append(message["status"])
            sent()
        else:
            found.append(message.get("body", b""))

    named = {"host": "localhost", **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in named.items()],
    }
    await app(scope, receive, send)
    return tuple(found)


def eventually(condition, seconds=300.0):
    """Whether it becomes true; the limit only ends a test that would hang."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False
