"""NIfTI volumes as grey pictures: read, turned to canonical axes, cut, scaled and fitted.

NumPy and nibabel alone, no TensorFlow, so worker processes start fast.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tf_structvae.datasets.nifti.files import Volume

try:
    import nibabel as nib
except ImportError as error:
    raise ImportError("NIfTI volumes need nibabel: pip install 'tf_structvae[data]'.") from error

AXES = ("sagittal", "coronal", "axial")  # across R, A and S, the axes of a canonical volume
# What a broken file raises; anything else is an error of this program.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,  # an encrypted zip, or one with an unknown compression
    zlib.error,
    zipfile.BadZipFile,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,  # shorter than a header
)
_MOST_PIXELS = 8192  # a side; a spacing that asks for more is a mistake


@dataclasses.dataclass(frozen=True)
class Slicing:
    """How pictures are cut from a volume.

    Attributes:
      height, width: of the pictures, in pixels.
      axis: one of `AXES`, across which the pictures are cut.
      slices: (first, last, step) as fractions of the volume's extent along the axis, 0 being its
        first slice (left, posterior or inferior) and 1 its last. Fractions, because they mean
        something in every file, while positions in mm depend on an origin that is arbitrary
        outside a standard space; in one, all volumes share a grid and a fraction is a position.
      spacing: edge of a pixel in mm; 0 keeps the voxels.
      normalization: "percentile" (as "percentile:99.5": that percentile of the volume's nonzero
        voxels becomes white), "max", or "range:LOW:HIGH" in the file's units; also as a tuple, such
        as ("range", 0, 1500). Values beyond are clipped.

    Raises:
      ValueError: an argument out of range.
    """

    height: int = 218
    width: int = 182
    axis: str = "axial"
    slices: Sequence[float] = (0.4, 0.6, 0.02)
    spacing: float = 0.0
    normalization: str | Sequence = "percentile:99.5"

    def __post_init__(self):
        for name in ("height", "width"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise ValueError(f"{name} must be a whole number of pixels >= 1, got {size!r}.")
        if self.axis not in AXES:
            raise ValueError(f"axis must be one of {AXES}, got {self.axis!r}.")
        if not 0 <= (self.spacing or 0) < math.inf:
            raise ValueError(
                f"spacing must be the edge of a pixel in mm, or 0 for voxels, got {self.spacing!r}."
            )
        object.__setattr__(self, "spacing", float(self.spacing or 0))
        object.__setattr__(self, "slices", _checked_slices(self.slices))
        object.__setattr__(self, "normalization", _checked_normalization(self.normalization))


def _checked_slices(slices: Sequence[float]) -> tuple[float, ...]:
    try:
        first, last, step = (float(v) for v in slices)
    except (TypeError, ValueError):
        first = last = step = math.nan
    if not (0 <= first <= last <= 1 and 0 < step <= 1):
        raise ValueError(
            "slices must be (first, last, step) as fractions of the volume's extent, with "
            f"0 <= first <= last <= 1 and 0 < step <= 1, got {slices!r}."
        )
    return first, last, step


def _checked_normalization(value: str | Sequence) -> tuple:
    parts = value.split(":") if isinstance(value, str) else list(value)
    try:
        kind, numbers = parts[0], tuple(float(v) for v in parts[1:])
    except (IndexError, TypeError, ValueError):
        kind, numbers = "", ()
    if kind == "percentile" and not numbers:
        numbers = (99.5,)
    good = {
        "percentile": len(numbers) == 1 and 0 < numbers[0] <= 100,
        "max": not numbers,
        "range": len(numbers) == 2 and -math.inf < numbers[0] < numbers[1] < math.inf,
    }
    if not good.get(kind):
        raise ValueError(
            "normalization must be 'percentile:P' with 0 < P <= 100, 'max' or 'range:LOW:HIGH' "
            f"with LOW < HIGH, got {value!r}."
        )
    return (kind, *numbers)


def explain(error: BaseException) -> str:
    """One line about an error."""
    return " ".join(str(error).split()) or type(error).__name__


def read(manual_dir: str, volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Reads a volume, from its zip without unpacking, and turns it to the nearest canonical axes.

    Returns:
      Intensities, float32 [R, A, S] (towards right, anterior and superior), and the affine [4, 4]
      from its indices to mm.

    Raises:
      one of `UNREADABLE`: a file that is broken, or that holds no image to use.
    """
    path = Path(manual_dir, volume.file.path)
    if volume.member:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(volume.member)
    else:
        data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if not data:
        raise ValueError("the file is empty.")
    sizes = {int.from_bytes(data[:4], order) for order in ("little", "big")}
    image = (nib.Nifti2Image if 540 in sizes else nib.Nifti1Image).from_bytes(data)
    return _canonical(image)


def _canonical(image) -> tuple[np.ndarray, np.ndarray]:
    shape, kind = image.shape, image.get_data_dtype().kind
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or 0 in shape:
        raise ValueError(f"one volume of 3 dimensions is needed, the shape is {shape}.")
    if kind not in "iuf":
        raise ValueError(f"intensities must be numbers, the type is {image.get_data_dtype()}.")
    if not (np.isfinite(image.affine).all() and abs(np.linalg.det(image.affine)) > 1e-9):
        raise ValueError("the affine cannot be inverted.")
    intensities = image.get_fdata(dtype=np.float32).reshape(shape[:3])
    lost = intensities.size - np.count_nonzero(np.isfinite(intensities))
    if lost:
        raise ValueError(f"{lost} voxels are not finite.")
    if intensities.min() == intensities.max():
        raise ValueError(f"all voxels are {intensities.min():g}.")
    turn = nib.io_orientation(image.affine)
    affine = image.affine @ nib.orientations.inv_ornt_aff(turn, shape[:3])
    return nib.apply_orientation(intensities, turn), affine


def cut(
    intensities: np.ndarray, affine: np.ndarray, slicing: Slicing
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the pictures of one volume.

    Axial pictures have anterior up, the others superior up. Left is on the left, anterior on the
    left of sagittal ones. They are cropped or padded with black about the centre.

    Args:
      intensities: [R, A, S].
      affine: [4, 4], from indices to mm.
      slicing: how.

    Returns:
      Pictures, uint8 [N, height, width], and where each is along the axis, float32 [N] in mm: the
      position of the middle of the slice, which for an oblique volume varies across it.

    Raises:
      ValueError: intensities that cannot be scaled.
    """
    axis = AXES.index(slicing.axis)
    low, high = _white_and_black(intensities, tuple(slicing.normalization))
    across, up = (a for a in range(3) if a != axis)
    voxel = nib.affines.voxel_sizes(affine)
    pictures, places = [], []
    for index in _indices(intensities.shape[axis], slicing.slices):
        picture = np.take(intensities, index, axis).T[::-1].astype(np.float64)
        if slicing.axis == "sagittal":
            picture = picture[:, ::-1]
        if slicing.spacing:
            rows = _resampling(picture.shape[0], slicing.spacing / voxel[up])
            columns = _resampling(picture.shape[1], slicing.spacing / voxel[across])
            picture = rows @ picture @ columns.T
        grey = np.rint(255 * np.clip((picture - low) / (high - low), 0, 1)).astype(np.uint8)
        pictures.append(_fit(_fit(grey, slicing.height).T, slicing.width).T)
        middle = (np.array(intensities.shape) - 1) / 2
        middle[axis] = index
        places.append((affine[:3, :3] @ middle + affine[:3, 3])[axis])
    return np.stack(pictures), np.array(places, np.float32)


def _white_and_black(intensities: np.ndarray, normalization: tuple) -> tuple[float, float]:
    kind, *numbers = normalization
    if kind == "range":
        return numbers[0], numbers[1]
    if kind == "max":
        high = float(intensities.max())
    else:
        high = float(np.percentile(intensities[intensities != 0], numbers[0]))
    if high <= 0:
        raise ValueError(f"normalization {kind!r} needs positive intensities, white is {high:g}.")
    return 0.0, high


def _indices(count: int, slices: Sequence[float]) -> list[int]:
    """Indices of the slices nearest to first, first + step, ..., each once."""
    first, last, step = slices
    steps = np.arange(math.floor((last - first) / step + 1e-6) + 1)
    nearest = np.floor((first + step * steps) * (count - 1) + 0.5 + 1e-6)
    return np.unique(np.minimum(nearest, count - 1).astype(int)).tolist()


def _resampling(count: int, step: float) -> np.ndarray:
    """Weights [out, count] of linear interpolation at a step in voxels, about the same centre.

    Coarser than the voxels, the weights widen to the step, against aliasing.
    """
    out = max(1, round(count / step))
    if out > _MOST_PIXELS:
        raise ValueError(f"spacing would make {out} pixels, more than {_MOST_PIXELS}.")
    places = (np.arange(out) - (out - 1) / 2) * step + (count - 1) / 2
    distances = np.abs(np.arange(count) - places[:, None])
    weights = np.clip(1 - distances / max(1.0, step), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


def _fit(picture: np.ndarray, rows: int) -> np.ndarray:
    """Crops or pads the rows about the centre."""
    excess = picture.shape[0] - rows
    if excess >= 0:
        return picture[excess // 2 : excess // 2 + rows]
    before = -excess // 2
    return np.pad(picture, ((before, -excess - before), (0, 0)))
