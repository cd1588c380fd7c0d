"""Regions that hold the truth as often as they promise, whatever the model got wrong.

Split-conformal prediction (Vovk et al. 2005; Papadopoulos et al. 2002): a score says how strange a
target is under the model, the scores of n held-out examples are sorted, and the region holds every
target whose score is at most the k-th of them, k = ceil((n + 1) level). If these examples and the
next one are exchangeable, the region holds the next target with a probability of at least `level`,
and at most level + 1 / (n + 1), over the draw of both: marginal coverage, not for each input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.distributions.summary import mahalanobis, rank_of
from tf_structvae.models.wrapped import principal_deviations
from tf_structvae.utilities import checks, files

KINDS = ("ellipsoid", "components", "pixels")
"""Forms of a region; see `calibrate`."""
_BATCH = 32


class _Axes(NamedTuple):
    """Principal components and what is left beside them."""

    directions: np.ndarray  # [B, N, R]
    stddev: np.ndarray  # [B, R]
    rest: np.ndarray  # root of the expected squared length beside them, [B]
    widest: float  # of R standard normals, the magnitude that half of the misses may exceed
    longest: float  # the same of the length beside them, over `rest`; 0: nothing is beside them


def calibrate(
    model: Any, data: Any, level: float = 0.9, kind: str = "ellipsoid", batch_size: int = _BATCH
) -> Regions:
    """Regions that hold a share `level` of the targets, from held-out examples.

    The kinds:

      "ellipsoid": (y - mean)^T Sigma^-1 (y - mean) <= t, in closed form for low-rank normals; of
        all regions with its coverage the smallest where the model is right;
      "components": a box along the principal components of P, and a ball for what is left beside
        them (the form of Belhasin et al. 2023, arXiv 2305.10124, closed by the ball);
      "pixels": a box, each pixel within t standard deviations of its mean, all at once.

    Args:
      model: a Keras model whose output is a distribution over targets, as `wrap` makes it or as a
        head ends it.
      data: (inputs, targets), or batches of that; examples that the model was not trained on.
      level: coverage, in (0, 1).
      kind: one of `KINDS`.
      batch_size: of arrays.

    Returns:
      `Regions`; a model of `wrap` keeps it, and saves it.

    Raises:
      ValueError: an argument outside its range, or fewer examples than the level needs.
    """
    if not (checks.is_finite(level) and 0 < level < 1):
        raise ValueError(f"level must be a number between 0 and 1, got {level!r}.")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    checks.integer("batch_size", batch_size)
    scores = [
        np.asarray(score(kind, model(x), flat(y)), np.float64) for x, y in batches(data, batch_size)
    ]
    found = np.concatenate(scores) if scores else np.zeros(0)
    if not np.isfinite(found).all():
        raise ValueError(
            f"data must have finite scores under the model, got {np.sum(~np.isfinite(found))} of "
            f"{len(found)} that are not."
        )
    regions = Regions(model, kind, float(level), threshold(found, level), len(found))
    if hasattr(model, "calibration"):
        others = [c for c in model.calibration if (c["kind"], c["level"]) != (kind, level)]
        model.calibration = [*others, regions.as_dict()]
    return regions


def saved(model: Any, level: float = 0.9, kind: str = "ellipsoid") -> Regions:
    """What an earlier `calibrate` left in a model of `wrap`.

    Args:
      model: of `wrap`, as it is or loaded.
      level: as in `calibrate`.
      kind: as in `calibrate`.

    Raises:
      ValueError: it was not calibrated so.
    """
    known = getattr(model, "calibration", [])
    for entry in known:
        if (entry["kind"], entry["level"]) == (kind, level):
            return Regions(model, **entry)
    have = [(c["level"], c["kind"]) for c in known]
    raise ValueError(f"the model must be calibrated for {(level, kind)}, got one for {have}.")


def threshold(scores: np.ndarray, level: float) -> float:
    """The k-th smallest of n scores, k = ceil((n + 1) level): a new one is at most that with
    probability k / (n + 1).

    Args:
      scores: [n].
      level: in (0, 1).

    Raises:
      ValueError: k > n.
    """
    count = len(scores)
    k = max(1, math.ceil((count + 1) * level - 1e-9))  # 20 * 0.95 is a little above 19
    if k > count:
        least = math.ceil(level / (1 - level) - 1e-9)
        raise ValueError(
            f"data must hold at least {least} examples for a level of {level}, got {count}: of "
            f"fewer, no bounded region holds {level:.0%} of the targets for certain."
        )
    return float(np.sort(scores)[k - 1])


def flat(y) -> tf.Tensor:
    """Targets [B, ...] as [B, N].

    Args:
      y: [B, ...].
    """
    y = tf.convert_to_tensor(y)
    return tf.reshape(y, [tf.shape(y)[0], -1])


def batches(data: Any, size: int) -> Iterable[tuple[Any, Any]]:
    """Batches of inputs and targets.

    Args:
      data: two arrays, or batches of them.
      size: of the batches of arrays.

    Raises:
      ValueError: data of another kind, or arrays of unlike length.
    """
    if isinstance(data, tuple) and len(data) == 2:
        x, y = data
        if len(x) != len(y):
            raise ValueError(
                f"data must hold as many targets as inputs, got {len(x)} inputs, {len(y)} targets."
            )
        return ((x[k : k + size], y[k : k + size]) for k in range(0, len(x), size))
    if isinstance(data, (np.ndarray, tf.Tensor)):
        raise ValueError(f"data must be (inputs, targets), got one {type(data).__name__}.")
    return ((batch[0], batch[1]) for batch in data)


def score(kind: str, p: Any, y: tf.Tensor) -> tf.Tensor:
    """How strange targets are under p, [B]; linear in a common scale of the deviations.

    Args:
      kind: one of `KINDS`.
      p: with batch [B] and event [N].
      y: [B, N].

    Raises:
      ValueError: "components" of a distribution without a factor.
    """
    y = tf.cast(y, p.dtype)
    if kind == "ellipsoid":
        return tf.sqrt(tf.maximum(mahalanobis(p, y), 0.0))
    error = y - p.mean()
    if kind == "pixels":
        return tf.reduce_max(tf.abs(error) / p.stddev(), -1)
    axes = _axes(p)
    along = np.einsum("bnr,bn->br", axes.directions, error)
    left = error - np.einsum("bnr,br->bn", axes.directions, along)
    widest = np.max(np.abs(along) / axes.stddev, -1) / axes.widest
    if not axes.longest:
        return widest
    return np.maximum(widest, np.linalg.norm(left, axis=-1) / axes.rest / axes.longest)


def _axes(p) -> _Axes:
    """The components, and where under a right model a tenth of the targets lies outside."""
    from scipy import stats

    directions, stddev = (np.asarray(x, np.float64) for x in principal_deviations(p))
    size = directions.shape[-2]
    rank = min(directions.shape[-1], size)  # the other columns of P have no direction left
    directions, stddev = directions[..., :rank], stddev[..., :rank]
    total = np.sum(np.asarray(p.variance(), np.float64), -1) - np.sum(stddev**2, -1)
    beside = size - rank
    return _Axes(
        directions,
        np.maximum(stddev, 1e-30),
        np.sqrt(np.maximum(total, 1e-30)),
        float(stats.norm.ppf(0.5 + 0.5 * 0.95 ** (1 / rank))),
        float(np.sqrt(stats.chi2.ppf(0.95, beside) / beside)) if beside else 0.0,
    )


class Regions:
    """Conformal regions of a model: one region for each input.

    Args:
      model: that was calibrated.
      kind: one of `KINDS`.
      level: the coverage that is promised.
      threshold: of the score.
      count: of the examples that it was calibrated on.
    """

    def __init__(self, model: Any, kind: str, level: float, threshold: float, count: int):
        self.model = model
        self.kind = kind
        self.level = level
        self.threshold = threshold
        self.count = count

    def __repr__(self) -> str:
        return (
            f"Regions(kind={self.kind!r}, level={self.level}, threshold={self.threshold:.4g}, "
            f"count={self.count})"
        )

    def contains(self, x, y) -> np.ndarray:
        """Whether targets are in the regions of their inputs, bool [B].

        Args:
          x: inputs, [B, ...].
          y: targets, [B, ...].
        """
        return self.contains_under(self.model(x), y)

    def contains_under(self, p, y) -> np.ndarray:
        """`contains` where what the model says of the inputs is known, bool [B].

        Args:
          p: the model at the inputs, with batch [B] and event [N].
          y: targets, [B, ...].
        """
        return np.asarray(score(self.kind, p, flat(y))) <= self.threshold

    def volume(self, x) -> np.ndarray:
        """Natural logarithm of the volume of each region, [B]; as itself it would overflow.

        Args:
          x: inputs, [B, ...].
        """
        return self.volume_under(self.model(x))

    def volume_under(self, p) -> np.ndarray:
        """`volume` where what the model says of the inputs is known, [B].

        Args:
          p: the model at the inputs, with batch [B] and event [N].
        """
        t = self.threshold
        size = int(p.event_shape_tensor()[0])
        if self.kind == "pixels":
            return np.sum(np.log(2 * t * np.asarray(p.stddev(), np.float64)), -1)
        if self.kind == "components":
            axes = _axes(p)
            rank = axes.stddev.shape[-1]
            box = np.sum(np.log(2 * t * axes.widest * axes.stddev), -1)
            return box + (
                _log_ball(size - rank, t * axes.longest * axes.rest) if size > rank else 0
            )
        # the entropy is N/2 log(2 pi e) + log|Sigma| / 2
        root = np.asarray(p.entropy(), np.float64) - 0.5 * size * (1 + math.log(2 * math.pi))
        return _log_ball(size, t) + root

    def interval(self, x, pixel) -> tuple[np.ndarray, np.ndarray]:
        """The least and the greatest value of one entry in each region, [B] each.

        Args:
          x: inputs, [B, ...].
          pixel: number of the entry in row-major order, or its place (row, column, channel) in an
            output of `wrap`.

        Raises:
          ValueError: there is no such entry.
        """
        p, t = self.model(x), self.threshold
        i = self._entry(pixel, int(p.event_shape_tensor()[0]))
        mean = np.asarray(p.mean(), np.float64)[:, i]
        if self.kind == "components":
            axes = _axes(p)
            u = axes.directions[:, i]
            beside = np.sqrt(np.maximum(1 - np.sum(u**2, -1), 0)) * axes.rest * axes.longest
            half = t * (axes.widest * np.sum(np.abs(u) * axes.stddev, -1) + beside)
        else:
            half = t * np.asarray(p.stddev(), np.float64)[:, i]
        return mean - half, mean + half

    def _entry(self, pixel, size: int) -> int:
        shape = getattr(self.model, "event", None)
        try:
            if np.ndim(pixel):
                if shape is None or None in shape:
                    raise ValueError
                pixel = np.ravel_multi_index(tuple(pixel), shape)
            i = int(pixel)
            if not 0 <= i < size:
                raise ValueError
        except (ValueError, TypeError):
            allowed = f"a number below {size}" + (f" or a place in {shape}" if shape else "")
            raise ValueError(f"pixel must be {allowed}, got {pixel!r}.") from None
        return i

    def extremes(self, x, component: int) -> tuple[np.ndarray, np.ndarray]:
        """The two ends of each region along a principal component of P through the mean.

        Args:
          x: inputs, [B, ...].
          component: from 0, the strongest.

        Returns:
          Targets in the form of the output, [B, ...] each.

        Raises:
          ValueError: there is no such component.
        """
        p, t = self.model(x), self.threshold
        rank = rank_of(p)
        whole = hasattr(component, "__index__") and not isinstance(component, bool)
        if not whole or not 0 <= component < int(rank):
            raise ValueError(f"component must be an integer in [0, {rank}), got {component!r}.")
        directions, stddev = principal_deviations(p)
        unit = directions[..., component]
        if self.kind == "components":
            reach = t * _axes(p).widest * np.asarray(stddev)[:, component]
        elif self.kind == "pixels":
            inside = np.asarray(p.stddev()) / np.maximum(np.abs(unit), 1e-30)
            reach = t * np.min(inside, -1)
        else:
            at_one = tf.sqrt(mahalanobis(p, p.mean() + unit * stddev[:, component, None]))
            reach = t * np.asarray(stddev[:, component] / at_one)
        mean, step = np.asarray(p.mean()), np.asarray(unit) * reach[:, None]
        form: Callable = getattr(self.model, "shaped", np.asarray)
        return form(mean - step), form(mean + step)

    def as_dict(self) -> dict[str, Any]:
        """All but the model."""
        names = ("kind", "level", "threshold", "count")
        return {name: getattr(self, name) for name in names}

    def save(self, path: str | Path) -> None:
        """Writes what was found as JSON; the model is not in it.

        Args:
          path: of the file.
        """
        files.write_whole(path, json.dumps(self.as_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, model: keras.Model, path: str | Path) -> Regions:
        """What `save` wrote.

        Args:
          model: the one that was calibrated.
          path: of the file.

        Raises:
          ValueError: it is no such file.
        """
        try:
            return cls(model, **json.loads(Path(path).read_text()))
        except (TypeError, ValueError):
            raise ValueError(f"path must name a file of Regions.save, got {path}.") from None


def _log_ball(dimension: int, radius) -> np.ndarray:
    """Log-volume of a ball."""
    half = dimension / 2
    return half * math.log(math.pi) - math.lgamma(half + 1) + dimension * np.log(radius)
