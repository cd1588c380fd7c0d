"""Proposes rank, noise and targets for the data of a config, and draws why."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import config_flags

from tf_structvae.programs import command
from tf_structvae.utilities.files import save_figure, write_whole

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment, configs/NAME.py.")
_IMAGES = flags.DEFINE_integer(
    "images", 4000, "How many training images to read; they are held in memory.", lower_bound=2
)
_RANK = flags.DEFINE_integer("rank", None, "Take this rank.", lower_bound=1)
_KL_TARGET = flags.DEFINE_float("kl_target", None, "Take this KL, nats per image.")
_EPSILON = flags.DEFINE_float(
    "epsilon", None, "D of the paper's recipe; default the config's if its noise is fixed, or 1e-5."
)
_RANK_SHARE = flags.DEFINE_float("rank_share", 0.85, "Of the variance, for the rank to hold.", 0, 1)
_LATENT_SHARE = flags.DEFINE_float(
    "latent_share", 0.85, "Share of the variance that z is to explain.", 0, 1
)
_OUTPUT = flags.DEFINE_string("output", "runs/targets", "Where numbers and plot go.")
flags.mark_flag_as_required("config")


def _announced(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    yield from batches
    print("finding the eigenvalues ...", flush=True)


def options(s, absolute: bool) -> str:
    """Ready-to-paste overrides for both recipes; `absolute` gives the entropy as a target."""
    entropy = (
        f"entropy_target={s.entropy_target:.2f}"
        if absolute
        else f"entropy_budget={s.entropy_budget:.1f}"
    )
    shared = f"--config.model.rank={s.rank} --config.objective.kl_target={s.kl_target:.1f}"
    return (
        "for a config of the calibrated recipe, such as configs/avatars.py:\n"
        f"  {shared} --config.model.noise=learned --config.model.epsilon={s.noise_variance:.2g}\n"
        "for a config of the paper's recipe, such as configs/avatars_paper.py:\n"
        f"  {shared} --config.model.noise=fixed --config.model.epsilon={s.epsilon:g} "
        f"--config.objective.{entropy}"
    )


def main() -> None:
    from tf_structvae.training import config as config_lib

    config = _CONFIG.value
    config_lib.validate(config)
    from tf_structvae import datasets
    from tf_structvae.datasets.first_images import first_images, within_classes
    from tf_structvae.studies import plots, targets
    from tf_structvae.training.from_config import build_constraints

    model, data = config.model, config.data
    epsilon = _EPSILON.value
    if epsilon is None:
        epsilon = model.epsilon if model.noise == "fixed" else 1e-5
    source = datasets.prepare(datasets.Spec.of_config(data), "train")
    # refused before anything is read
    targets.check(_KL_TARGET.value, None, source.image_shape, epsilon)
    own = {k.name: k.target for k in build_constraints(config, source.image_shape)}

    found: Iterable[np.ndarray]
    if data.label:
        source.info.class_names(data.label)
        found = [within_classes(source, _IMAGES.value, data.flip, data.label)]
        print(f"variances are those within the classes of {data.label}, which the model is given")
    else:
        found = first_images(source, _IMAGES.value, data.flip)
    spectrum = targets.spectrum(_announced(found))
    s = targets.suggest(
        spectrum, _RANK.value, epsilon, _KL_TARGET.value, _RANK_SHARE.value, _LATENT_SHARE.value
    )
    print(f"\n{targets.explain(spectrum, s)}")
    if model.likelihood == "low_rank":
        rank = min(model.rank, len(spectrum.eigenvalues))
        beside = targets.suggest(spectrum, rank, model.epsilon, own.get("kl", s.kl_target))
        budget = own["entropy"] - beside.entropy_floor if "entropy" in own else None
        print(f"\n{config.name} as it is:")
        print(targets.compare(s, beside, own.get("kl"), budget))
    print(f"\n{options(s, absolute=config.objective.entropy_target is not None)}")

    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    numbers = {
        "data": {"name": data.name, "variant": data.variant, "images": spectrum.images},
        "total_variance": spectrum.total_variance,
        "suggestion": dataclasses.asdict(s),
    }
    write_whole(output / "targets.json", json.dumps(numbers, indent=2) + "\n")
    save_figure(plots.spectrum(spectrum, s), output / "spectrum.png")
    print(f"\nnumbers   {output / 'targets.json'}\npicture   {output / 'spectrum.png'}")


def run() -> None:
    command.run(main)
