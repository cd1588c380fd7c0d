"""Trains an experiment, exports the model and draws what it learned."""

from __future__ import annotations

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from tf_structvae.programs import command

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment, configs/NAME.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where the run is kept; default runs/NAME.")
_RESUME = flags.DEFINE_bool(
    "resume", False, "Go on with the run in workdir, which is refused if it holds none."
)
_RESUME_IF_ANY = flags.DEFINE_bool(
    "resume_if_any", False, "Go on with the run in workdir, or begin one if it holds none."
)
_ALLOW_CHANGES = flags.DEFINE_bool(
    "allow_changes", False, "Resume although the config differs from that of the run."
)
_DISTRIBUTE = flags.DEFINE_enum(
    "distribute",
    "none",
    ["none", "mirrored", "multi_worker"],
    "On one device, on all of this machine, or on the workers in TF_CONFIG.",
)
_CLUSTER = flags.DEFINE_enum(
    "cluster",
    "tf_config",
    ["tf_config", "slurm", "kubernetes"],
    "Where --distribute=multi_worker learns of its workers.",
)
_PIXEL = flags.DEFINE_list(
    "pixel", None, "ROW,COLUMN of the pixel whose covariances are drawn; default the centre."
)
_PREFLIGHT = flags.DEFINE_bool(
    "preflight",
    None,
    "Only report what a run takes and whether it fits; --nopreflight trains without this check.",
)
_MEMORY_BUDGET = flags.DEFINE_float(
    "memory_budget", 0.0, "GB (2^30 bytes) that a run may take; 0: what is available.", 0.0
)
flags.mark_flag_as_required("config")


def main() -> None:
    from tf_structvae.training import config as config_lib
    from tf_structvae.training import tf_config

    if _DISTRIBUTE.value == "multi_worker":
        tf_config.resolve(_CLUSTER.value)
    elif _CLUSTER.value != "tf_config":
        raise ValueError(
            f"cluster must be tf_config where distribute is {_DISTRIBUTE.value}, got "
            f"{_CLUSTER.value!r}: other workers are for --distribute=multi_worker."
        )
    config = _CONFIG.value
    config_lib.validate(config)
    if _PREFLIGHT.value:
        from tf_structvae.training.preflight import of_run

        return of_run.check_config(config, _DISTRIBUTE.value, _MEMORY_BUDGET.value, "always")
    from tf_structvae.training import workdir
    from tf_structvae.utilities import files

    directory = _WORKDIR.value or f"runs/{config.name}"
    found = workdir.holds_run(directory)
    resume = _RESUME.value or (_RESUME_IF_ANY.value and found)
    workdir.check(directory, config, resume, _ALLOW_CHANGES.value)
    if config.export_dir and tf_config.writes(_DISTRIBUTE.value):
        files.check_writable("config.export_dir", Path(config.export_dir) / config.name)
    if _RESUME_IF_ANY.value and not found:
        print(f"No run in {directory} yet: beginning one.{workdir.which_are_meant(directory)}")
    from tf_structvae.studies import report
    from tf_structvae.training import cluster
    from tf_structvae.training.experiment import Experiment
    from tf_structvae.training.preflight import of_run

    several = _DISTRIBUTE.value == "multi_worker"  # it must be set up before TensorFlow works
    if _PREFLIGHT.value is None and not several:
        of_run.check_config(config, _DISTRIBUTE.value, _MEMORY_BUDGET.value, "if_large")
    experiment = Experiment(config, directory, _DISTRIBUTE.value)
    if _PREFLIGHT.value is None and several:
        of_run.check_experiment(experiment, _MEMORY_BUDGET.value)
    pixel = report.parse_pixel(_PIXEL.value, experiment.source.image_shape)
    experiment.start(resume, _ALLOW_CHANGES.value)
    if experiment.is_chief:
        print(experiment.summary())
        print(f"samples   {experiment.workdir / 'samples.png'}, drawn anew as training goes on")
    with cluster.losses_named(experiment.strategy):
        logs = experiment.train()
    # The others wait for the chief: it takes a worker that leaves for one that crashed.
    with cluster.chief_first(experiment.strategy):
        if experiment.is_chief:
            _finish(experiment, logs, pixel)


def _finish(experiment, logs: dict[str, float], pixel: tuple[int, int]) -> None:
    """Scores, pictures and the exported model of a trained experiment."""
    from tf_structvae.export import card, export, next_version
    from tf_structvae.studies import prior_report, report, scores

    config, w = experiment.config, experiment.workdir
    print(f"\nLast epoch, nats per image: {experiment.targets(logs)}")
    if config.prior.fitted != "none":
        prior_report.fit(experiment, anew=bool(logs))
    else:
        experiment.take_fitted_prior()  # of bin/fit_prior, if nothing was left to train
    print(f"\nHeld-out:\n{scores.table({config.name: report.write_scores(experiment)})}\n")
    report.write_pictures(experiment, pixel)
    if config.export_dir:
        directory = Path(config.export_dir) / config.name
        if logs or next_version(directory) == 1:
            export(experiment.exact_model, directory, about=card.of_experiment(experiment))
        print(f"model     {directory / str(next_version(directory) - 1)}")
    for picture in sorted((w / "pictures").glob("*.png")):
        print(f"picture   {picture}")
    print(f"logs      {w / 'log.csv'}, tensorboard --logdir {w / 'tensorboard'}")
    file = config_flags.get_config_filename(flags.FLAGS["config"])
    if config.name == "avatars":
        print("next      make compare: the same with a standard VAE, side by side")
    print(
        f"next      bin/train --config {file} --workdir {w}_long "
        f"--config.train.steps={3 * config.train.steps}: longer, for better pictures\n"
        f"          bin/figures --workdir {w}: the figures of the paper"
    )


def run() -> None:
    command.run(main)
