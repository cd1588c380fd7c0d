"""Pictures and numbers of trained experiments, written to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from tf_structvae import figures
from tf_structvae.evaluation import heldout
from tf_structvae.models import class_labels
from tf_structvae.studies import plots, scores
from tf_structvae.training import config as config_lib
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities.files import save_figure, write_whole

_COLUMNS = 8
_CLASSES = 40  # rows that a picture can hold
NO_PIXEL_NOISE = "Samples are drawn as eq. 3 with omega_d = 0 (no pixel noise)."


def describe(experiment: Experiment) -> str:
    """One line on the model and what it was trained on.

    Args:
      experiment: any.
    """
    c = experiment.config
    kind = "standard VAE" if c.model.likelihood == "independent" else f"rank {c.model.rank}"
    if config_lib.is_local(c):
        kind += f" and local, radius {c.model.radius}"
    return f"{c.name}: {kind}, {experiment.source.info.name}, {experiment.step} steps"


def prior_distribution(experiment: Experiment, count: int, seed: int):
    """p(x | z) for `count` draws of z from the prior; of a conditional model, of labels, too.

    Args:
      experiment: a trained one.
      count: of draws.
      seed: of z and of labels.
    """
    model, labels = experiment.exact_model, experiment.draw_labels(count, seed)
    return model.decode(model.prior.sample(count, seed, *labels), *labels)


def parse_pixel(words: Sequence[str] | None, image_shape) -> tuple[int, int]:
    """(row, column) from two words; the centre from None.

    Args:
      words: row and column as text, or None.
      image_shape: (H, W, C).

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

    Of a conditional model also samples of each class.

    Args:
      experiment: a trained one.
      pixel: (row, column) of the pixel whose covariances are drawn.
    """
    directory = experiment.workdir / "pictures"
    directory.mkdir(parents=True, exist_ok=True)
    shape = experiment.source.image_shape
    batch = next(iter(experiment.evaluation_batches("test")))
    images, *labels = (tensor[:_COLUMNS] for tensor in class_labels.split(batch))
    c = experiment.config
    structured = config_lib.has_factor(c) and not config_lib.is_local(c)
    note = f"Covariance to pixel {pixel}. " + (NO_PIXEL_NOISE if structured else "")
    rows = [
        figures.Row("data", images.numpy()),
        *figures.observation_rows(experiment.exact_model(images, *labels), shape, pixel),
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
    if experiment.class_names:
        sheets["classes"] = class_sheet(experiment)
    return [save_figure(figure, directory / f"{name}.png") for name, figure in sheets.items()]


def class_sheet(experiment: Experiment, columns: int = 10, seed: int = 4) -> Figure:
    """Samples given each label, a row a class; the pictures of a column share their noise.

    Args:
      experiment: of a conditional model.
      columns: how many draws of noise.
      seed: of these.
    """
    model, names = experiment.exact_model, experiment.class_names
    rows = []
    for k, name in enumerate(names[:_CLASSES]):
        labels = tf.fill([columns], k)
        p = model.decode(model.prior.sample(columns, seed, labels), labels)
        sample = figures.sample_picture(p, seed)  # of the same noise each time
        rows.append(figures.Row(name, figures.to_images(sample, model.image_shape)))
    shared = "noise that z is drawn with" if model.prior.classes else "z"
    note = f"A column has the same {shared} and the same noise of P in all rows."
    if len(names) > len(rows):
        note += f" The first {len(rows)} of {len(names)} classes."
    title = f"Samples given {experiment.config.data.label}. {describe(experiment)}"
    return figures.sheet(rows, title, note)


def prior_panels(experiments: Sequence[Experiment], count: int) -> list[tuple[str, np.ndarray]]:
    """Means and samples of each experiment at the same draws of z.

    Args:
      experiments: trained ones.
      count: of draws.
    """
    found = []
    for e in experiments:
        p = prior_distribution(e, count, seed=2)
        shape = e.source.image_shape
        found.append((f"{e.config.name}: means", figures.to_images(p.mean(), shape)))
        sample = figures.sample_picture(p, seed=2)
        found.append((f"{e.config.name}: samples", figures.to_images(sample, shape)))
    return found


def write_scores(experiment: Experiment) -> dict[str, heldout.Estimate]:
    """Scores on the test split; also as workdir/scores.json and pictures/calibration.png.

    Args:
      experiment: a trained one.
    """
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
    """Means and samples of several experiments side by side, and their scores as a table.

    Args:
      experiments: trained ones.
      directory: made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    figure = figures.panels(
        prior_panels(experiments, 24), 4, "The same latents from the prior; means and samples"
    )
    text = scores.table({e.config.name: write_scores(e) for e in experiments})
    write_whole(directory / "comparison.md", text + "\n")
    return save_figure(figure, directory / "comparison.png"), text
