"""Writes a trained run as a SavedModel with its card: saved_models/NAME/VERSION."""

from __future__ import annotations

import json
from pathlib import Path

from absl import flags

from tf_structvae.programs import command

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's directory.", required=True)
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "last", ["last", "best"], "Of the run; best: by the validation ELBO."
)
_DIRECTORY = flags.DEFINE_string(
    "directory", None, "Of all versions of the model; default saved_models/NAME of the run."
)
_VERSION = flags.DEFINE_integer(
    "version", None, "A new number; default one more than the highest.", lower_bound=1
)
_WARM_UP = flags.DEFINE_bool(
    "warmup",
    None,
    "Write warm-up requests for TF-Serving; default if tensorflow-serving-api is installed.",
)
_SAMPLES = flags.DEFINE_integer(
    "importance_samples", 16, "Of z for each image, of the signature log_prob.", lower_bound=1
)
_STEPS = flags.DEFINE_integer(
    "proposal_steps",
    0,
    "Of the fit of log_prob's proposal to each image, which makes the bound tighter, and log_prob "
    "dearer; 0: the encoder's posterior.",
    lower_bound=0,
)


def main() -> None:
    from tf_structvae.export import card, export, versions, warmup

    if _WARM_UP.value and not warmup.available():
        raise ImportError(warmup.MISSING)
    if _DIRECTORY.value and _VERSION.value:  # what is wrong with them is reported at once
        versions.choose_version(Path(_DIRECTORY.value), _VERSION.value)
    from tf_structvae.training.experiment import Experiment

    experiment = Experiment.load(_WORKDIR.value, _CHECKPOINT.value)
    directory = Path(_DIRECTORY.value or f"saved_models/{experiment.config.name}")
    about = card.of_experiment(experiment, _CHECKPOINT.value)
    path = export(
        experiment.exact_model,
        directory,
        _VERSION.value,
        about,
        _WARM_UP.value,
        _SAMPLES.value,
        _STEPS.value,
    )
    written = json.loads((path / card.FILE).read_text(encoding="utf-8"))
    size = sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    print(f"\n{card.table(written)}\n\nmodel     {path}")
    print(f"size      {size / 1e6:.1f} MB, {written['parameters']:,} parameters")
    if not (path / warmup.FILE).exists():
        print("left out  warm-up requests, which need pip install 'tf_structvae[serving]'")


def run() -> None:
    command.run(main)
