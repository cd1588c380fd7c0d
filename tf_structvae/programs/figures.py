"""Draws the figures of the paper from trained runs, as PNG and PDF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tf_structvae.programs import command

_WORKDIR = flags.DEFINE_multi_string(
    "workdir", [], "A run's directory; several are set side by side in figures 1 and 2."
)
_FIGURE = flags.DEFINE_list(
    "figure", ["all"], "Numbers as in the paper, 'all' that the runs can give, or 'list'."
)
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "last", ["last", "best"], "Of each run; best: by the validation ELBO."
)
_OUTPUT = flags.DEFINE_string("output", "runs/figures", "Where the files go.")
_SEED = flags.DEFINE_integer("seed", 0, "Of latents and noise.", lower_bound=0)
_IMAGES = flags.DEFINE_integer(
    "images",
    None,
    "Samples of figure 1; columns of 2 and 7; rows of 5 and 10 to 13.",
    lower_bound=1,
    upper_bound=64,
)
_COLUMNS = flags.DEFINE_integer(
    "columns",
    None,
    "Pictures beside each other in figure 1 (8) and in a grid of figure 3 (9).",
    lower_bound=2,
    upper_bound=64,
)
_PIXEL = flags.DEFINE_list(
    "pixel", None, "ROW,COLUMN of the pixel of figure 2's covariances; default the centre."
)
_EDITS = flags.DEFINE_string(
    "edits",
    None,
    "JSON file of edits for figures 5 and 10 to 13: a list for all of them, or an object of lists "
    "with their numbers as keys. See docs/figures.md.",
)
_EDIT_NOISE = flags.DEFINE_float(
    "edit_noise", 0.0, "Variance with which painted values are known; 0: exactly.", lower_bound=0
)
_PIXEL_NOISE = flags.DEFINE_bool(
    "pixel_noise",
    None,
    "Draw samples of structured VAEs with their pixel noise omega_d; default: of local ones alone.",
)
_FIT_IMAGES = flags.DEFINE_integer(
    "fit_images", 10_000, "Training images of figure 6, at most.", lower_bound=2
)
_FIT_STEPS = flags.DEFINE_integer("fit_steps", 1000, "Of the training in figure 6.", lower_bound=1)


def _numbers() -> list[int] | None:
    """The figures asked for; None for all."""
    words = [w.strip() for w in _FIGURE.value]
    if words == ["all"]:
        return None
    if not words or not all(w.isdigit() and w.isascii() for w in words):
        raise ValueError(
            f"--figure must be 'all', 'list' or numbers with commas, got {','.join(words)!r}."
        )
    return list(dict.fromkeys(map(int, words)))


def _script() -> object:
    """What the file of edits says, not checked further."""
    if _EDITS.value is None:
        return {}
    try:
        return json.loads(Path(_EDITS.value).read_text())
    except ValueError as error:
        raise ValueError(f"--edits={_EDITS.value} is not JSON: {error}") from error


def _by_figure(script: object, known: Sequence[int]) -> dict[int, object]:
    """A list is for all figures that show edits."""
    if not isinstance(script, dict):
        return dict.fromkeys(known, script)
    unknown = set(script) - set(map(str, known))
    if unknown:
        raise ValueError(
            f"--edits={_EDITS.value}: keys must be of {', '.join(map(str, known))}, "
            f"got {', '.join(sorted(unknown))}."
        )
    return {int(k): v for k, v in script.items()}


def _list() -> None:
    from tf_structvae.studies import paper

    for n, entry in paper.FIGURES.items():
        print(f"{n:>3}  {entry.shows}")


def main() -> None:
    if _FIGURE.value == ["list"]:
        return _list()
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing; give it once for each run.")
    numbers, script = _numbers(), _script()
    from tf_structvae.distributions import editing
    from tf_structvae.figures import default_edits
    from tf_structvae.studies import paper, report

    paper.check_numbers(numbers or [])
    scripts = _by_figure(script, default_edits.FIGURES)
    from tf_structvae.training.experiment import Experiment

    experiments = [Experiment.load(w, _CHECKPOINT.value) for w in _WORKDIR.value]
    chosen = paper.possible(experiments) if numbers is None else numbers
    paper.check(chosen, experiments)
    shape = experiments[0].source.image_shape
    options = paper.Options(
        seed=_SEED.value,
        images=_IMAGES.value,
        columns=_COLUMNS.value,
        pixel=report.parse_pixel(_PIXEL.value, shape),
        edits={n: editing.parse_edits(s, shape) for n, s in scripts.items()},
        noise_variance=_EDIT_NOISE.value or None,
        pixel_noise=_PIXEL_NOISE.value,
        fit_images=_FIT_IMAGES.value,
        fit_steps=_FIT_STEPS.value,
    )
    _write(chosen, experiments, options)
    if numbers is None:
        _tell_what_is_missing(chosen, experiments)


def _write(numbers: Sequence[int], experiments, options) -> None:
    from tqdm.auto import tqdm

    from tf_structvae.studies import paper

    written = []
    for n in tqdm(numbers, unit="figure", desc="figures"):
        entry = paper.FIGURES[n]
        path = Path(_OUTPUT.value) / f"figure_{n:02d}_{entry.name}"
        figure = paper.draw(n, experiments, options)
        written += paper.save(figure, path, f"Figure {n}: {entry.shows}")
    for path in written:
        print(f"figure    {path}")


def _tell_what_is_missing(chosen: Sequence[int], experiments) -> None:
    from tf_structvae.studies import paper

    if not any(map(paper.has_factor, experiments)):
        print("left out  the figures that need the factor P: a standard VAE has none")
    if 6 not in chosen:
        print("left out  figure 6: it needs scikit-learn, pip install 'tf_structvae[data]'")


def run() -> None:
    command.run(main)
