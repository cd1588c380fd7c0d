"""Section 4.5 as one call: the trained normal, its closed form and PCA, on the same images."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
from tqdm.auto import tqdm

from tf_structvae.datasets import Source, pipeline
from tf_structvae.models import density
from tf_structvae.studies import targets
from tf_structvae.studies.density import closed_form, pca
from tf_structvae.studies.density import report as density_report
from tf_structvae.studies.density.report import Fit


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the distribution is trained.

    Attributes:
      noise: "learned" or "fixed": D = epsilon I.
      epsilon: the noise variance; None: 0.01 to start from, or 1e-5 fixed.
      entropy_budget: nats per image above the entropy of D; None leaves the constraint out.
      steps: of training, a twentieth of which trains the mean alone.
      batch_size: images a step.
      natural: multiply the gradient by Sigma, for SGD; else plain, for Adam.
      learning_rate: the first; None for the default of `density.fit`.
      seed: of batches and of P's first values.
    """

    noise: str = "learned"
    epsilon: float | None = None
    entropy_budget: float | None = None
    steps: int = 1000
    batch_size: int = 250
    natural: bool = True
    learning_rate: float | None = None
    seed: int = 0

    @property
    def fixed(self) -> bool:
        return self.noise == "fixed"

    @property
    def noise_variance(self) -> float:
        if self.epsilon is None:
            return 1e-5 if self.fixed else 0.01
        return self.epsilon

    def __post_init__(self):
        """
        Raises:
          ValueError: a field with a value that is not allowed.
        """
        if not (math.isfinite(self.noise_variance) and self.noise_variance > 0):
            raise ValueError(f"epsilon = {self.epsilon:g}: must be a finite number > 0.")
        if self.entropy_budget is not None:
            if not self.fixed:
                raise ValueError("entropy_budget needs noise = fixed: free noise takes part.")
            if not self.entropy_budget > 0:
                raise ValueError(
                    f"entropy_budget = {self.entropy_budget:g}: must be above 0 nats per image."
                )
        rate = self.learning_rate
        if rate is not None and not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"learning_rate = {rate:g}: must be a finite number > 0.")


class Comparison(NamedTuple):
    """What `compare` found: the fits by name, the trained one first, and their numbers."""

    fits: dict[str, Fit]
    numbers: dict[str, Any]
    title: str


def check(source: Source, rank: int, settings: Settings) -> None:
    """Refuses what cannot be fitted before any of the images is read.

    Raises:
      ValueError: too large a batch or rank for the images.
      ImportError: scikit-learn is missing.
    """
    pca.require()
    if settings.batch_size > source.count:
        raise ValueError(
            f"batch_size = {settings.batch_size}: must be at most {source.count}, the images to "
            "fit."
        )
    most = min(source.count - 1, math.prod(source.image_shape))
    if rank > most:
        raise ValueError(f"config.model.rank = {rank}: must be at most {most} for these images.")


def compare(source: Source, test, rank: int, settings: Settings) -> Comparison:
    """Fits `rank` components to `source` in three ways, and scores each on held-out images.

    Args:
      source: the images to fit.
      test: held-out batches [B, H, W, C].
      rank: of P, and of PCA.
      settings: of the training.

    Returns:
      Fits "trained", "closed form" and "PCA".

    Raises:
      ValueError, ImportError: see `check`.
      FloatingPointError: the training diverged.
    """
    check(source, rank, settings)
    closed = _closed_forms(_passes(source), rank, settings)
    fits = {"trained": _train(source, rank, settings), **closed}
    found = density_report.numbers(fits, density_report.log_probs(fits, test))
    h, w, c = source.image_shape
    title = f"{source.info.name} {h}x{w}x{c}: {source.count:,} images, rank {rank}"
    return Comparison(fits, found, title)


def _passes(source: Source, size: int = 250) -> Callable:
    """A function that starts one more pass over the images, decoded once if they are small."""
    batches = pipeline.evaluation_batches(source, size)
    if pipeline.is_cached(source):
        batches = batches.map(lambda x: tf.cast(tf.round(255 * x), tf.uint8)).cache()
        for _ in tqdm(batches, "reading", -(-source.count // size), dynamic_ncols=True):
            pass
        batches = batches.map(lambda x: tf.cast(x, tf.float32) / 255)
    return batches.as_numpy_iterator


def _timed(function, *arguments, **options) -> tuple[Any, float]:
    """What a function returns, and the seconds it took."""
    start = time.perf_counter()
    found = function(*arguments, **options)
    return found, time.perf_counter() - start


def _closed_forms(read: Callable, rank: int, settings: Settings) -> dict[str, Fit]:
    """Optimum and PCA."""
    budget = settings.entropy_budget
    epsilon = settings.noise_variance if settings.fixed else None
    with tqdm(desc="closed form", unit="pass", dynamic_ncols=True) as bar:

        def report(residual: float) -> None:
            bar.set_postfix(residual=f"{residual:.1e}", refresh=False)
            bar.update()

        components, seconds = _timed(closed_form.leading_components, read, rank, report=report)
    best = closed_form.optimum(components, epsilon, budget)
    found, pca_seconds = _timed(pca.fit, tqdm(read(), "PCA", unit="batch"), rank)
    implied = closed_form.optimum(found, epsilon, budget)
    return {
        "closed form": Fit.of(best, seconds),
        "PCA": Fit.of_pca(found, implied, pca_seconds),
    }


def _train(source: Source, rank: int, settings: Settings) -> Fit:
    constraints = []
    if settings.entropy_budget is not None:
        floor = targets.entropy_floor(source.image_shape, settings.noise_variance)
        constraints = [density.entropy_constraint(floor + settings.entropy_budget, rank)]
    steps = settings.steps
    model = density.LowRankDensity(
        source.image_shape,
        rank,
        settings.noise_variance,
        settings.noise,
        constraints,
        pretrain_steps=steps // 20,
        natural=settings.natural,
        seed=settings.seed,
    )
    batches = pipeline.training_batches(source, settings.batch_size, steps, settings.seed)
    seconds = _timed(density.fit, model, batches, steps, settings.learning_rate)[1]
    return Fit.of(model.distribution(tf.float64), seconds)
