"""Makes the records of the data of a config before any run needs them."""

from __future__ import annotations

from absl import flags
from ml_collections import config_flags

from tf_structvae.programs import command
from tf_structvae.programs.runner_flags import RunnerFlags, resumable

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment, configs/NAME.py.")
_RUNNER = RunnerFlags()
flags.mark_flag_as_required("config")


def main() -> None:
    from tf_structvae.training import config as config_lib

    config_lib.validate(_CONFIG.value)
    runner = _RUNNER.given()
    from tf_structvae import datasets

    spec = datasets.Spec.of_config(_CONFIG.value.data)
    with resumable():
        print(datasets.prepare(spec, "train", runner).info)


def run() -> None:
    command.run(main)
