"""Pictures and numbers of trained experiments, written to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_structvae import figures, plots, scores
from tf_structvae.evaluation import heldout
from tf_structvae.files import save_figure, write_whole
from tf_structvae.training import Experiment

_COLUMNS = 8
NO_PIXEL_NOISE = "Samples are drawn as eq. 3 with omega_d = 0 (no pixel noise)."


def describe(experiment: Experiment) -> str:
    """One line on the model and what it was trained on."""
    c = experiment.config
    kind = "standard VAE" if c.model.likelihood == "independent" else f"rank {c.model.rank}"
    return f"{c.name}: {kind}, {experiment.source.info.name}, {experiment.step} steps"


def prior_distribution(experiment: Experiment, count: int, seed: int):
    """p(x | z) for `count` draws of z from the prior."""
    z = np.random.default_rng(seed).standard_normal([count, experiment.model.latent_dim])
    return experiment.exact_model.decode(tf.constant(z, tf.float32))


def parse_pixel(words: Sequence[str] | None, image_shape) -> tuple[int, int]:
    """(row, column) from two words; the centre from None.

    Raises:
      ValueError: not two whole numbers inside the image.
    """
    height, width = image_shape[:2]
    if words is None:
        return height // 2, width // 2
    if len(words) != 2 or not all(w.strip().isdigit() for w in words):
        raise ValueError(f"pixel must be ROW,COLUMN, two whole numbers, got {','.join(words)!r}.")
    row, column = (int(w) for w in words)
    if row >= height or column >= width:
        raise ValueError(f"pixel {row},{column} is outside the image of {height}x{width}.")
    return row, column


def write_pictures(experiment: Experiment, pixel: tuple[int, int]) -> list[Path]:
    """The sheet of Fig. 2 for test images and for the prior, as PNG files in workdir/pictures.

    Args:
      experiment: a trained one.
      pixel: (row, column) of the pixel whose covariances are drawn.
    """
    directory = experiment.workdir / "pictures"
    directory.mkdir(parents=True, exist_ok=True)
    shape = experiment.source.image_shape
    images = next(iter(experiment.evaluation_images("test")))[:_COLUMNS]
    structured = experiment.config.model.likelihood == "low_rank"
    note = f"Covariance to pixel {pixel}. " + (NO_PIXEL_NOISE if structured else "")
    rows = [
        figures.Row("data", images.numpy()),
        *figures.observation_rows(experiment.exact_model(images), shape, pixel),
    ]
    prior = prior_distribution(experiment, _COLUMNS, seed=1)
    for i in range(3):
        sample = figures.sample_picture(prior, seed=i)
        rows.append(figures.Row(f"prior sample {i + 1}", figures.to_images(sample, shape)))
    sheets = {
        "observation": figures.sheet(rows, f"Test images. {describe(experiment)}", note),
        "prior": figures.sheet(
            figures.observation_rows(prior, shape, pixel),
            f"Latents from the prior. {describe(experiment)}",
            note,
        ),
        "samples": figures.panels(
            prior_panels([experiment], 48), 8, "Means and samples at latents from the prior"
        ),
    }
    return [save_figure(figure, directory / f"{name}.png") for name, figure in sheets.items()]


def prior_panels(experiments: Sequence[Experiment], count: int) -> list[tuple[str, np.ndarray]]:
    """Means and samples of each experiment at the same draws of z."""
    found = []
    for e in experiments:
        p = prior_distribution(e, count, seed=2)
        shape = e.source.image_shape
        found.append((f"{e.config.name}: means", figures.to_images(p.mean(), shape)))
        sample = figures.sample_picture(p, seed=2)
        found.append((f"{e.config.name}: samples", figures.to_images(sample, shape)))
    return found


def write_scores(experiment: Experiment) -> dict[str, heldout.Estimate]:
    """Scores on the test split; also as workdir/scores.json and pictures/calibration.png."""
    found = scores.score(experiment)
    scores.write(found, experiment.workdir / "scores.json")
    directory = experiment.workdir / "pictures"
    directory.mkdir(parents=True, exist_ok=True)
    figure = plots.calibration(
        found.calibration, experiment.source.image_shape, describe(experiment)
    )
    save_figure(figure, directory / "calibration.png")
    return found.estimates


def write_comparison(experiments: Sequence[Experiment], directory: Path) -> tuple[Path, str]:
    """Means and samples of several experiments side by side, and their scores as a table."""
    directory.mkdir(parents=True, exist_ok=True)
    figure = figures.panels(
        prior_panels(experiments, 24), 4, "The same latents from the prior; means and samples"
    )
    text = scores.table({e.config.name: write_scores(e) for e in experiments})
    write_whole(directory / "comparison.md", text + "\n")
    return save_figure(figure, directory / "comparison.png"), text
