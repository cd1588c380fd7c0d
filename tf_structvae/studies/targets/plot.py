"""A spectrum and how suggested targets share it out, as a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_structvae.figures.colours import BLUE, GREEN, ORANGE, RED
from tf_structvae.studies.targets.covariance_spectrum import Spectrum
from tf_structvae.studies.targets.suggestion import Suggestion, told


def spectrum(spectrum: Spectrum, suggestion: Suggestion) -> Figure:
    """The spectrum of a data set and how `suggestion` shares it out among z, P and D.

    Left: principal variances on log axes. Right: what share of it a rank holds and z explains.

    Args:
      spectrum: of a data set.
      suggestion: from `targets.suggest`.
    """
    figure = Figure(figsize=(9.6, 4.6), dpi=150, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.75, 1))
    _shares(figure.add_subplot(grid[:, 0]), spectrum, suggestion)
    _cumulative(figure.add_subplot(grid[0, 1]), spectrum, suggestion)
    _latent(figure.add_subplot(grid[1, 1]), spectrum, suggestion)
    h, w, c = spectrum.image_shape
    figure.suptitle(
        f"{spectrum.images:,} images of {h}x{w}x{c}, total variance {spectrum.total_variance:.4g}",
        fontsize=11,
    )
    return figure


def _shares(axis: Axes, spectrum: Spectrum, s: Suggestion) -> None:
    low = min(s.epsilon, s.noise_variance) / 4
    values = np.maximum(spectrum.eigenvalues, low)  # a zero has no place on log axes
    k = np.arange(1, len(values) + 1)
    level = np.minimum(values, s.water_level)
    left_to_d = np.where(k <= s.rank, np.minimum(s.epsilon, level), level)
    edges = np.arange(len(k) + 1) + 0.5  # a step a component
    edges[0] = 0.7

    def area(bottom, top, color, label):
        bottom, top = (np.append(v, v[-1:]) for v in (bottom, top))
        axis.fill_between(
            edges, bottom, top, step="post", color=color, alpha=0.35, lw=0, label=label
        )

    area(level, values, BLUE, f"z: {s.kl_target:.3g} nats of KL")
    area(left_to_d, level, ORANGE, f"P: rank {s.rank}, {s.entropy_budget:.4g} nats of entropy")
    area(np.full(len(k), low), np.maximum(left_to_d, low), "0.6", "left to D")
    axis.stairs(values, edges, color="black", lw=1.2, baseline=None)
    for value, color, text in (
        (s.water_level, BLUE, f"water level {s.water_level:.3g}"),
        (s.noise_variance, GREEN, f"noise variance {s.noise_variance:.2g} (calibrated recipe)"),
        (s.epsilon, RED, f"epsilon {s.epsilon:.2g} (paper's recipe)"),
    ):
        axis.axhline(value, color=color, lw=1, ls="--")
        axis.annotate(
            text, (edges[0], value), (5, 3), textcoords="offset points", color=color, fontsize=8
        )
    axis.axvline(s.rank + 0.5, color=ORANGE, lw=1, ls=":")
    axis.set(xscale="log", yscale="log", xlim=(edges[0], edges[-1]), ylim=(low, 2 * values[0]))
    axis.set_xlabel("component k", fontsize=9)
    axis.set_ylabel("variance $\\lambda_k$ (images in [0, 1])", fontsize=9)
    axis.legend(fontsize=8, loc="upper right", frameon=False)
    _finish(axis)


def _cumulative(axis: Axes, spectrum: Spectrum, s: Suggestion) -> None:
    values = spectrum.eigenvalues
    k = np.arange(1, len(values) + 1)
    axis.plot(k, np.cumsum(values) / spectrum.total_variance, color="black", lw=1.2)
    _mark(axis, s.rank, s.rank_share, ORANGE, f"rank {s.rank}: {s.rank_share:.1%}")
    axis.set(xscale="log", xlim=(1, max(len(values), 2)), ylim=(0, 1.02))
    axis.set_xlabel("components", fontsize=9)
    axis.set_ylabel("share of variance", fontsize=9)
    _finish(axis)


def _latent(axis: Axes, spectrum: Spectrum, s: Suggestion) -> None:
    values = spectrum.eigenvalues
    levels = np.geomspace(values[0], s.water_level / 8, 200)
    nats, variances = np.transpose([told(values, t) for t in levels])
    axis.plot(nats, variances / spectrum.total_variance, color="black", lw=1.2)
    _mark(axis, s.kl_target, s.latent_share, BLUE, f"{s.kl_target:.3g} nats: {s.latent_share:.1%}")
    axis.set(xlim=(0, 3 * s.kl_target or None), ylim=(0, 1.02))
    axis.set_xlabel("KL / nats per image", fontsize=9)
    axis.set_ylabel("share explained by z", fontsize=9)
    _finish(axis)


def _mark(axis: Axes, x: float, y: float, color: str, text: str) -> None:
    axis.plot([x, x], [0, y], color=color, lw=1, ls=":")
    axis.plot(x, y, "o", color=color, ms=4)
    axis.annotate(text, (x, y), xytext=(6, -12), textcoords="offset points", fontsize=8)


def _finish(axis: Axes) -> None:
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
