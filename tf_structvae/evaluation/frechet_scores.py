"""Frechet distances of sets of images, as Table 1 reports them but on offline features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tf_structvae.evaluation.features import Extractor, extractor
from tf_structvae.evaluation.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_of_features,
)


class Score(NamedTuple):
    """A Frechet distance, and the same as a part of the data's total variance."""

    distance: float
    relative: float


class Bootstrap(NamedTuple):
    """A Frechet distance with what resampling the images says about it.

    `error` is the standard deviation over the resamples and `bias` their mean less `value`: an
    estimate of how far `value` itself lies above the distance of infinitely many images, not
    subtracted from it.
    """

    value: float
    error: float
    bias: float


def moments(batches: Iterable, features: str | Extractor = "vgg_edge5") -> Moments:
    """Moments of the features of batches of images [B, H, W, C] in [0, 1]; keep those of the data
    to score several models against them.

    Args:
      batches: of images [B, H, W, C].
      features: a name of `features.NAMES`, or an extractor.
    """
    network = extractor(features) if isinstance(features, str) else features
    return Moments.of_batches(network.over(batches))


def score(data: Moments, samples: Moments) -> Score:
    """The distance of two sets of images from the moments of their features.

    Args:
      data: moments of the data's features.
      samples: moments of a model's.
    """
    distance = frechet_distance(data, samples)
    return Score(distance, distance / float(np.trace(data.covariance)))


def frechet(
    data_batches: Iterable, sample_batches: Iterable, features: str | Extractor = "vgg_edge5"
) -> Score:
    """Frechet distance (Heusel et al. 2017) of samples to data, on named features; not an FID.

    A distance of finitely many images is too large, by a part of the variance that falls as
    1 / images: only distances on the same features and of the same numbers of images compare. That
    of data to other data is the floor.

    Args:
      data_batches: batches of images [B, H, W, C], floats in [0, 1], C = 1 or 3.
      sample_batches: the same of a model.
      features: one of `features.NAMES`, or an extractor.
    """
    network = extractor(features) if isinstance(features, str) else features
    return score(moments(data_batches, network), moments(sample_batches, network))


def bootstrap(
    data_features,
    sample_features,
    resamples: int = 20,
    seed: int = 0,
    counts: tuple[int, int] | None = None,
) -> Bootstrap:
    """The distance of features [n, F] to [m, F], its standard error and its bias.

    Images are drawn with replacement from both sets (Efron 1979). A resample repeats some images
    and so has fewer different ones than the set: its distance is larger on average, which is why
    quantiles of the resamples are no interval for the distance.

    Args:
      data_features: features of the data [n, F].
      sample_features: features of the samples [m, F].
      resamples: how often both sets are drawn, at least 2.
      seed: of the draws.
      counts: how many images to draw of each, where the features are those of a random part of the
        sets; None for n and m. The error is then that of sets of so many images.

    Raises:
      ValueError: fewer than 2 resamples.
    """
    if resamples < 2:
        raise ValueError(f"resamples must be at least 2, got {resamples}.")
    sets = [np.asarray(x) for x in (data_features, sample_features)]
    sizes = counts or tuple(map(len, sets))
    rng = np.random.default_rng(seed)
    value = frechet_distance_of_features(*sets)
    drawn = [
        frechet_distance_of_features(
            *sets,
            *(
                rng.multinomial(size, np.full(len(x), 1 / len(x)))
                for x, size in zip(sets, sizes, strict=True)
            ),
        )
        for _ in range(resamples)
    ]
    return Bootstrap(value, float(np.std(drawn, ddof=1)), float(np.mean(drawn)) - value)
