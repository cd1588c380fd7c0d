"""Fits a prior to the posteriors of a trained run, puts it into the run, and exports the model."""

from __future__ import annotations

import time
from pathlib import Path

from absl import flags

from tf_structvae.programs import command

_WORKDIR = flags.DEFINE_string("workdir", None, "The run's directory.", required=True)
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "last", ["last", "best"], "Of the run; best: by the validation ELBO."
)
_KIND = flags.DEFINE_enum(
    "kind",
    "mixture",
    ["none", "standard_normal", "normal", "mixture", "vamp", "flow"],
    "Of the prior; none takes a fitted one out again, for that of training.",
)
_COMPONENTS = flags.DEFINE_integer(
    "components", 50, "Of a mixture or VampPrior, for each label.", lower_bound=1
)
_BY_LABEL = flags.DEFINE_bool("by_label", False, "A prior for each label of a conditional model.")
_SEED = flags.DEFINE_integer("seed", 0, "Of draws and starts.", lower_bound=0)
_EXPORT = flags.DEFINE_bool("export", True, "Write a new version of the exported model.")
_DIRECTORY = flags.DEFINE_string(
    "directory", None, "Of all versions of the model; default saved_models/NAME of the run."
)


def main() -> None:
    from tf_structvae.training import workdir

    config = workdir.read_config(_WORKDIR.value)
    if _BY_LABEL.value and not config.data.label:
        raise ValueError("--by_label must be left out: the run has no labels.")
    if _KIND.value == "vamp" and config.data.label and not _BY_LABEL.value:
        raise ValueError(
            "--by_label must be given for a VampPrior of a conditional model, whose encoder takes "
            "labels."
        )
    from tf_structvae.priors import StandardNormal
    from tf_structvae.studies import prior_report
    from tf_structvae.training.experiment import Experiment
    from tf_structvae.training.fitted_prior import Settings

    experiment = Experiment.load(_WORKDIR.value, _CHECKPOINT.value)
    before = experiment.model.prior
    shown = {"N(0, I)": StandardNormal(experiment.model.latent_dim), "before": before}
    if isinstance(before, StandardNormal):
        del shown["before"]
    if _KIND.value == "none":
        experiment.prior_file(_CHECKPOINT.value).unlink(missing_ok=True)
        experiment = Experiment.load(_WORKDIR.value, _CHECKPOINT.value)
        name, how = "of training", "that of training"
    else:
        settings = Settings(_KIND.value, _COMPONENTS.value, _BY_LABEL.value, _SEED.value)
        start = time.monotonic()
        experiment.fit_prior(settings, _CHECKPOINT.value)
        name, how = "fitted", f"fitted in {time.monotonic() - start:.1f} s"
    shown[name] = experiment.model.prior
    print(f"\n{prior_report.table(shown, prior_report.held_out_posterior(experiment))}\n")
    print(f"prior     {experiment.model.prior.describe()}, {how}")
    print(f"picture   {prior_report.write_sheet(experiment, shown)}")
    if _EXPORT.value:
        _export(experiment)


def _export(experiment) -> None:
    from tf_structvae.export import card, export

    directory = Path(_DIRECTORY.value or f"saved_models/{experiment.config.name}")
    about = card.of_experiment(experiment, _CHECKPOINT.value)
    print(f"model     {export(experiment.exact_model, directory, about=about)}")


def run() -> None:
    command.run(main)
