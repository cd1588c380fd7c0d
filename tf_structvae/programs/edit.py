"""Opens the editor of a model in the browser."""

from __future__ import annotations

import os
import sys
import webbrowser

from absl import flags

from tf_structvae.programs import command
from tf_structvae.serving import directory as directory_lib
from tf_structvae.serving import sockets
from tf_structvae.serving.limits import Limits
from tf_structvae.utilities import shipped

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Directory of an exported model; default: saved_models/demo, or the only one in saved_models.",
)
_SERVER = flags.DEFINE_string(
    "server",
    None,
    "http://HOST:PORT/v1/models/NAME of TF-Serving or bin/serve, instead of --model.",
)
_HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen at; default: loopback.")
_PORT = flags.DEFINE_integer("port", 8502, "0 is any free one.", lower_bound=0, upper_bound=65535)
_OPEN = flags.DEFINE_bool("open", True, "Open the page in a browser.")
_TIMEOUT = flags.DEFINE_float("timeout", 60, "Seconds a request may take.")


def main() -> None:
    if _MODEL.value and _SERVER.value:
        raise ValueError("--model and --server exclude each other.")
    command.positive(timeout=_TIMEOUT.value)
    limits, host = Limits(seconds=_TIMEOUT.value), _HOST.value
    models = shipped.nearest_models()
    directory = None if _SERVER.value else directory_lib.choose(_MODEL.value, models)
    if directory:
        directory_lib.check(directory)
    bound = sockets.bind(host, _PORT.value)
    try:
        from tf_structvae.serving import hosts, server
        from tf_structvae.serving.editor import server as editor
        from tf_structvae.serving.editor.remote import Remote
    except ImportError as error:
        raise ImportError(
            f"the editor needs the extra [editor] of this package: {error}"
        ) from error
    server.keep_imports()
    allowed = hosts.LOOPBACK if host in hosts.LOOPBACK else hosts.ANY
    if directory:
        name = directory.absolute().name
        app = editor.create_app(name, directory, limits, allowed)
    else:
        remote = Remote(_SERVER.value or "", limits.seconds)
        app = editor.create_remote_app(remote, limits, allowed)
    shown = directory or _SERVER.value

    def ready() -> None:
        address = sockets.address(bound)
        print(f"editor    {address} shows {shown}; Ctrl-C ends it.", flush=True)
        if _OPEN.value:
            webbrowser.open(address)

    finished = server.run(app, bound, ready, seconds=_TIMEOUT.value)
    print("stopped.", flush=True)
    if not finished:
        sys.stdout.flush()
        os._exit(1)  # the interpreter would wait for the call


def run() -> None:
    command.run(main)
