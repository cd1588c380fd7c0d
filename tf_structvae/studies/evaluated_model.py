"""A trained model with one of the priors that it is evaluated with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from tf_structvae.studies import evaluated_prior, feature_cache
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.model_scores import ModelScores
from tf_structvae.studies.part_store import PartStore
from tf_structvae.training.experiment import Experiment


class Places(NamedTuple):
    """Where an evaluation keeps what it need not do again."""

    cache: Path
    parts: Path

    @classmethod
    def within(cls, output: Path, cache: Path | None, parts: Path | None) -> Places:
        """Folders of an output, but for those that are named.

        Args:
          output: of the evaluation.
          cache: of the data's features.
          parts: of the models' scores.
        """
        return cls(cache or output / "reference", parts or output / "models")


def files(folder: Path, path: Path, prior: str, checkpoint: str) -> tuple[Path, Path]:
    """Of the scores of a run with a prior, and of that prior if it is a fitted one.

    Args:
      folder: of the scores.
      path: of the run; two runs of one name in two directories differ.
      prior: one of `collection.PRIORS`.
      checkpoint: "last" or "best".
    """
    whole = path.resolve()
    name = f"{whole.name}-{feature_cache.fingerprint(str(whole))[:8]}-{checkpoint}"
    # at latents of posteriors all but the distances is that of the own prior
    part = name if prior in ("own", "posterior") else f"{name}-{prior}"
    return folder / f"{part}.json", folder / f"{name}-{prior}.npz"


class EvaluatedModel:
    """Loads a run, and puts the prior in.

    Attributes:
      experiment: the run.
      part: the name of the file of its scores.
    """

    def __init__(
        self,
        path: Path,
        prior: str,
        settings: Settings,
        folder: Path,
        checkpoint: str = "last",
        force: bool = False,
    ):
        """
        Args:
          path: of the run.
          prior: one of `collection.PRIORS`.
          settings: of the evaluation.
          folder: of the scores and of fitted priors.
          checkpoint: "last" or "best".
          force: whether nothing that is there is used.

        Raises:
          OSError, ValueError: a run that cannot be loaded, or a prior that cannot be fitted.
        """
        self.experiment = Experiment.load(path, checkpoint)
        scores, fitted = files(folder, path, prior, checkpoint)
        evaluated_prior.take(self.experiment, prior, settings, fitted, force)
        self.part = scores.stem
        self._store = scores
        self._force = force
        self._settings = evaluated_prior.settings_of(prior, settings)

    def store(self) -> PartStore:
        """Of its scores."""
        return PartStore(self._store, self._force)

    def scores(self, store: PartStore) -> ModelScores:
        """Its scores.

        Args:
          store: of this part, perhaps of another prior with which it shares some.
        """
        return ModelScores(self.experiment, self._settings, store)
