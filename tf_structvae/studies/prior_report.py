"""What priors of one model draw, side by side, and what each leaves of the KL divergence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tf_structvae import figures, priors
from tf_structvae.evaluation.information import information
from tf_structvae.models import class_labels
from tf_structvae.studies import report, scores
from tf_structvae.training import config as config_lib
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities import markdown
from tf_structvae.utilities.files import save_figure

_COLUMNS = 8


def fit(experiment: Experiment, anew: bool = True) -> None:
    """Fits the prior that the config names, prints what it saves and draws the sheet of priors.

    Args:
      experiment: a trained one, which draws from that prior from here on.
      anew: although there may be one of this step.
    """
    trained = experiment.model.prior
    if anew or not experiment.take_fitted_prior():
        experiment.fit_prior()
    found = {trained.describe(): trained, "fitted": experiment.model.prior}
    print(f"\n{table(found, held_out_posterior(experiment))}\n")
    print(f"prior     fitted: {experiment.model.prior.describe()}")
    write_sheet(experiment, found)


def held_out_posterior(experiment: Experiment) -> priors.AggregatedPosterior:
    """Those of the test images, as many as `config.evaluation.images`.

    Args:
      experiment: a trained one.
    """
    batches = (tuple(class_labels.split(b)) for b in experiment.evaluation_batches("test"))
    return priors.AggregatedPosterior.of(experiment.model.encode, batches)


def table(found: dict[str, priors.Prior], posterior: priors.AggregatedPosterior) -> str:
    """The KL divergence of each prior and its parts, as a Markdown table.

    Args:
      found: by name.
      posterior: of held-out images.
    """
    rows = []
    for name, prior in found.items():
        parts = information(posterior, prior)
        shown = ("kl", "prior_mismatch", "mutual_information")
        rows.append([name, *(str(parts[k]) for k in shown)])
    heads = ["held-out, nats per image", "KL", "mismatch, at least", "information, at most"]
    return markdown.table(heads, rows)


def write_sheet(experiment: Experiment, found: dict[str, priors.Prior], seed: int = 3) -> Path:
    """Samples from each prior and at latents of training images, as pictures/priors.png.

    Args:
      experiment: a trained one; it keeps its prior.
      found: by name.
      seed: of z and noise, the same in each row.
    """
    own, shape = experiment.model.prior, experiment.source.image_shape
    rows = []

    def draw(latents: str) -> np.ndarray:
        start, p = next(scores.prior_distributions(experiment, 2 * _COLUMNS, seed, latents))
        return figures.to_images(scores.draw(p, "samples", seed, start), shape)

    def add(name: str, images: np.ndarray) -> None:
        for first in range(0, len(images), _COLUMNS):
            rows.append(figures.Row("" if first else name, images[first : first + _COLUMNS]))

    for name, prior in found.items():
        experiment.model.replace_prior(prior)
        add(name, draw("prior"))
    experiment.model.replace_prior(own)
    add("q(z given x)", draw("posterior"))
    structured = config_lib.has_factor(experiment.config)
    note = (
        f"{report.NO_PIXEL_NOISE if structured else 'Samples have the noise of every pixel.'} The "
        "last rows are at latents of training images: what a prior that the posteriors fill would "
        "draw."
    )
    directory = experiment.workdir / "pictures"
    directory.mkdir(parents=True, exist_ok=True)
    figure = figures.sheet(rows, f"Samples from each prior. {report.describe(experiment)}", note)
    return save_figure(figure, directory / "priors.png")
