"""Fig. 6: samples of the trained normal beside those of PCA, and the components of both."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from tf_structvae import figures
from tf_structvae.studies.density.fit import Fit

_LEADING = 10  # components drawn


def sample_pictures(fit: Fit, reference: Fit, count: int, seed: int = 0) -> np.ndarray:
    """mean + factor omega at draws of omega that are the same for all fits, [count, N].

    P is known up to a rotation of omega. The one taken brings `fit` closest to `reference`
    (orthogonal Procrustes; Schoenemann, 1966), so that the same omega is nearly the same picture.

    Args:
      fit: whose pictures.
      reference: the first fit, whose components give the signs.
      count: how many.
      seed: of omega.
    """
    u, _, v = np.linalg.svd(fit.factor.T @ reference.factor)
    noise = np.random.default_rng(seed).standard_normal([count, v.shape[1]])
    return fit.distribution.loc.numpy() + noise @ (fit.factor @ (u @ v)).T


def component_pictures(fit: Fit, reference: Fit, count: int) -> np.ndarray:
    """The leading directions, each with the sign it has in `reference`, [count, N].

    Args:
      fit: whose pictures.
      reference: the fit that gives the signs.
      count: how many.
    """
    shown = fit.directions[:, :count]
    agree = np.sum(shown * reference.directions[:, :count], axis=0)
    return (shown * np.where(agree < 0, -1.0, 1.0)).T


def figure(fits: Mapping[str, Fit], image_shape: tuple[int, int, int], title: str) -> Figure:
    """Fig. 6, 100 samples of the first fit (left) and of the last (right); components of all below.

    Args:
      fits: by name.
      image_shape: (H, W, C).
      title: of the figure.
    """
    first, last = next(iter(fits)), list(fits)[-1]
    reference = fits[last]
    shown = min(_LEADING, reference.directions.shape[1])
    aspect = image_shape[0] / image_shape[1]
    side, row = 4.7 * aspect, 0.82 * aspect * _LEADING / shown
    total = 0.6 + side + 0.35 + len(fits) * (row + 0.05) + 0.45
    result = Figure(figsize=(9.9, total), dpi=150)
    top = 1 - 0.6 / total
    for i, name in enumerate((first, last)):
        axis = result.add_axes((0.01 + 0.495 * i, top - side / total, 0.485, side / total))
        flat = sample_pictures(fits[name], reference, 100)
        samples = figures.Row(name, figures.to_images(flat, image_shape))
        _show(axis, figures.grid(figures.colorize(samples), 10))
        axis.set_title(f"{name}: 100 samples", fontsize=10)
    place = top - (side + 0.35) / total
    for name, fit in fits.items():
        place -= (row + 0.05) / total
        axis = result.add_axes((0.14, place, 0.85, row / total))
        flat = component_pictures(fit, reference, shown)
        parts = figures.Row(name, figures.to_images(flat, image_shape), "difference")
        _show(axis, figures.grid(figures.colorize(parts), shown))
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    result.text(0.565, top - (side + 0.2) / total, f"the {shown} leading components", ha="center")
    result.suptitle(title, fontsize=11, y=1 - 0.12 / total, va="top")
    result.text(
        0.5,
        0.12 / total,
        "The same noise on both sides, turned so that P comes closest to PCA's components (P is "
        "known up to a rotation); no pixel noise. Grey is zero.",
        ha="center",
        fontsize=7.5,
        color="0.35",
    )
    return result


def _show(axis, picture: np.ndarray) -> None:
    axis.imshow(picture, interpolation="nearest", aspect="auto")
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)
