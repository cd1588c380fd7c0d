"""The spectrum of the covariance of a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

_COLUMNS = 4096  # of the data that are float64 at one time


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """The principal variances of images in [0, 1], summed over the entries of an image.

    Attributes:
      eigenvalues: [K], of the covariance (divided by n), descending; K = min(n - 1, N).
      total_variance: its trace.
      images: n, how many were read.
      image_shape: (H, W, C); N = H W C.
    """

    eigenvalues: np.ndarray
    total_variance: float
    images: int
    image_shape: tuple[int, int, int]

    @property
    def size(self) -> int:
        """N, the entries of an image."""
        return int(np.prod(self.image_shape))

    def share(self, rank: int) -> float:
        """Share of the variance in the leading components.

        Args:
          rank: R.
        """
        return float(self.eigenvalues[:rank].sum() / self.total_variance)


def checked(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The batches as arrays [B, H, W, C] whose variances can be computed.

    Args:
      batches: floating-point images [B, H, W, C].

    Raises:
      ValueError: images of no floating-point type, not finite, or of different shapes.
    """
    shape: tuple[int, ...] = ()
    count = 0
    for batch in batches:
        x = np.asarray(batch)
        if x.ndim != 4 or x.dtype.kind != "f":
            raise ValueError(
                f"batches must be floating-point images [B, H, W, C], got {x.dtype} {x.shape}."
            )
        shape = shape or x.shape[1:]
        if x.shape[1:] != shape:
            raise ValueError(f"all images must be of shape {shape}, got {x.shape[1:]}.")
        bad = ~np.isfinite(x).all(axis=(1, 2, 3))
        if bad.any():
            raise ValueError(
                f"image {count + int(bad.argmax())} (from 0) holds values that are not finite."
            )
        count += len(x)
        yield x


def spectrum(batches: Iterable[np.ndarray]) -> Spectrum:
    """The spectrum of the data covariance, exact up to float64.

    From the n x n Gram matrix of the images or from their N x N covariance, whichever is smaller:
    with m = min(n, N), about m^2 doubles and, in their own precision, at most m images.

    Args:
      batches: floating-point images [B, H, W, C], an iterable read once.

    Raises:
      ValueError: fewer than two images, images that are all alike, not finite, or of another shape.
    """
    kept: list[np.ndarray] = []  # images as rows, until they outnumber the entries
    outer: np.ndarray | None = None  # from then on, sum x x^T
    shape: tuple[int, ...] = ()
    count = 0
    for x in checked(batches):
        shape = x.shape[1:]
        x = x.reshape(len(x), -1)
        if not count:
            # variances do not depend on the origin; near the data nothing is lost to cancellation
            origin = x[:1].astype(np.float64)
            total = np.zeros_like(origin)
        count += len(x)
        kept.append(x)
        if count > x.shape[1]:
            outer = np.zeros([x.shape[1]] * 2) if outer is None else outer
            for part in kept:
                y = part - origin
                outer += y.T @ y
                total += y.sum(0)
            kept = []
    if count < 2:
        raise ValueError(f"a spectrum needs at least 2 images, got {count}.")
    if outer is not None:
        mean = total / count
        matrix = outer / count - mean.T @ mean
    else:
        matrix = np.zeros([count, count])
        for start in range(0, origin.shape[1], _COLUMNS):
            block = slice(start, start + _COLUMNS)
            y = np.concatenate([part[:, block] for part in kept]) - origin[:, block]
            y -= y.mean(0)
            matrix += y @ y.T / count
    variance = float(np.trace(matrix))
    if not variance > 0:
        raise ValueError(f"the {count} images are all alike: they have no variance to share out.")
    values = np.linalg.eigvalsh(matrix)[::-1][: min(count - 1, origin.shape[1])]
    return Spectrum(np.maximum(values, 0.0), variance, count, (shape[0], shape[1], shape[2]))
