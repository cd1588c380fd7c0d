"""A scorecard as one figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tf_structvae.evaluation.card import Scorecard
from tf_structvae.figures.colours import BLUE, ORANGE

_TITLES = {
    "pixels": "pixels",
    "projections": "random projections",
    "components": "principal components",
    "mahalanobis": "Mahalanobis distance",
}


def scorecard_figure(card: Scorecard, title: str) -> Figure:
    """Histograms of the PITs, coverage against what was promised, and the table.

    Args:
      card: of `evaluation.scorecard`.
      title: of the figure.
    """
    figure = Figure(figsize=(12, 5.6), dpi=130, layout="constrained")
    grid = figure.add_gridspec(2, 4, width_ratios=(1, 1, 1.1, 1.9))
    for k, (name, label) in enumerate(_TITLES.items()):
        axis = figure.add_subplot(grid[k // 2, k % 2])
        axis.set_title(f"PIT: {label}", fontsize=9)
        axis.set_xticks([0, 0.5, 1])
        axis.tick_params(labelsize=7)
        shares = card.histograms.get(name)
        if shares is None:
            axis.text(0.5, 0.5, "no factor", ha="center", transform=axis.transAxes)
            continue
        edges = np.linspace(0, 1, len(shares) + 1)
        axis.bar(edges[:-1], shares * len(shares), 1 / len(shares), align="edge", color=BLUE)
        axis.axhline(1, color="0.3", linewidth=1)
        axis.set_xlim(0, 1)
    axis = figure.add_subplot(grid[:, 2])
    everything = [0.75, 1.0]
    axis.plot(everything, everything, color="0.6", linewidth=1)
    markers = iter("os^Dv")
    for kind, by_level in card.coverage.items():
        levels = list(by_level)
        found = [by_level[v].value for v in levels]
        axis.errorbar(
            levels,
            found,
            [2 * by_level[v].error for v in levels],
            fmt=next(markers, "x"),
            markersize=5,
            color=ORANGE if kind.startswith("conformal") else BLUE,
            label=kind,
            alpha=0.8,
        )
    axis.set_xlabel("level", fontsize=8)
    axis.set_ylabel("coverage, with two standard errors", fontsize=8)
    axis.legend(fontsize=7)
    axis.tick_params(labelsize=7)
    words = figure.add_subplot(grid[:, 3])
    words.set_axis_off()
    text = "\n".join(f"{value:>18}  {name}" for name, value in card.rows())
    words.text(0, 1, text, family="monospace", fontsize=6.5, va="top", transform=words.transAxes)
    figure.suptitle(f"{title}: {card.examples} examples", fontsize=11)
    return figure
