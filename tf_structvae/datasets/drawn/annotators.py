"""Shapes that several annotators outline differently, with a known correlation between them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tf_structvae.utilities import checks

_REACH = 0.07  # of the outline's move by one unit of style, in image sides
_BLUR = 0.14  # half the width of the rim in the image
_NOISE = 0.08


class AnnotatedShapes(NamedTuple):
    """Images and what each annotator says of them."""

    images: np.ndarray  # float32 [B, size, size, 1], in [0, 1]
    labels: np.ndarray  # int32 [B, size, size, A]: 0 background, 1 shape
    styles: np.ndarray  # how generous each annotator was with each image, [B, A]


def draw_annotated_shapes(
    count: int,
    size: int = 32,
    annotators: int = 4,
    correlation: float = 0.5,
    seed: int = 0,
) -> AnnotatedShapes:
    """Random blobs with a soft rim, outlined by annotators of unlike generosity.

    With an image each annotator has a style s ~ N(0, 1), and two of them have styles with the given
    correlation; the outline is the blob's, moved outwards by 0.07 s of the image's side. A second,
    faint blob beside it belongs to the shape for those with s > 0. The image shows neither the
    style nor the outline: only a rim as wide as what the styles make of it.

    Args:
      count: B.
      size: of the square images, in pixels, at least 8.
      annotators: A.
      correlation: of the styles of two annotators, in [0, 1].
      seed: of everything; image k is the same whatever the count.

    Raises:
      ValueError: an argument outside its range.

    Examples:
      >>> import tf_structvae as sv
      >>> shapes = sv.datasets.draw_annotated_shapes(10, annotators=3)
      >>> shapes.images.shape, shapes.labels.shape
      ((10, 32, 32, 1), (10, 32, 32, 3))
    """
    checks.integer("count", count)
    checks.integer("size", size, 8)
    checks.integer("annotators", annotators)
    if not (checks.is_finite(correlation) and 0 <= correlation <= 1):
        raise ValueError(f"correlation must be a number in [0, 1], got {correlation!r}.")
    drawn = [
        _one(np.random.default_rng([seed, k]), size, annotators, correlation) for k in range(count)
    ]
    images, labels, styles = (np.stack(x) for x in zip(*drawn, strict=True))
    return AnnotatedShapes(images.astype(np.float32), labels.astype(np.int32), styles)


def _one(rng, size: int, annotators: int, correlation: float):
    common, own = rng.standard_normal(), rng.standard_normal(annotators)
    styles = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    y, x = (np.indices((size, size)) + 0.5) / size
    centre = rng.uniform(0.4, 0.6, 2)
    radius = rng.uniform(0.18, 0.26)
    phases, waves = rng.uniform(0, 2 * np.pi, 3), rng.normal(0, 0.06, 3)
    dy, dx = y - centre[0], x - centre[1]
    angle = np.arctan2(dy, dx)
    outline = radius * (
        1
        + sum(
            w * np.cos((k + 2) * angle + f)
            for k, (w, f) in enumerate(zip(waves, phases, strict=True))
        )
    )
    inside = outline - np.hypot(dy, dx)  # positive within the blob
    direction = rng.uniform(0, 2 * np.pi)
    place = centre + 1.9 * radius * np.array([np.sin(direction), np.cos(direction)])
    beside = 0.45 * radius - np.hypot(y - place[0], x - place[1])

    main = inside[..., None] + _REACH * styles > 0
    faint = (beside[..., None] > 0) & (styles > 0)
    light = np.clip(0.5 + inside / (2 * _BLUR), 0, 1)
    light = np.maximum(light, 0.5 * np.clip(0.5 + beside / 0.05, 0, 1))
    image = 0.15 + 0.7 * light + _NOISE * rng.standard_normal((size, size))
    return np.clip(image, 0, 1)[..., None], main | faint, styles
