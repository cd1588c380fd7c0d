"""All that can be asked of a predictive distribution, on one card."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_structvae.distributions.summary import mahalanobis, rank_of
from tf_structvae.evaluation import proper_scores
from tf_structvae.evaluation.calibration import posterior_sample
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.jackknife import BLOCKS, jackknife_error
from tf_structvae.models import conformal
from tf_structvae.models.wrapped import principal_deviations
from tf_structvae.utilities import checks, files, markdown

LEVELS = (0.8, 0.9, 0.95)
"""Of the regions whose coverage is measured."""
BINS = 20
"""Of the histograms."""
_PAIRS = 2000  # of pixels, for the variogram score
_PROJECTIONS = 20
_MEANINGS = {
    "log_prob": "log p, nats an example",
    "bits_per_entry": "-log2 p an entry",
    "energy": "energy score",
    "variogram": "variogram score, p = 0.5",
    "rmse": "root mean squared error",
    "chi_square": "Mahalanobis distance squared / N; 1 is calibrated",
    "mahalanobis": "its PIT: distance from uniform",
    "pixels": "PIT of pixels: distance from uniform",
    "projections": "PIT of random projections: distance from uniform",
    "components": "PIT along principal components: distance from uniform",
}


class Scorecard(NamedTuple):
    """Scores with standard errors, and histograms of probability integral transforms (PIT).

    A PIT is the model's distribution function at the truth: uniform in [0, 1] where the model is
    right, heaped up at both ends where it is too narrow, in the middle where too wide. Its distance
    is the largest gap between the two distribution functions, Kolmogorov and Smirnov's.
    """

    scores: dict[str, Estimate]
    histograms: dict[str, np.ndarray]  # shares of `BINS` bins, by the name of the PIT
    coverage: dict[str, dict[float, Estimate]]  # by the kind of region, of each level
    volume: dict[str, dict[float, Estimate]]  # log-volume of conformal regions
    examples: int

    def rows(self) -> Iterator[tuple[str, str]]:
        """Each score in words, and its value with its standard error."""
        for name, found in self.scores.items():
            yield _MEANINGS[name], str(found)
        for kind, by_level in self.coverage.items():
            for level, found in by_level.items():
                yield f"coverage at {level:.0%}: {kind}", str(found)
        for kind, by_level in self.volume.items():
            for level, found in by_level.items():
                yield f"log-volume at {level:.0%}: {kind}", str(found)

    def table(self) -> str:
        """A Markdown table."""
        return markdown.table(["score", f"of {self.examples} examples"], self.rows())

    def as_json(self) -> dict[str, Any]:
        """Numbers and lists alone."""

        def by_level(found):
            return {
                kind: {str(level): e.as_json() for level, e in levels.items()}
                for kind, levels in found.items()
            }

        return {
            "examples": self.examples,
            "scores": {name: e.as_json() for name, e in self.scores.items()},
            "histograms": {name: list(map(float, h)) for name, h in self.histograms.items()},
            "coverage": by_level(self.coverage),
            "volume": by_level(self.volume),
        }

    def save(self, path: str | Path) -> None:
        """Writes `as_json`.

        Args:
          path: of the file.
        """
        files.write_whole(path, json.dumps(self.as_json(), indent=1) + "\n")


def scorecard(
    model: Any,
    data: Any,
    draws: int = 50,
    seed: int = 0,
    batch_size: int = 32,
    regions: Iterable[conformal.Regions] = (),
) -> Scorecard:
    """Scores a predictive distribution on held-out examples.

    Args:
      model: inputs -> a normal with batch [B] and event [N], as a Keras model with a head, a model
        of `wrap` or any function; or, with `encode` and `decode`, a VAE, whose p(x | z) is scored
        at one posterior sample an image.
      data: (inputs, targets), or batches of that; of a VAE images, or batches of them.
      draws: of each distribution, for the energy and the variogram score; at least 2.
      seed: of draws, projections and z.
      batch_size: of arrays.
      regions: of `conformal.calibrate`, whose coverage and volume are measured, too; those of a
        model of `wrap` are found by themselves.

    Raises:
      ValueError: an argument outside its range, or no example.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> factor = np.ones([200, 4, 1])
      >>> truth = lambda x: sv.distributions.LowRankMultivariateNormal(x, factor[: len(x)], 1.0)
      >>> x = np.zeros([200, 4])
      >>> card = sv.evaluation.scorecard(truth, (x, truth(x).sample(seed=1)))
      >>> abs(card.scores["chi_square"].value - 1) < 5 * card.scores["chi_square"].error
      True
    """
    checks.integer("draws", draws, 2)
    checks.integer("batch_size", batch_size)
    known = [conformal.Regions(model, **c) for c in getattr(model, "calibration", [])]
    meter = _Meter(draws, seed, [*known, *regions])
    for p, y in _predictions(model, data, seed, batch_size):
        meter.update(p, y)
    return meter.result()


def _predictions(model, data, seed: int, size: int) -> Iterator[tuple[Any, tf.Tensor]]:
    """Distributions and flat targets [B, N]."""
    if not hasattr(model, "decode"):
        for x, y in conformal.batches(data, size):
            yield model(x), conformal.flat(y)
        return
    if isinstance(data, (np.ndarray, tf.Tensor)):
        batches = [data[k : k + size] for k in range(0, len(data), size)]
    else:
        batches = data
    for i, batch in enumerate(batches):
        images, *labels = batch if isinstance(batch, (tuple, list)) else (batch,)
        z = posterior_sample(model.encode(images, *labels), (seed, i))
        yield model.decode(z, *labels), conformal.flat(images)


class _Meter:
    """Collects what the card holds."""

    def __init__(self, draws: int, seed: int, regions: list[conformal.Regions]):
        self._draws = draws
        self._seed = seed
        self._regions = regions
        self._means: dict[str, list[np.ndarray]] = {}  # one number an example
        self._pits: dict[str, list[np.ndarray]] = {}  # [B, M] an example
        self._inside: dict[tuple[str, float], list[np.ndarray]] = {}
        self._volumes: dict[tuple[str, float], list[np.ndarray]] = {}
        self._batches = 0

    def update(self, p, y) -> None:
        from scipy import stats

        y = tf.cast(y, p.dtype)
        size = y.shape[-1]
        log_prob = np.asarray(p.log_prob(y), np.float64)
        square = np.asarray(mahalanobis(p, y), np.float64)
        mean, deviation = (np.asarray(v, np.float64) for v in (p.mean(), p.stddev()))
        error = np.asarray(y, np.float64) - mean
        draws = p.sample(self._draws, seed=tf.constant([self._seed, self._batches], tf.int32))
        pairs = proper_scores.some_pairs(size, _PAIRS, self._seed)
        self._add(
            self._means,
            log_prob=log_prob,
            bits_per_entry=-log_prob / (size * math.log(2)),
            energy=proper_scores.energy_score(draws, y),
            variogram=proper_scores.variogram_score(draws, y, pairs=pairs),
            rmse=np.mean(error**2, -1),
            chi_square=square / size,
        )
        directions = _projections(size, self._seed)
        along = error @ directions
        self._add(
            self._pits,
            mahalanobis=stats.chi2.cdf(square, size)[:, None],
            pixels=stats.norm.cdf(error / deviation),
            projections=stats.norm.cdf(along / np.sqrt(_variance_along(p, directions))),
        )
        if rank_of(p):
            units, scales = (np.asarray(v, np.float64) for v in principal_deviations(p))
            weights = np.einsum("bnr,bn->br", units, error)
            judged = stats.norm.cdf(weights / np.maximum(scales, 1e-30))
            self._add(self._pits, components=judged)
        for level in LEVELS:
            half = stats.norm.ppf(0.5 + level / 2) * deviation
            self._add(
                self._inside,
                **{
                    "ellipsoid of the normal": (square <= stats.chi2.ppf(level, size), level),
                    "pixels one by one": (np.mean(np.abs(error) <= half, -1), level),
                },
            )
        for region in self._regions:
            key = f"conformal {region.kind}"
            self._add(self._inside, **{key: (region.contains_under(p, y), region.level)})
            self._add(self._volumes, **{key: (region.volume_under(p), region.level)})
        self._batches += 1

    @staticmethod
    def _add(into: dict, **found) -> None:
        for name, value in found.items():
            key: Any = name
            if isinstance(value, tuple):
                value, level = value
                key = (name, level)
            into.setdefault(key, []).append(np.asarray(value, np.float64))

    def result(self) -> Scorecard:
        if not self._batches:
            raise ValueError("data must hold at least one example, got none.")
        scores = {n: Estimate.of(np.concatenate(v)) for n, v in self._means.items()}
        squared = scores["rmse"]
        root = math.sqrt(squared.value)
        scores["rmse"] = Estimate(root, squared.error / (2 * root) if root else math.nan)
        histograms = {}
        for name, parts in self._pits.items():
            pit = np.concatenate(parts)
            scores[name] = _distance(pit)
            histograms[name] = np.histogram(pit, BINS, (0, 1))[0] / pit.size
        return Scorecard(
            scores,
            histograms,
            _by_kind(self._inside),
            _by_kind(self._volumes),
            sum(len(v) for v in self._means["log_prob"]),
        )


def _by_kind(found: dict) -> dict[str, dict[float, Estimate]]:
    nested: dict[str, dict[float, Estimate]] = {}
    for (kind, level), parts in found.items():
        nested.setdefault(kind, {})[level] = Estimate.of(np.concatenate(parts))
    return nested


def _distance(pit: np.ndarray) -> Estimate:
    """Kolmogorov and Smirnov's distance of values [B, M] from uniform.

    Its jackknife error leaves out blocks of examples. Of independent values of a right model the
    distance is about 0.87 / sqrt(B M).
    """

    def of(values):
        values = np.sort(values, axis=None)
        steps = np.arange(len(values) + 1) / len(values)
        return float(max(np.max(steps[1:] - values), np.max(values - steps[:-1])))

    if len(pit) < 2 * BLOCKS:
        return Estimate(of(pit), math.nan)
    block = np.arange(len(pit)) % BLOCKS
    left_out = np.array([of(pit[block != b]) for b in range(BLOCKS)])
    return Estimate(of(pit), float(jackknife_error(left_out)))


def _projections(size: int, seed: int) -> np.ndarray:
    """Random unit vectors, [N, M]."""
    drawn = np.random.default_rng([seed, size]).standard_normal([size, _PROJECTIONS])
    return drawn / np.linalg.norm(drawn, axis=0)


def _variance_along(p, directions: np.ndarray) -> np.ndarray:
    """v^T Sigma v of each direction, [B, M]; exact.

    Args:
      p: with batch [B] and event [N].
      directions: [N, M].
    """
    variance = np.asarray(p.variance(), np.float64)
    if hasattr(p, "covariance_times"):
        count = variance.shape[0]

        def times(v):
            both = np.asarray(p.covariance_times(np.tile(v, [count, 1]).astype(p.dtype.name)))
            return both @ v

        return np.stack([times(v) for v in directions.T], -1)
    found = np.zeros([len(variance), directions.shape[-1]])
    if rank_of(p):
        parts = p.principal_components()
        columns = np.asarray(parts.directions * parts.scales[..., None, :], np.float64)
        found += np.sum(np.einsum("bnr,nm->brm", columns, directions) ** 2, 1)
        variance = np.maximum(variance - np.sum(columns**2, -1), 0.0)
    return found + variance @ directions**2
