"""The evaluation of models as pieces of work that Apache Beam deals out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tf_structvae.evaluation.features import Extractor
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.evaluated_model import EvaluatedModel, Places, files
from tf_structvae.studies.evaluation_features import extractors
from tf_structvae.studies.feature_cache import fingerprint
from tf_structvae.studies.references import References
from tf_structvae.studies.scores import KINDS
from tf_structvae.utilities import pipelines
from tf_structvae.utilities.pipelines import Runner

_MEASURES, _REFERENCES, _PRIOR = "measures", "references", "prior"
Piece = tuple[str, str, str]
"""Directory of a run, prior, and what is to be computed."""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Computes a piece, and keeps it where `evaluate.evaluate` finds it.

    Attributes:
      names: see `extractors`.
      inception_weights: see `extractors`.
      settings: how models are evaluated.
      places: where results are kept; of a file system that all workers see.
      checkpoint: "last" or "best".
      done: a folder for a file of each piece that is done.
    """

    names: tuple[str, ...]
    inception_weights: str | None
    settings: Settings
    places: Places
    checkpoint: str
    done: Path

    def __call__(self, piece: Piece) -> None:
        import keras

        path, prior, what = piece
        model = EvaluatedModel(Path(path), prior, self.settings, self.places.parts, self.checkpoint)
        if what == _REFERENCES:
            self._references(model).floor(self._networks())
        elif what == _MEASURES:
            model.scores(model.store()).measures()
        elif what != _PRIOR:
            data = self._references(model)
            scores = model.scores(model.store())
            scores.distances(self._networks(), data.features, data.about, [what])
        keras.backend.clear_session()
        (self.done / fingerprint(piece)).touch()

    def _networks(self) -> list[Extractor]:
        return extractors(self.names, self.inception_weights)

    def _references(self, model: EvaluatedModel) -> References:
        found = References(model.experiment, self.settings, self.places.cache)
        found.find(self._networks())
        return found


def _count(folder: Path, less: int = 0) -> int:
    return len(list(folder.iterdir())) - less


def run(
    runs: Mapping[str, Path],
    names: Sequence[str],
    inception_weights: str | None,
    settings: Settings,
    places: Places,
    runner: Runner,
    checkpoint: str = "last",
    force: bool = False,
) -> None:
    """Computes all that `evaluate.evaluate` will then find.

    First the features of the data and the fitted priors, which several pieces share; then for each
    model and prior its held-out scores and each row of Table 1.

    Args:
      runs: from `labels.check_runs`.
      names: see `extractors`.
      inception_weights: see `extractors`.
      settings: how models are evaluated.
      places: of a file system that all workers see.
      runner: who does it.
      checkpoint: "last" or "best".
      force: whether the scores that are there are removed.

    Raises:
      RuntimeError: a piece failed, or the runner did.
    """
    extractors(tuple(names), inception_weights)  # refused here, not by a worker
    places = Places(*(p.resolve() for p in places))
    done = places.parts / ".done"
    shutil.rmtree(done, ignore_errors=True)
    done.mkdir(parents=True)
    work = Evaluate(tuple(names), inception_weights, settings, places, checkpoint, done)
    if force:
        for path, prior in itertools.product(runs.values(), settings.priors):
            for file in files(places.parts, path, prior, checkpoint):
                file.unlink(missing_ok=True)
    every = [(str(path.resolve()), prior) for path in runs.values() for prior in settings.priors]
    shared = [(path, "own", _REFERENCES) for path in {path: None for path, _ in every}]
    shared += [(*one, _PRIOR) for one in every if one[1] not in ("own", "posterior")]
    # at latents of posteriors all but the distances is that of the own prior
    measured = dict.fromkeys((path, prior.replace("posterior", "own")) for path, prior in every)
    rest = [(*one, _MEASURES) for one in measured]
    rest += [(*one, kind) for one in every for kind in KINDS if names or inception_weights]
    try:
        for label, pieces in (("data and priors", shared), ("scores", rest)):
            count = functools.partial(_count, done, _count(done))
            pipelines.run(
                work,
                pieces,
                runner,
                count,
                len(pieces),
                label,
                "part",
            )
    finally:
        shutil.rmtree(done, ignore_errors=True)
