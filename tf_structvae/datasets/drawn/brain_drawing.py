"""Draws one axial slice of a brain from one seed: no TensorFlow, so worker processes start fast.

One anatomy, synthetic variation. The anatomy is the skull-stripped T1 template that the package
`nilearn` carries, an average of 152 people (ICBM 152 nonlinear symmetric 2009a; Fonov et al.,
NeuroImage 54, 2011, doi:10.1016/j.neuroimage.2010.07.033).
Position, shape, ventricle size, contrast, bias field and noise are drawn from distributions made
up here. They say nothing about how brains or scanners vary.

Coordinates are millimetres of MNI space. Rows of an image run from anterior to posterior (nose
up), columns from left to right. A displacement says from where in the template a pixel is taken.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

Z_RANGE = (-2.0, 28.0)  # mm; the slices that the ventricles reach
FIELD_OF_VIEW = 216.0  # mm; the largest slice is 181 mm long
CENTRE = (-17.0, 0.0)  # mm; y and x of the middle of the picture, the same for every slice

_SPLIT_KEYS = {"train": 0, "validation": 1, "test": 2}
_WORK_SIZE = 192  # pixels; a finer grid has no more detail than the template's 1 mm
_WARP_WAVES, _BIAS_WAVES = 5, 3  # half waves across the picture, less one
_CSF = 0.5  # the template is 1 where brightest, about 0.65 in grey and 0.85 in white matter
_REACH = 5.0  # mm; how far the change of the ventricles fades out
# mm^2; makes `ventricle_scale` about the ratio of areas, and keeps maps one to one. Measured, mean
# over the slices: 0.61, 0.78, 1.22 and 1.49 give 0.66, 0.81, 1.18 and 1.37 of the area.
_GAIN = 110.0


def _waves(rng: np.random.Generator, fields: int, count: int) -> np.ndarray:
    """Random coefficients [fields, count, count] of cosines: no constant, squares sum to 1."""
    order = np.hypot(*np.mgrid[0:count, 0:count])
    order[0, 0] = np.inf
    waves = rng.normal(size=(fields, count, count)) / order**1.5
    return waves / np.linalg.norm(waves)


def draw_attributes(seed: int, split: str, index: int) -> dict:
    """The latent description of one slice; every factor is drawn independently of the others.

    Raises:
      ValueError: an unknown split, or a negative seed or index.
    """
    if split not in _SPLIT_KEYS:
        raise ValueError(f"split must be one of {tuple(_SPLIT_KEYS)}, got {split!r}.")
    for name, value in (("seed", seed), ("index", index)):
        if value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value}.")
    rng = np.random.default_rng([seed, _SPLIT_KEYS[split], index])
    return {
        "z_mm": float(rng.uniform(*Z_RANGE)),
        "ventricle_scale": float(np.exp(rng.uniform(-0.5, 0.4))),  # 1 is the template's
        "contrast": float(np.exp(rng.uniform(-0.2, 0.6))),  # exponent of the intensities
        "brightness": float(rng.uniform(0.75, 1.0)),
        "bias_strength": float(rng.uniform(0.0, 0.15)),  # root mean square of the log field
        "noise_level": float(rng.uniform(0.005, 0.025)),  # of the range [0, 1], before magnitude
        "warp_mm": float(rng.uniform(1.0, 4.0)),  # root mean square displacement
        "rotation": float(rng.normal(0, 3.0)),  # degrees, counter-clockwise
        "scale": float(rng.uniform(0.92, 1.04)),
        "shift_y_mm": float(rng.uniform(-4.0, 4.0)),  # positive is towards the nose
        "shift_x_mm": float(rng.uniform(-4.0, 4.0)),
        "warp_waves": _waves(rng, 2, _WARP_WAVES),
        "bias_waves": _waves(rng, 1, _BIAS_WAVES),
    }


# The numbers among them; the waves have no meaning one by one.
ATTRIBUTES = tuple(k for k, v in draw_attributes(0, "train", 0).items() if isinstance(v, float))


def load_template() -> Any:
    """The template as a NIfTI image, 197 x 233 x 189 voxels of 1 mm, float32 in [0, 1].

    Raises:
      ImportError: nilearn is missing.
    """
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise ImportError(
            "The data set brains is made from a template in the package nilearn: "
            "pip install 'tf_structvae[data]'."
        ) from error
    return load_mni152_template(resolution=1)


def _ventricles(volume: np.ndarray, z, y, x) -> np.ndarray:
    """The lateral and third ventricles of `volume` [z, y, x]: dark, deep and in one piece."""
    from scipy import ndimage

    deep = (abs(x) <= 36) & (y >= -58) & (y <= 34)
    cistern = (abs(x) <= 11) & (y < -22) & (z < 12)
    fissure = (abs(x) <= 4) & ((y > 18) | (z > 24))
    labels, _ = ndimage.label((volume > 0) & (volume < _CSF) & deep & ~cistern & ~fissure)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])


@functools.lru_cache(maxsize=1)
def _anatomy() -> tuple[np.ndarray, tuple[float, float]]:
    """What every draw needs, once a process.

    Returns:
      The slices, float32 [Z, 3, Y, X] with rows from anterior to posterior: the template and the
      y and x slopes of its blurred ventricles; and y and x (mm) of the first row and column.
    """
    image = load_template()
    from scipy import ndimage  # after the template, whose error says what to install

    x0, y0, z0 = (float(v) for v in image.affine[:3, 3])
    first, last = int(Z_RANGE[0] - z0), int(Z_RANGE[1] - z0)
    volume = np.asarray(image.dataobj, np.float32)[:, ::-1, first : last + 1].T
    top = y0 + volume.shape[1] - 1
    z, y, x = np.ogrid[tuple(slice(0, n) for n in volume.shape)]
    inside = _ventricles(volume, Z_RANGE[0] + z, top - y, x0 + x)
    blurred = ndimage.gaussian_filter(inside.astype(np.float32), _REACH)
    slope_y, slope_x = -np.gradient(blurred, axis=1), np.gradient(blurred, axis=2)
    return np.stack([volume, slope_y, slope_x], 1), (top, x0)


@functools.lru_cache(maxsize=4)
def _cosines(pixels: int, count: int) -> np.ndarray:
    """Cosines [pixels, count] of 0, 1, ... half waves, orthonormal in the mean over the pixels."""
    place = (np.arange(pixels) + 0.5) / pixels
    waves = np.cos(np.pi * place[:, None] * np.arange(count))
    return waves * np.where(np.arange(count) > 0, 2**0.5, 1.0)


def _field(waves: np.ndarray, height: int, width: int) -> np.ndarray:
    """The smooth fields [..., height, width] of coefficients [..., count, count]."""
    count = waves.shape[-1]
    return _cosines(height, count) @ waves @ _cosines(width, count).T


def _slice_at(z_mm: float) -> np.ndarray:
    """`_anatomy()` between two slices, [3, Y, X]."""
    slices, _ = _anatomy()
    place = z_mm - Z_RANGE[0]
    low = min(int(place), len(slices) - 2)
    return slices[low] + np.float32(place - low) * (slices[low + 1] - slices[low])


def _sample(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """`values` [Y, X] of one slice between its voxels, at y and x in mm; 0 outside."""
    _, (top, left) = _anatomy()
    from scipy import ndimage

    return ndimage.map_coordinates(values, (top - y, x - left), order=1)


def _pixel_mm(height: int, width: int) -> float:
    return FIELD_OF_VIEW / min(height, width)


def positions(a: dict, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Where in the template the pixels of a picture come from: y and x in mm, [height, width].

    First the smooth warp and the affine map, in the picture; then, in the template, a step along
    the slope of the blurred ventricles, which makes them wider or narrower.
    """
    step = _pixel_mm(height, width)
    warp_y, warp_x = a["warp_mm"] * _field(a["warp_waves"], height, width)
    y = (height - 1) / 2 * step - step * np.arange(height)[:, None] + warp_y - a["shift_y_mm"]
    x = step * np.arange(width) - (width - 1) / 2 * step + warp_x - a["shift_x_mm"]
    angle = np.deg2rad(a["rotation"])
    cos, sin = np.cos(angle) / a["scale"], np.sin(angle) / a["scale"]
    y, x = CENTRE[0] + cos * y - sin * x, CENTRE[1] + sin * y + cos * x
    _, slope_y, slope_x = _slice_at(a["z_mm"])
    gain = _GAIN * np.log(a["ventricle_scale"])
    return y + gain * _sample(slope_y, y, x), x + gain * _sample(slope_x, y, x)


def render(a: dict, height: int, width: int) -> np.ndarray:
    """The noiseless picture [height, width] of the attributes, 0 in the background, 1 for white.

    It is sampled at about 1 mm and averaged over each pixel, so that small pictures do not alias.
    """
    fine = -(-_WORK_SIZE // min(height, width))
    y, x = positions(a, height * fine, width * fine)
    image = _sample(_slice_at(a["z_mm"])[0], y, x).astype(np.float64) ** a["contrast"]
    image = image.reshape(height, fine, width, fine).mean((1, 3))
    bias = np.exp(a["bias_strength"] * _field(a["bias_waves"], height, width)[0])
    return a["brightness"] * bias * image


def draw(seed: int, split: str, index: int, height: int, width: int) -> tuple[np.ndarray, dict]:
    """Draws slice `index` of `split`.

    Returns:
      The image, uint8 [height, width], and its attributes: the same for the same arguments in
      every process.

    Raises:
      ValueError: an unknown split, a negative seed or index, or a side below 8 pixels.
      ImportError: nilearn is missing.
    """
    for name, value in (("height", height), ("width", width)):
        if value < 8:
            raise ValueError(f"{name} must be 8 or more, got {value}.")
    a = draw_attributes(seed, split, index)
    # a stream of its own, so that the noise of a size does not depend on how attributes are drawn
    rng = np.random.default_rng([seed, _SPLIT_KEYS[split], index, 1])
    real, imaginary = rng.normal(0.0, a["noise_level"], (2, height, width))
    pixels = 255.0 * np.hypot(render(a, height, width) + real, imaginary)  # Rician, as magnitudes
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), a
