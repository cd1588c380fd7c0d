"""The numbers of a trained experiment, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tf_structvae import figures
from tf_structvae.evaluation import frechet_scores, generation, heldout
from tf_structvae.evaluation.calibration import Calibration
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.frechet import Moments
from tf_structvae.evaluation.jackknife import BlockVariance
from tf_structvae.models import class_labels
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities import markdown
from tf_structvae.utilities.files import write_whole

KINDS = ("means", "samples", "noisy_samples")
LATENTS = ("prior", "posterior")


class Scores(NamedTuple):
    """What `score` found."""

    estimates: dict[str, Estimate]
    calibration: Calibration


def score(experiment: Experiment) -> Scores:
    """Held-out scores on the test split, and how samples from the prior compare with it.

    Args:
      experiment: a trained one.
    """
    model = experiment.exact_model
    estimates, calibration = heldout.held_out(model, experiment.evaluation_batches("test"))
    data = BlockVariance.of_batches(experiment.evaluation_images("test"))
    samples, outside = BlockVariance(), []
    for images in prior_batches(experiment, data.seen, "samples"):
        samples.update(images)
        outside.append(generation.saturation(images))
    estimates["saturation"] = Estimate.of(np.concatenate(outside))
    estimates["variance_ratio"] = generation.ratio(samples, data)
    estimates.update(calibration.estimates())
    return Scores(estimates, calibration)


def prior_samples(experiment: Experiment, count: int, seed: int = 3, means: bool = False):
    """Samples (eq. 3, omega_d = 0) or means at draws of z from the prior, [count, H, W, C].

    Args:
      experiment: a trained one.
      count: of draws.
      seed: of z and all noise.
      means: whether means are taken.
    """
    kind = "means" if means else "samples"
    return np.concatenate(list(prior_batches(experiment, count, kind, seed)))


def prior_batches(
    experiment: Experiment, count: int, kind: str, seed: int = 3, latents: str = "prior"
) -> Iterator[np.ndarray]:
    """Images [B, H, W, C] at draws of z, one batch at a time.

    Args:
      experiment: a trained one.
      count: how many images in all.
      kind: one of `KINDS`: "means"; "samples", of a low-rank normal as eq. 3 with omega_d = 0; or
        "noisy_samples", with the noise of every pixel.
      seed: of z and all noise. The z are the same for every kind.
      latents: where z is drawn from, one of `LATENTS`; see `prior_distributions`.

    Raises:
      ValueError: an unknown kind, or place to draw z from.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}.")
    shape = experiment.exact_model.image_shape
    for start, p in prior_distributions(experiment, count, seed, latents):
        yield figures.to_images(draw(p, kind, seed, start), shape)


def draw(p, kind: str, seed: int, start: int):
    """One of `KINDS` of each p(x | z), [B, N]; see `prior_batches`.

    Args:
      p: from `prior_distributions`.
      kind: one of `KINDS`.
      seed: the one that z was drawn with.
      start: number of the first of the batch.
    """
    if kind == "means":
        return p.mean()
    # the last number, since NumPy takes [seed, 0] for seed, which is that of z
    return figures.sample_picture(p, [seed, start, 1], pixel_noise=kind == "noisy_samples")


def prior_distributions(
    experiment: Experiment, count: int, seed: int = 3, latents: str = "prior"
) -> Iterator[tuple]:
    """(number of the first, p(x | z) of a batch) of `count` draws of z.

    Of a conditional model the labels are drawn as often as the training data have them, or are
    those of the training images.

    Args:
      experiment: a trained one.
      count: how many.
      seed: of z.
      latents: "prior", or "posterior": q(z | x) of one training image each, which shows how much
        of a distance is due to a prior that the posteriors do not fill.

    Raises:
      ValueError: another word, or fewer training images than `count`.
    """
    if latents not in LATENTS:
        raise ValueError(f"latents must be one of {LATENTS}, got {latents!r}.")
    model, size = experiment.exact_model, experiment.config.evaluation.batch_size
    rng = np.random.default_rng(seed)
    if latents == "prior":
        drawn = experiment.draw_labels(count, seed)
        for start in range(0, count, size):
            own = [of_all[start : start + size] for of_all in drawn]
            z = model.prior.sample(min(size, count - start), rng, *own)
            yield start, model.decode(z, *own)
        return
    if count > experiment.source.count:
        raise ValueError(
            f"images must be at most {experiment.source.count}, the training images whose latents "
            f"are drawn, got {count}."
        )
    start = 0
    for batch in experiment.batches(experiment.source.take(count)):
        images, *labels = class_labels.split(batch)
        q = model.encode(images, *labels)
        z = q.mean() + q.stddev() * rng.standard_normal(q.mean().shape).astype(np.float32)
        yield start, model.decode(z, *labels)
        start += len(images)


def data_moments(experiment: Experiment, features: str) -> Moments:
    """Of the test images, to score several models of the same data against them.

    Args:
      experiment: whose data.
      features: one of `evaluation.features.NAMES`.
    """
    return frechet_scores.moments(experiment.evaluation_images("test"), features)


def frechet(experiment: Experiment, data: Moments, features: str) -> dict[str, float]:
    """Frechet distances of means and samples at draws of z from the prior, as Table 1.

    Args:
      experiment: a trained one.
      data: from `data_moments`, on the same features.
      features: one of `evaluation.features.NAMES`; not an FID.

    Returns:
      Distances as a part of the data's total variance.
    """
    found = {}
    for kind in ("means", "samples"):
        images = prior_samples(experiment, data.count, means=kind == "means")
        moments = frechet_scores.moments([images.astype(np.float32)], features)
        found[f"{features}_{kind}"] = frechet_scores.score(data, moments).relative
    return found


def write(scores: Scores, path: Path) -> None:
    """Estimates and calibration as JSON.

    Args:
      scores: from `score`.
      path: of the file.
    """
    text = {k: v.as_json() for k, v in scores.estimates.items()}
    c = scores.calibration
    components = {
        "share": c.share.tolist(),
        "mean_square": c.mean_square.tolist(),
        "standard_error": c.standard_error.tolist(),
    }
    write_whole(path, json.dumps({"estimates": text, "components": components}, indent=2) + "\n")


def table(scores: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Rows of scores, one column an experiment, as a Markdown table.

    Args:
      scores: by experiment, and then by row.
    """
    names = list(scores)
    rows = list(dict.fromkeys(row for found in scores.values() for row in found))
    cells = [[row, *(scores[name].get(row, "-") for name in names)] for row in rows]
    return markdown.table(["held-out, per image", *names], cells)
