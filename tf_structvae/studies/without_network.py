"""Fig. 6 from the data and rank of a trained experiment; nothing of its network is used."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from tf_structvae import datasets
from tf_structvae.datasets import pipeline
from tf_structvae.studies.density import comparison, figure
from tf_structvae.studies.drawings import Options
from tf_structvae.training.experiment import Experiment


def distribution_only(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Fig. 6: the distribution's parameters alone, trained, beside PCA of the same rank."""
    config = experiments[0].config
    spec, e = datasets.Spec.of_config(config.data), config.evaluation
    source = datasets.prepare(spec, "train").take(o.fit_images)
    test = datasets.prepare(spec, "test").take(e.images)
    settings = comparison.Settings(
        steps=o.fit_steps, batch_size=min(250, source.count), seed=o.seed
    )
    found = comparison.compare(
        source, pipeline.evaluation_batches(test, e.batch_size), config.model.rank, settings
    )
    gap = found.numbers["difference"]["closed form"]["relative"]
    title = (
        f"Figure {number}: the distribution without a network, and PCA\n{found.title}; "
        f"held-out log p {gap:+.3%} from the closed form's"
    )
    return figure.figure(found.fits, source.image_shape, title)
