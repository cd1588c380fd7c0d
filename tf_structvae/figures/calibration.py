"""How far a model's noise is calibrated, as a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tf_structvae.evaluation.calibration import Calibration
from tf_structvae.figures.colours import BLUE, ORANGE


def calibration(found: Calibration, image_shape: tuple[int, int, int], title: str) -> Figure:
    """E[c_k^2] of each component beside the share of P's variance it carries, and the residual map.

    Args:
      found: from `evaluation.calibration`.
      image_shape: (H, W, C).
      title: of the figure.
    """
    figure = Figure(figsize=(9.5, 3.6), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
    k = np.arange(1, len(found.share) + 1)
    if len(k):
        judged = found.is_judged
        left.axhspan(0.7, 1.4, color="0.9", zorder=0, label="0.7 to 1.4")
        left.axhline(1, color="0.5", linewidth=1, zorder=1)
        for chosen, color, label in (
            (judged, BLUE, "strong: judged"),
            (~judged, ORANGE, "weak"),
        ):
            left.errorbar(
                k[chosen],
                found.mean_square[chosen],
                2 * found.standard_error[chosen],
                fmt="o",
                markersize=4,
                color=color,
                label=label,
            )
        left.set_yscale("log")
        low, high = left.get_ylim()
        left.set_ylim(min(low, 0.4), max(high, 2.5))
        left.legend(fontsize=7, loc="best")
    else:
        left.text(0.5, 0.5, "no factor: independent pixels", ha="center", transform=left.transAxes)
    left.set_xlabel("principal component of P(z), strongest first")
    left.set_ylabel("mean square of the noise posterior")
    left.set_title("1: calibrated; below: samples vary too much; above: too little", fontsize=8)
    residual = np.log10(np.maximum(found.residual.reshape(image_shape).mean(-1), 1e-12))
    bound = max(float(np.abs(residual).max()), 0.1)
    shown = right.imshow(residual, cmap="PuOr", vmin=-bound, vmax=bound)
    right.set_axis_off()
    right.set_title(f"residual: mean square {found.residual.mean():.2f}", fontsize=8)
    figure.colorbar(shown, ax=right, label="log10 of the mean square", shrink=0.9)
    figure.suptitle(title, fontsize=10)
    return figure
