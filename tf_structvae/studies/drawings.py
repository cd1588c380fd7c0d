"""From trained experiments to the data of each of the paper's figures, and their captions.

Each function takes the number of the figure, the experiments and the `Options`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tf_structvae import figures
from tf_structvae.distributions import editing as edit_lib
from tf_structvae.evaluation.generation import saturation
from tf_structvae.figures.default_edits import default_edits
from tf_structvae.models import class_labels
from tf_structvae.studies import report
from tf_structvae.training import config as config_lib
from tf_structvae.training.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user may choose.

    Attributes:
      seed: of latents and noise.
      images: latents or test images: columns of 2 and 7, rows of 5 and 10 to 13, samples of 1;
        None for what suits the page.
      columns: pictures beside each other in 1 and in each grid of 3; None likewise.
      pixel: (row, column) of the covariances in 2; None for the centre.
      edits: of 5 and 10 to 13; where a figure is missing, `default_edits`.
      noise_variance: of painted values; None takes them as exact.
      pixel_noise: draw samples of structured VAEs with omega_d too, in 1, 2 and 7; None: of local
        ones alone.
      fit_images: training images of 6, at most.
      fit_steps: of its training.
    """

    seed: int = 0
    images: int | None = None
    columns: int | None = None
    pixel: tuple[int, int] | None = None
    edits: Mapping[int, Sequence[edit_lib.Edit]] = dataclasses.field(default_factory=dict)
    noise_variance: float | None = None
    pixel_noise: bool | None = None
    fit_images: int = 10_000
    fit_steps: int = 1000

    def rng(self, figure: int) -> np.random.Generator:
        """Random numbers of one figure, the same whichever others are drawn.

        Args:
          figure: its number.
        """
        return np.random.default_rng([self.seed, figure])


def has_factor(experiment: Experiment) -> bool:
    """Whether p(x | z) has a factor P.

    Args:
      experiment: any.
    """
    return config_lib.has_factor(experiment.config)


def structured(experiments: Sequence[Experiment]) -> Experiment:
    """The first experiment that has a factor, or the first."""
    return next((e for e in experiments if has_factor(e)), experiments[0])


def _latents(experiment: Experiment, count: int, rng: np.random.Generator):
    """p(x | z) at draws from the prior; of a conditional model, of labels from the data, too."""
    model, labels = experiment.exact_model, ()
    if experiment.class_names:
        labels = experiment.draw_labels(count, int(rng.integers(2**31)))
    return model.decode(model.prior.sample(count, rng, *labels), *labels)


def _caption(experiments: Sequence[Experiment], options: Options, *more: str) -> str:
    lines = [f"{report.describe(e)}, training seed {e.config.seed}" for e in experiments]
    if any(e.class_names for e in experiments):
        more = (*more, "Labels of latents from the prior are drawn as often as the data have them.")
    return " ".join([f"{'; '.join(lines)}. Seed of this figure: {options.seed}.", *more])


def _kind(experiment: Experiment) -> str:
    return "standard VAE" if _is_standard(experiment) else "structured VAE"


def _is_standard(experiment: Experiment) -> bool:
    return experiment.config.model.likelihood == "independent"


def _without_noise(experiment: Experiment, o: Options) -> bool:
    """Whether samples are drawn with omega_d = 0."""
    noisy = config_lib.is_local(experiment.config) if o.pixel_noise is None else o.pixel_noise
    return has_factor(experiment) and not noisy


def _headings(experiments: Sequence[Experiment]) -> list[str]:
    """What distinguishes the experiments."""
    kinds = [_kind(e) for e in experiments]
    if len(set(kinds)) == len(kinds):
        return kinds
    return [f"{e.config.name}: {k}" for e, k in zip(experiments, kinds, strict=True)]


def _noise_note(experiments: Sequence[Experiment], o: Options) -> str:
    without = [_without_noise(e, o) for e in experiments]
    if not any(without):
        return "Samples have all their noise."
    return "Samples of a structured VAE: eq. 3 with omega_d = 0, no pixel noise." + (
        "" if all(without) else " Those of the others have all their noise."
    )


def samples(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Fig. 1: samples of all experiments at draws from the prior."""
    columns = o.columns or 8
    count = o.images or 2 * columns
    rows = []
    for e, heading in zip(experiments, _headings(experiments), strict=True):
        p = _latents(e, count, o.rng(number))
        flat = figures.sample_picture(p, [o.seed, number], o.pixel_noise)
        sample = figures.to_images(flat, e.model.image_shape)
        for start in range(0, count, columns):
            label = heading.replace(": ", "\n") if start == 0 else ""
            rows.append(figures.Row(label, sample[start : start + columns]))
    note = _caption(experiments, o, "Latents from the prior.", _noise_note(experiments, o))
    return figures.aligned([("", rows)], "Figure 1: samples from the prior", note)


def observation(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Fig. 2: mean, sample, difference, variance and covariances of all experiments."""
    count = o.images or max(8 // len(experiments), 4)
    groups = []
    height, width = experiments[0].model.image_shape[:2]
    pixel = o.pixel or (height // 2, width // 2)
    for e, heading in zip(experiments, _headings(experiments), strict=True):
        p = e.exact_model(*_test_images(e, count))
        rows = figures.observation_rows(p, e.model.image_shape, pixel, o.seed, o.pixel_noise)
        groups.append((heading, rows))
    title = "Figure 2: mean, sample, difference, variance and covariances to one pixel"
    note = _caption(
        experiments,
        o,
        f"At the posterior means of {count} test images. Covariances to pixel {pixel}, averaged "
        "over channels. Each quantity has one scale, grey is no difference; 0.2% of the numbers "
        "may lie beyond it.",
        _noise_note(experiments, o),
    )
    return figures.aligned(groups, title, note)


def _test_images(experiment: Experiment, count: int) -> list[np.ndarray]:
    """[images], of a conditional model [images, labels]."""
    batches = experiment.evaluation_batches("test").unbatch().batch(count)
    found = [np.asarray(part) for part in class_labels.split(next(iter(batches)))]
    if len(found[0]) < count:
        raise ValueError(f"images must be at most {len(found[0])}, the test images; got {count}.")
    return found


def interpolation(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Fig. 3: slerp between four noise corners at two latent codes."""
    e, rng = structured(experiments), o.rng(number)
    p = _latents(e, 2, rng)
    corners = rng.standard_normal([2, 4, p.rank]).astype(np.float32)
    found = figures.interpolations(p, corners, e.model.image_shape, o.columns or 9)
    note = _caption(
        [e],
        o,
        "Framed: samples at four draws a, b, c, d of omega_p; between them slerp (eq. 7) along the "
        "upper and the lower side, then between the two. No pass through the network but one a "
        "latent code; omega_d = 0.",
    )
    title = "Figure 3: interpolation between noise corners in the observation space"
    return figures.interpolation_figure(found, ["latent code 1", "latent code 2"], title, note)


def components(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Figs. 4, 8, 9: one sample with its principal components scaled."""
    e, rng = structured(experiments), o.rng(4)  # 4, 8 and 9 show the same sample
    p = _latents(e, 1, rng)
    noise = rng.standard_normal(p.rank).astype(np.float32)
    found = figures.scaled_components(
        p, noise, e.model.image_shape, count=10 if number == 4 else None
    )
    which = f"{len(found.images)} strongest" if number == 4 else f"{len(found.images)}"
    note = _caption(
        [e],
        o,
        "One latent code, one omega_p, omega_d = 0 (eq. 4). Columns: the factor of component k; at "
        "1 the sample itself, framed. Share: of the variance of P. Noise: what the sample drew of "
        "the component, v_k^T omega_p, so a small one shows little.",
    )
    title = f"Figure {number}: scaling each of the {which} principal components of P"
    return figures.scaling_figure(found, title, note)


def editing(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Figs. 5, 10 to 13: edits and the pictures that follow from them."""
    e = structured(experiments)
    shape = e.model.image_shape
    edits = o.edits.get(number) or default_edits(number, e.config.data.name, shape)
    p = _latents(e, o.images or 3, o.rng(number))
    steps = edit_lib.edit_sequence(p, edits, shape, o.noise_variance)
    exact = "exact" if not o.noise_variance else f"known up to a variance of {o.noise_variance:g}"
    note = _caption(
        [e],
        o,
        "Left: means at latents from the prior. Edits add up; after each the mean of the pixels "
        f"given all those painted (eq. 6), taken as {exact}. Circles only mark.",
    )
    title = f"Figure {number}: editing the observation space"
    return figures.edits_figure(figures.to_images(p.mean(), shape), steps, title, note)


def stability(number: int, experiments: Sequence[Experiment], o: Options) -> Figure:
    """Fig. 7: a row of means and rows of samples, with what stabilised the training."""
    e = structured(experiments)
    p = _latents(e, o.images or 8, o.rng(number))
    rows = [figures.Row("mean", figures.to_images(p.mean(), e.model.image_shape))]
    for i in range(4):
        sample = figures.sample_picture(p, [o.seed, number, i], o.pixel_noise)
        rows.append(figures.Row(f"sample {i + 1}", figures.to_images(sample, e.model.image_shape)))
    outside = np.mean([saturation(r.images).mean() for r in rows[1:]])
    m, objective = e.config.model, e.config.objective
    entropy = (objective.entropy_budget, objective.entropy_target) != (None, None)
    trained = [f"{objective.pretrain_steps} steps of mean pre-training"]
    if has_factor(e):
        trained.append(f"P initialised at {m.factor_initial:g} ({m.factor_scale})")
    trained += [
        f"D {m.noise.replace('_', ' ')}",
        f"{'an' if entropy and objective.constrain_entropy else 'no'} entropy constraint",
    ]
    note = _caption(
        [e],
        o,
        f"Trained with {', '.join(trained)}. Of the samples' numbers {outside:.1%} lie outside "
        "[0, 1]. A column is a latent from the prior.",
        _noise_note([e], o),
    )
    title = "Figure 7: stability of means and samples"
    return figures.aligned([("", rows)], title, note)
