"""All scores of one trained model: Table 1's distances, and more than the paper measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tf_structvae import datasets
from tf_structvae.evaluation import generation, heldout, importance
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.feature_set import KEPT, FeatureSet
from tf_structvae.evaluation.features import Extractor
from tf_structvae.evaluation.information import information
from tf_structvae.evaluation.jackknife import BlockVariance
from tf_structvae.evaluation.variance import VarianceMeter
from tf_structvae.models import class_labels
from tf_structvae.priors import AggregatedPosterior
from tf_structvae.studies import feature_cache, scores
from tf_structvae.studies.collection import (
    Settings,
    collect,
    data_settings,
    distance,
    source,
    watched,
)
from tf_structvae.studies.part_store import PartStore
from tf_structvae.training import config as config_lib
from tf_structvae.training.experiment import Experiment

FORMAT = 2  # of the results; raised when a number changes its meaning


def model_settings(experiment: Experiment) -> dict[str, Any]:
    """What makes a model itself, as JSON: its weights, its config, and the batches it is run in."""
    digest = hashlib.sha256()
    for w in experiment.exact_model.get_weights():
        digest.update(np.ascontiguousarray(w).tobytes())
    return {
        "weights": digest.hexdigest(),
        "model": json.loads(experiment.config.model.to_json()),
        "batch_size": experiment.config.evaluation.batch_size,
        "format": FORMAT,
    }


def _as_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: value.as_json() for name, value in estimates.items()}


class ModelScores:
    """The parts of a model's evaluation, each kept in a `PartStore`."""

    def __init__(self, experiment: Experiment, settings: Settings, store: PartStore):
        self._experiment = experiment
        self._settings = settings
        self._store = store
        self._model = experiment.exact_model
        self._common = model_settings(experiment)

    def measures(self) -> dict[str, Any]:
        """All but the distances: {"estimates": {name: {value, standard_error}}, "components": ...}.

        The held-out scores, the importance-weighted bound, and the spread of images from the prior.
        """
        s = self._settings
        estimates: dict[str, Any] = {}
        images = self._test_source(s.images)
        settings = self._test_settings(images)
        found = self._store.get("held_out", settings, lambda: self._held_out(images))
        estimates.update(found["estimates"])
        estimates.update(
            self._store.get("information", settings, lambda: self._information(images))
        )
        if s.importance_samples:
            few = self._test_source(s.importance_images)
            settings = {**self._test_settings(few), "samples": s.importance_samples}
            estimates.update(self._store.get("importance", settings, lambda: self._bound(few)))
        settings = {**self._test_settings(images), "draws": s.images}
        estimates.update(self._store.get("prior", settings, lambda: self._prior(images)))
        return {"estimates": estimates, "components": found["components"]}

    def distances(
        self,
        networks: Sequence[Extractor],
        references: Mapping[str, FeatureSet],
        reference_settings: Mapping[str, Any],
        kinds: Sequence[str] = scores.KINDS,
    ) -> dict[str, dict[str, Any]]:
        """Table 1's rows: {features: {kind: scores}}; see `distance`.

        Args:
          networks: the features.
          references: those of the data, for each network's name.
          reference_settings: of the data.
          kinds: of `scores.KINDS`.
        """
        if not config_lib.has_factor(self._experiment.config):
            # its samples have the noise of every pixel anyway
            kinds = [kind for kind in kinds if kind != "noisy_samples"]
        for kind in kinds:
            wanted = {
                n.name: self._distance_settings(n, reference_settings, kind) for n in networks
            }
            missing = [
                n for n in networks if not self._store.has(self._part(n.name, kind), wanted[n.name])
            ]
            for name, found in self._features(missing, kind).items():
                network = next(n for n in missing if n.name == name)
                result = distance(references[name], found, network, self._settings)
                self._store.put(self._part(name, kind), wanted[name], result)
        return {
            n.name: {kind: self._store.result(self._part(n.name, kind)) for kind in kinds}
            for n in networks
        }

    def _part(self, features: str, kind: str) -> str:
        latents = self._settings.latents
        return f"{features} {kind}" if latents == "prior" else f"{features} {kind} {latents}"

    def _test_source(self, count: int) -> datasets.Source:
        return source(self._experiment, "test", count)

    def _test_settings(self, images: datasets.Source) -> dict[str, Any]:
        data = data_settings(self._experiment, images, "test")
        return {**self._common, "data": data, "seed": self._settings.seed}

    def _distance_settings(self, network, reference_settings, kind) -> dict[str, Any]:
        latents = self._settings.latents
        return {
            **({} if latents == "prior" else {"latents": latents}),
            **self._common,
            **feature_cache.feature_settings(network, KEPT),
            "data": dict(reference_settings),
            "kind": kind,
            "draws": self._settings.images,
            "resamples": self._settings.resamples,
            "seed": self._settings.seed,
        }

    def _batches(self, images: datasets.Source, label: str) -> Iterator:
        """As the model takes them."""
        batches = self._experiment.batches(images)
        return watched(batches, images.count, label, lambda b: len(class_labels.split(b)[0]))

    def _held_out(self, images: datasets.Source) -> dict[str, Any]:
        estimates, calibration = heldout.held_out(
            self._model, self._batches(images, "held-out scores"), self._settings.seed
        )
        return {
            "estimates": _as_json({**estimates, **calibration.estimates()}),
            "components": {
                "share": calibration.share.tolist(),
                "mean_square": calibration.mean_square.tolist(),
                "standard_error": calibration.standard_error.tolist(),
            },
        }

    def _information(self, images: datasets.Source) -> dict[str, Any]:
        """The parts of the KL divergence; the divergence itself is among the held-out scores."""
        batches = (tuple(class_labels.split(b)) for b in self._batches(images, "posteriors"))
        posterior = AggregatedPosterior.of(self._model.encode, batches)
        found = information(posterior, self._model.prior, self._settings.seed)
        del found["kl"]
        return _as_json(found)

    def _bound(self, images: datasets.Source) -> dict[str, Any]:
        s = self._settings
        label = f"{s.importance_samples} importance samples"
        return _as_json(
            importance.log_likelihood(
                self._model, self._batches(images, label), s.importance_samples, s.seed
            )
        )

    def _prior(self, images: datasets.Source) -> dict[str, Any]:
        s = self._settings
        shares, samples, outside = VarianceMeter(), BlockVariance(), []
        drawn = scores.prior_distributions(self._experiment, s.images, s.seed)
        for start, p in watched(drawn, s.images, "spread of images", lambda d: d[1].batch_shape[0]):
            shares.update(p)
            batch = scores.draw(p, "samples", s.seed, start)
            samples.update(batch)
            outside.append(generation.saturation(batch))
        batches = self._batches(images, "spread of the data")
        data = BlockVariance.of_batches(class_labels.split(b)[0] for b in batches)
        found = {
            **shares.result(),
            "variance_ratio": generation.ratio(samples, data),
            "saturation": Estimate.of(np.concatenate(outside)),
        }
        return _as_json(found)

    def _features(self, networks: Sequence[Extractor], kind: str) -> dict[str, FeatureSet]:
        if not networks:
            return {}
        s = self._settings
        label = f"{kind.replace('_', ' ')}: {', '.join(n.name for n in networks)}"
        batches = scores.prior_batches(self._experiment, s.images, kind, s.seed, s.latents)
        return collect(watched(batches, s.images, label), networks, s.seed)
