"""How well samples of label maps agree with several annotators."""

from __future__ import annotations

import numpy as np


def _maps(name: str, maps) -> np.ndarray:
    maps = np.asarray(maps)
    if maps.ndim < 2 or not len(maps) or maps.dtype.kind not in "biu":
        raise ValueError(
            f"{name} must be integer label maps [M, ...] with M >= 1, got {maps.dtype} "
            f"{maps.shape}."
        )
    return maps.reshape(len(maps), -1)


def _overlaps(a, b, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of each foreground class in both, in a and in b, each [K - 1, M, L]; a pixel with a
    negative label in either map counts in none."""
    a, b = _maps("a", a), _maps("b", b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a and b must have as many pixels, got {a.shape} and {b.shape}.")
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes!r}.")
    known_a, known_b = (a >= 0).astype(np.float64), (b >= 0).astype(np.float64)
    both, in_a, in_b = [], [], []
    for c in range(1, classes):
        of_a, of_b = (a == c).astype(np.float64), (b == c).astype(np.float64)
        both.append(of_a @ of_b.T)
        in_a.append(of_a @ known_b.T)
        in_b.append(known_a @ of_b.T)
    return np.array(both), np.array(in_a), np.array(in_b)


def _given(annotations) -> np.ndarray:
    """Those of annotators who have a map: one of negative labels alone would agree with all."""
    found = _maps("annotations", annotations)
    found = found[(found >= 0).any(-1)]
    if not len(found):
        raise ValueError("annotations must hold at least one map with a label of 0 or more.")
    return found


def _ratio(part, whole):
    """1 where both maps are without the class."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def intersection_over_union(a, b, classes: int = 2) -> np.ndarray:
    """Of each map of a with each of b, mean over the foreground classes, [M, L].

    A class that neither map has counts as 1; pixels whose label is negative do not count.

    Args:
      a: labels, int [M, ...].
      b: labels, int [L, ...].
      classes: K, of which 0 is the background.

    Raises:
      ValueError: labels of another kind or shape.
    """
    both, in_a, in_b = _overlaps(a, b, classes)
    return _ratio(both, in_a + in_b - both).mean(0)


def dice(a, b, classes: int = 2) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) of each map of a with each of b, as `intersection_over_union`.

    Args:
      a: labels, int [M, ...].
      b: labels, int [L, ...].
      classes: K.
    """
    both, in_a, in_b = _overlaps(a, b, classes)
    return _ratio(2 * both, in_a + in_b).mean(0)


def generalised_energy_distance(samples, annotations, classes: int = 2) -> float:
    """2 E d(S, Y) - E d(S, S') - E d(Y, Y') with d = 1 - IoU: 0 where the two are one distribution.

    The squared distance of Szekely & Rizzo (2013) as Kohl et al. (2018) use it: the means run over
    all pairs, a map with itself included, so a few samples of the right distribution give a number
    above 0.

    Args:
      samples: of one image, int [M, ...].
      annotations: of the same image, int [A, ...].
      classes: K.
    """

    annotations = _given(annotations)

    def distance(a, b):
        return float(np.mean(1 - intersection_over_union(a, b, classes)))

    cross = distance(samples, annotations)
    return 2 * cross - distance(samples, samples) - distance(annotations, annotations)


def hungarian_iou(samples, annotations, classes: int = 2) -> float:
    """Mean IoU under the best one-to-one matching of samples and annotations (Kohl et al. 2019).

    Each side is repeated to the least common multiple of the two counts.

    Args:
      samples: of one image, int [M, ...].
      annotations: of the same image, int [A, ...].
      classes: K.
    """
    from scipy.optimize import linear_sum_assignment

    found = intersection_over_union(samples, _given(annotations), classes)
    whole = int(np.lcm(*found.shape))
    repeated = np.tile(found, [whole // found.shape[0], whole // found.shape[1]])
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())


def diversity(samples, classes: int = 2) -> float:
    """E d(S, S') over pairs of different samples, d = 1 - IoU; of one sample 0.

    Args:
      samples: of one image, int [M, ...].
      classes: K.
    """
    found = 1 - intersection_over_union(samples, samples, classes)
    count = len(found)
    return float((found.sum() - np.trace(found)) / max(count * (count - 1), 1))
