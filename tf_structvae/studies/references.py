"""Features of the data that models are compared with, kept for all models of these data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tf_structvae.datasets import Source, pipeline
from tf_structvae.evaluation.feature_set import KEPT, FeatureSet
from tf_structvae.evaluation.features import Extractor
from tf_structvae.studies import collection, feature_cache
from tf_structvae.studies.collection import Settings
from tf_structvae.training.experiment import Experiment

_BATCH = 50


class References:
    """Of the data of an experiment.

    Attributes:
      key: the same for the same data.
      about: the data, as JSON.
      features: by the name of the network, once they were found.
    """

    def __init__(self, experiment: Experiment, settings: Settings, cache: Path):
        """
        Args:
          experiment: whose data.
          settings: how many images, and of which split.
          cache: where features are kept.
        """
        self._settings, self._cache = settings, cache
        split = settings.reference_split
        other = "train" if split != "train" else "test"
        self._sources = {
            s: collection.source(experiment, s, settings.images) for s in (split, other)
        }
        self._abouts = {
            s: collection.data_settings(experiment, found, s) for s, found in self._sources.items()
        }
        self._other = other
        self.about = self._abouts[split]
        self.key = feature_cache.fingerprint(self.about)
        self.features: dict[str, FeatureSet] = {}

    def find(self, networks: Sequence[Extractor]) -> None:
        """Computes features, or reads them from the cache.

        Args:
          networks: of the features.
        """
        split = self._settings.reference_split
        self.features = {n.name: self._of(n, split) for n in networks}

    def floor(self, networks: Sequence[Extractor]) -> dict[str, Any]:
        """Distances of other images of the same data: what no model should be expected to beat.

        Args:
          networks: whose features were found.
        """
        return {
            n.name: {
                self._other: collection.distance(
                    self.features[n.name], self._of(n, self._other), n, self._settings
                )
            }
            for n in networks
        }

    def _of(self, network: Extractor, split: str) -> FeatureSet:
        data: Source = self._sources[split]

        def make() -> FeatureSet:
            batches = pipeline.evaluation_batches(data, _BATCH)
            label = f"{data.info.name}: {network.name}"
            watched = collection.watched(batches, data.count, label)
            return collection.collect(watched, [network])[network.name]

        settings = {
            **feature_cache.feature_settings(network, KEPT),
            "data": self._abouts[split],
        }
        return feature_cache.cached(self._cache, settings, make)
