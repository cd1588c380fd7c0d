"""What a wrapped predictor knows of its own errors, as a sheet."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_structvae.figures.pictures import Row
from tf_structvae.figures.sheets import sheet
from tf_structvae.utilities import checks


def predictor_figure(
    model: Any, x: Any, y: Any = None, components: int = 2, samples: int = 3, title: str = ""
) -> Figure:
    """Inputs, truth, predictions, and the ways in which they may be wrong: a column an example.

    Of each component both ends are drawn, two standard deviations from the prediction; samples are
    without the noise of single pixels.

    Args:
      model: of `wrap`, whose output is an image.
      x: inputs, [B, ...]; shown where they are images.
      y: targets, [B, H, W, C], or None.
      components: how many of the strongest principal components.
      samples: how many of each.
      title: of the figure.

    Raises:
      ValueError: the output is no image.
    """
    if len(model.event) != 3:
        raise ValueError(f"model must have images [B, H, W, C] as output, got {model.event}.")
    checks.integer("components", components, 0)
    checks.integer("samples", samples, 0)
    found = model.components(x)
    rows = []
    if np.ndim(x) == 4 and np.shape(x)[-1] in (1, 3):
        rows.append(Row("input", _resized(np.asarray(x), model.event[:2])))
    if y is not None:
        rows.append(Row("truth", np.asarray(y)))
    rows.append(Row("prediction", found.mean))
    deviation = np.sqrt(np.asarray(model.shaped(model(x).variance()))).mean(-1, keepdims=True)
    rows.append(Row("standard\ndeviation", deviation / max(float(deviation.max()), 1e-12)))
    for k in range(min(components, found.stddev.shape[-1])):
        step = 2 * found.stddev[:, k, None, None, None] * found.directions[:, k]
        rows.append(Row(f"component {k + 1},\n-2 deviations", found.mean - step))
        rows.append(Row("+2 deviations", found.mean + step))
    drawn = model.sample(x, samples) if samples else []
    rows += [Row(f"sample {k + 1}", images) for k, images in enumerate(drawn)]
    return sheet(rows, title)


def _resized(images: np.ndarray, size) -> np.ndarray:
    """By the nearest pixel."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, images.shape[1:3], strict=True))
    return images[:, rows][:, :, columns]
