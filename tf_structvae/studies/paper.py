"""The figures of the paper, drawn from trained experiments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from tf_structvae.studies import drawings, without_network
from tf_structvae.studies.density import pca
from tf_structvae.studies.drawings import Options, has_factor
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities.files import save_figure

__all__ = [
    "FIGURES",
    "Entry",
    "Options",
    "check",
    "check_numbers",
    "draw",
    "has_factor",
    "possible",
    "save",
]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure of the paper: file name, what it shows, how it is drawn, whether it needs P."""

    name: str
    shows: str
    draw: Callable[[int, Sequence[Experiment], Options], Figure]
    needs_factor: bool = True


def check_numbers(numbers: Sequence[int]) -> None:
    """Refuses what is not drawn here.

    Args:
      numbers: of figures.

    Raises:
      ValueError: no such figure.
      ImportError: figure 6 without scikit-learn.
    """
    for n in numbers:
        if n not in FIGURES:
            raise ValueError(f"figure must be one of {', '.join(map(str, FIGURES))}, got {n}.")
    if 6 in numbers:
        pca.require()


def check(numbers: Sequence[int], experiments: Sequence[Experiment]) -> None:
    """Refuses figures that these experiments cannot give.

    Args:
      numbers: of figures.
      experiments: trained ones.

    Raises:
      ValueError: see `check_numbers`; no experiment with a factor where one is needed, or
        experiments on images of different shapes.
    """
    check_numbers(numbers)
    shapes = {str(e.workdir): e.source.image_shape for e in experiments}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"all workdirs must be of images of the same shape, got {shapes}.")
    needing = [n for n in numbers if FIGURES[n].needs_factor]
    if needing and not any(map(has_factor, experiments)):
        names = ", ".join(str(e.workdir) for e in experiments)
        raise ValueError(
            f"figures {', '.join(map(str, needing))} need the factor P, which a standard VAE does "
            f"not have, nor a model of rank 0 (config.model.likelihood and rank in {names}); "
            f"it has figures {', '.join(str(n) for n in FIGURES if not FIGURES[n].needs_factor)}."
        )


def possible(experiments: Sequence[Experiment]) -> list[int]:
    """The figures that suit these experiments; of 8 and 9 the one for colour or for grey.

    Figure 6 only where scikit-learn is installed.

    Args:
      experiments: trained ones.
    """
    left_out = {9 if experiments[0].source.image_shape[-1] == 3 else 8}
    try:
        pca.require()
    except ImportError:
        left_out.add(6)
    if not any(map(has_factor, experiments)):
        left_out |= {n for n, entry in FIGURES.items() if entry.needs_factor}
    return [n for n in FIGURES if n not in left_out]


def draw(number: int, experiments: Sequence[Experiment], options: Options) -> Figure:
    """One figure of the paper.

    Args:
      number: one of `FIGURES`.
      experiments: trained; 1 and 2 show all of them, the others the first that has a factor.
      options: see `Options`.

    Raises:
      ValueError: see `check`; more test images wanted than there are.
    """
    check([number], experiments)
    return FIGURES[number].draw(number, experiments, options)


def save(figure: Figure, path: Path, title: str) -> list[Path]:
    """Writes path.png and path.pdf, the same bytes for the same figure.

    Args:
      figure: a drawn one.
      path: without a suffix.
      title: kept in the files.

    Returns:
      Both paths.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    found = [path.with_name(f"{path.name}.{kind}") for kind in ("png", "pdf")]
    save_figure(figure, found[0], metadata={"Title": title})
    save_figure(figure, found[1], metadata={"Title": title, "CreationDate": None})
    return found


FIGURES = {
    1: Entry("samples", "samples of all workdirs", drawings.samples, False),
    2: Entry("observation", "six-row sheets of all workdirs", drawings.observation, False),
    3: Entry("interpolation", "slerp between four noise corners", drawings.interpolation),
    4: Entry("components", "scaling the ten strongest components", drawings.components),
    5: Entry("editing", "editing hair, then skin", drawings.editing),
    6: Entry(
        "distribution_only",
        "without a network, beside PCA",
        without_network.distribution_only,
        False,
    ),
    7: Entry("stability", "means and samples of configs/appendix_a.py", drawings.stability, False),
    8: Entry("all_components", "scaling all components, colour", drawings.components),
    9: Entry("all_components_grey", "scaling all components, grey", drawings.components),
    10: Entry("editing_sequence", "editing hair, skin, clothes", drawings.editing),
    11: Entry("editing_pixel", "editing a single pixel", drawings.editing),
    12: Entry("editing_skin", "editing the skin", drawings.editing),
    13: Entry("editing_background", "editing the background", drawings.editing),
}
"""By the number in the paper."""
