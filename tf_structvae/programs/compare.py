"""Lays means and samples of trained experiments side by side, with their held-out scores."""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tf_structvae.programs import command

_WORKDIR = flags.DEFINE_multi_string("workdir", [], "A run's directory; give it several times.")
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "last", ["last", "best"], "Of each run; best: by the validation ELBO."
)
_OUTPUT = flags.DEFINE_string("output", "runs/comparison", "Where picture and table go.")


def main() -> None:
    from tf_structvae.studies import report
    from tf_structvae.training.experiment import Experiment

    if not _WORKDIR.value:
        raise ValueError("--workdir is missing; give it once for each run.")
    experiments = [Experiment.load(w, _CHECKPOINT.value) for w in _WORKDIR.value]
    picture, table = report.write_comparison(experiments, Path(_OUTPUT.value))
    print(f"{table}\n\npicture   {picture}")


def run() -> None:
    command.run(main)
