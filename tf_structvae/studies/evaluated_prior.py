"""The priors that one model is evaluated with: its own, and others fitted to its posteriors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tf_structvae.priors import StandardNormal
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.feature_cache import fingerprint
from tf_structvae.studies.model_scores import model_settings
from tf_structvae.training import fitted_prior
from tf_structvae.training.experiment import Experiment

_NAMES = {
    "own": "its own prior",
    "standard_normal": "N(0, I)",
    "normal": "N(m, C)",
    "mixture": "a mixture",
    "vamp": "a VampPrior",
    "flow": "a flow",
    "posterior": "q(z given x)",
}


def label(name: str, prior: str, all_of_them: Sequence[str]) -> str:
    """What a model is called with a prior; its own name, if that is the only one.

    Args:
      name: of the model.
      prior: one of `collection.PRIORS`.
      all_of_them: that each model is evaluated with.
    """
    return f"{name}, z from {_NAMES[prior]}" if len(all_of_them) > 1 or prior != "own" else name


def settings_of(prior: str, settings: Settings) -> Settings:
    """How a model is evaluated with a prior.

    Args:
      prior: one of `collection.PRIORS`.
      settings: of all.
    """
    return dataclasses.replace(settings, latents="posterior") if prior == "posterior" else settings


def describe(experiment: Experiment, prior: str) -> str:
    """The prior in words.

    Args:
      experiment: that has taken it.
      prior: one of `collection.PRIORS`.
    """
    return _NAMES[prior] if prior == "posterior" else experiment.model.prior.describe()


def take(experiment: Experiment, prior: str, settings: Settings, path: Path, force: bool) -> None:
    """Puts a prior into a model; a fitted one is kept in a file.

    Args:
      experiment: a trained one.
      prior: one of `collection.PRIORS`.
      settings: number of components, and seed.
      path: of the file.
      force: whether it is fitted although it is there.

    Raises:
      ValueError: there are too few images for it.
    """
    if prior in ("own", "posterior"):
        return
    model = experiment.model
    if prior == "standard_normal":
        model.replace_prior(StandardNormal(model.latent_dim))
        return
    by_label = bool(model.classes) and (experiment.config.prior.by_label or prior == "vamp")
    wanted = fitted_prior.Settings(prior, settings.components, by_label, settings.seed)
    about = {**dataclasses.asdict(wanted), "model": fingerprint(model_settings(experiment))}
    kept = None if force else fitted_prior.load(path)
    if kept is None or kept[1] != about:
        kept = experiment.fitted_prior(wanted), about
        fitted_prior.save(path, *kept)
    model.replace_prior(kept[0])
