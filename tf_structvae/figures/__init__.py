"""Arrays and distributions in, figures out. Nothing here shows or saves a figure.

`studies.paper` draws the paper's figures of trained runs.
"""

from tf_structvae.distributions.pictures import covariance_to_pixel, sample_picture, to_images
from tf_structvae.figures.alignment import aligned
from tf_structvae.figures.cards import scorecard_figure
from tf_structvae.figures.edit_sequences import edits_figure
from tf_structvae.figures.interpolation import interpolation_figure, interpolations
from tf_structvae.figures.pictures import (
    Row,
    colorize,
    grid,
    observation_rows,
    reconstruction_sheet,
    scale_limit,
)
from tf_structvae.figures.predictors import predictor_figure
from tf_structvae.figures.scaling import (
    ScaledComponents,
    scaled_components,
    scaling_figure,
)
from tf_structvae.figures.sheets import panels, sheet

__all__ = [
    "Row",
    "ScaledComponents",
    "aligned",
    "colorize",
    "covariance_to_pixel",
    "edits_figure",
    "grid",
    "interpolation_figure",
    "interpolations",
    "observation_rows",
    "panels",
    "predictor_figure",
    "reconstruction_sheet",
    "sample_picture",
    "scale_limit",
    "scaled_components",
    "scaling_figure",
    "scorecard_figure",
    "sheet",
    "to_images",
]
