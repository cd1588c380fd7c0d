"""How a model is evaluated, on which images, and what comes of their features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from tf_structvae import datasets
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.feature_set import FeatureCollector, FeatureSet
from tf_structvae.evaluation.features import Extractor
from tf_structvae.evaluation.frechet import frechet_distance
from tf_structvae.evaluation.frechet_scores import bootstrap
from tf_structvae.evaluation.kid import kernel_distance
from tf_structvae.evaluation.manifold import fidelity_and_diversity
from tf_structvae.priors import KINDS
from tf_structvae.studies import feature_cache, scores
from tf_structvae.training.experiment import Experiment

PRIORS = ("own", *KINDS, "posterior")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a model is evaluated.

    Attributes:
      images: from the prior for each row of Table 1, and at most from the data.
      importance_images: at most so many test images for the importance-weighted bound.
      importance_samples: of z for each of them; 0 leaves the bound out.
      resamples: of the bootstrap.
      reference_split: the data that Table 1's distances are to.
      seed: of all noise.
      latents: "prior", or "posterior": of training images, one each; of Table 1's rows alone.
      priors: that each model is evaluated with, of `PRIORS`.
      components: of a mixture or VampPrior that is fitted for that.
    """

    images: int = 2000
    importance_images: int = 500
    importance_samples: int = 50
    resamples: int = 20
    reference_split: str = "test"
    seed: int = 0
    latents: str = "prior"
    priors: tuple[str, ...] = ("own",)
    components: int = 50

    def __post_init__(self):
        """
        Raises:
          ValueError: a field with a value that is not allowed.
        """
        for name, least in (
            ("images", 40),  # two for each block of the jackknife
            ("importance_images", 2),
            ("importance_samples", 0),
            ("resamples", 2),
            ("seed", 0),
            ("components", 1),
        ):
            value = getattr(self, name)
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}.")
        if self.latents not in scores.LATENTS:
            raise ValueError(f"latents must be one of {scores.LATENTS}, got {self.latents!r}.")
        if not self.priors or not set(self.priors) <= set(PRIORS):
            raise ValueError(f"prior must be one or more of {PRIORS}, got {self.priors}.")
        if len(set(self.priors)) < len(self.priors):
            raise ValueError(f"prior must name each one once, got {self.priors}.")
        if self.reference_split not in datasets.SPLITS:
            raise ValueError(
                f"reference_split must be one of {datasets.SPLITS}, got {self.reference_split!r}."
            )


def source(experiment: Experiment, split: str, count: int) -> datasets.Source:
    """The first `count` images of a split of the experiment's data, fewer if it has fewer."""
    spec = datasets.Spec.of_config(experiment.config.data)
    return datasets.prepare(spec, split).take(count)


def data_settings(experiment: Experiment, found: datasets.Source, split: str) -> dict[str, Any]:
    """Of a `source`; see `reference.data_settings`."""
    return feature_cache.data_settings(
        found, datasets.Spec.of_config(experiment.config.data), split
    )


def watched(batches: Iterable, total: int, label: str, size: Callable = len) -> Iterator:
    """The same batches, with a progress bar that counts images, `size` of each batch."""
    with tqdm(total=total, desc=label, unit="image", dynamic_ncols=True) as bar:
        for batch in batches:
            yield batch
            bar.update(size(batch))


def collect(
    batches: Iterable, networks: Sequence[Extractor], seed: int = 0
) -> dict[str, FeatureSet]:
    """Features of batches of images [B, H, W, C], by each network, in one pass."""
    collectors = {n.name: FeatureCollector(seed=seed) for n in networks}
    for images in batches:
        for network in networks:
            collectors[network.name].update(network(np.asarray(images, np.float32)))
    return {name: c.result() for name, c in collectors.items()}


def distance(
    data: FeatureSet, found: FeatureSet, network: Extractor, settings: Settings
) -> dict[str, Any]:
    """Frechet and kernel distance of a model's features to those of the data, as JSON.

    "frechet" (with its bootstrap error), "frechet_bias" (see `Bootstrap`), "relative" (as a part of
    the data's total variance), "kernel" (on Inception features KID; on others the features are
    divided by the root mean square of the data's), "precision", "recall", "density" and "coverage"
    (see `fidelity_and_diversity`), and the numbers of images.
    """
    counts = (data.moments.count, found.moments.count)
    drawn = bootstrap(data.kept, found.kept, settings.resamples, settings.seed, counts)
    complete = counts == (len(data.kept), len(found.kept))
    value = drawn.value if complete else frechet_distance(data.moments, found.moments)
    scale = 1.0 if network.is_inception else data.root_mean_square
    kernel = kernel_distance(data.kept, found.kept, seed=settings.seed, scale=scale)
    near = fidelity_and_diversity(data.kept, found.kept)
    variance = float(np.trace(data.moments.covariance))
    return {
        "frechet": Estimate(value, drawn.error).as_json(),
        "frechet_bias": drawn.bias,
        "relative": Estimate(value / variance, drawn.error / variance).as_json(),
        "kernel": kernel.as_json(),
        "kernel_scale": scale,
        **{name: value.as_json() for name, value in near.items()},
        "data_images": counts[0],
        "images": counts[1],
    }
