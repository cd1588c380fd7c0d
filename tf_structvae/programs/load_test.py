"""Loads bin/serve with valid and invalid requests, and checks every answer."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from absl import flags

from tf_structvae.programs import command
from tf_structvae.utilities.files import write_whole

_MODEL = flags.DEFINE_string(
    "model", None, "A version, NAME/VERSION; default: an untrained network of the usual size."
)
_MINUTES = flags.DEFINE_float("minutes", 1, "How long.", lower_bound=0.05)
_CLIENTS = flags.DEFINE_integer("clients", 4, "Threads that send.", lower_bound=1)
_PUBLISH = flags.DEFINE_float("publish_seconds", 20, "Between new versions; 0: none.")
_KILL = flags.DEFINE_float("kill_seconds", 0, "Between kills (kill -9) of the server; 0: none.")
_OUTPUT = flags.DEFINE_string("output", "runs/load_test", "Where the table goes.")


def main() -> None:
    from tf_structvae.benchmarks import load, runner, serving

    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        if _MODEL.value is None:
            version = serving.export_models(Path(temporary, "model"), ["default"])["default"]
        else:
            version = Path(_MODEL.value)
            if not (version / "saved_model.pb").exists():
                raise ValueError(f"--model {version} is no exported version: no saved_model.pb.")
        options = load.Options(_MINUTES.value, _CLIENTS.value, _PUBLISH.value, _KILL.value)
        report, well = load.run(version, Path(temporary, "served"), options)
    text = f"{runner.machine()}\n\n{report}\n\n{'passed' if well else 'FAILED'}"
    write_whole(output / "load.md", text + "\n")
    print(f"\n{text}\n\ntable     {output / 'load.md'}")
    sys.exit(0 if well else 1)


def run() -> None:
    command.run(main)
