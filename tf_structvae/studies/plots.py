"""Line plots of numbers. Nothing here shows or saves a figure."""

from tf_structvae.figures.calibration import calibration
from tf_structvae.figures.colours import BLUE, GREEN, ORANGE, RED
from tf_structvae.studies.targets.plot import spectrum

__all__ = ["BLUE", "GREEN", "ORANGE", "RED", "calibration", "spectrum"]
