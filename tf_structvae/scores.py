"""The numbers of a trained experiment, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_structvae import figures
from tf_structvae.evaluation import frechet_scores, generation, heldout
from tf_structvae.evaluation.calibration import Calibration
from tf_structvae.evaluation.frechet import Moments
from tf_structvae.evaluation.heldout import Estimate
from tf_structvae.training import Experiment


class Scores(NamedTuple):
    """What `score` found."""

    estimates: dict[str, Estimate]
    calibration: Calibration


def score(experiment: Experiment) -> Scores:
    """Held-out scores on the test split, and how samples from the prior compare with it."""
    model = experiment.exact_model
    estimates, calibration = heldout.held_out(model, experiment.evaluation_images("test"))
    data = np.concatenate([x.numpy() for x in experiment.evaluation_images("test")])
    samples = prior_samples(experiment, len(data))
    estimates["saturation"] = Estimate.of(generation.saturation(samples))
    exact = {"variance_ratio": generation.variance_ratio(samples, data), **calibration.summary()}
    estimates.update({k: Estimate(v, 0.0) for k, v in exact.items()})
    return Scores(estimates, calibration)


def prior_samples(experiment: Experiment, count: int, seed: int = 3, means: bool = False):
    """Samples (eq. 3, omega_d = 0) or means at draws of z from the prior, [count, H, W, C]."""
    model, size = experiment.exact_model, experiment.config.evaluation.batch_size
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, count, size):
        z = rng.standard_normal([min(size, count - start), model.latent_dim])
        p = model.decode(tf.constant(z, tf.float32))
        flat = p.mean() if means else figures.sample_picture(p, seed=[seed, start])
        parts.append(figures.to_images(flat, model.image_shape))
    return np.concatenate(parts)


def data_moments(experiment: Experiment, features: str) -> Moments:
    """Of the test images, to score several models of the same data against them."""
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
    """Estimates and calibration as JSON."""
    text = {k: {"value": v.value, "standard_error": v.error} for k, v in scores.estimates.items()}
    c = scores.calibration
    components = {
        "share": c.share.tolist(),
        "mean_square": c.mean_square.tolist(),
        "standard_error": c.standard_error.tolist(),
    }
    path.write_text(json.dumps({"estimates": text, "components": components}, indent=2) + "\n")


def table(scores: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Rows of scores, one column an experiment, as a Markdown table."""
    names = list(scores)
    rows = list(dict.fromkeys(row for found in scores.values() for row in found))
    lines = ["| held-out, per image | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        cells = [str(scores[name].get(row, "-")) for name in names]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
