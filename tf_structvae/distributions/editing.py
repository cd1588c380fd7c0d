"""Interpolation of noise and edits of a few pixels: pure functions of arrays and distributions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_structvae.distributions.summary import StructuredNormal

_FIELDS = ("pixel", "colour", "brush", "name")


def slerp(a, b, t) -> tf.Tensor:
    """Spherical interpolation sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b (eq. 7).

    w is the angle between a and b. Where the great circle is not unique or has no length, the limit
    is taken: parallel or zero vectors are interpolated linearly; between opposite ones the path
    goes through a direction orthogonal to both.

    Args:
      a: [..., R].
      b: [..., R].
      t: [...] or scalar; 0 gives a, 1 gives b.

    Returns:
      [..., R].

    Raises:
      ValueError: shapes that do not fit each other.

    Examples:
      >>> import tf_structvae as sv
      >>> sv.editing.slerp([1.0, 0.0], [0.0, 1.0], 0.5).numpy().astype(float).round(3).tolist()
      [0.707, 0.707]
    """
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    if not a.shape[-1:].is_compatible_with(b.shape[-1:]) or 0 in (a.shape.rank, b.shape.rank):
        raise ValueError(f"a and b must be [..., R] of the same R, got {a.shape} and {b.shape}.")
    t = tf.convert_to_tensor(t, a.dtype)[..., tf.newaxis]
    norm_a, norm_b = (tf.norm(v, axis=-1, keepdims=True) for v in (a, b))
    unit_a = tf.math.divide_no_nan(a, norm_a)
    unit_b = tf.math.divide_no_nan(b, norm_b)
    # by half-angles: exact where the cosine is flat
    apart, together = (
        tf.norm(v, axis=-1, keepdims=True) for v in (unit_a - unit_b, unit_a + unit_b)
    )
    omega = 2.0 * tf.math.atan2(apart, together)
    tiny = tf.constant(1e-4, a.dtype)
    linear = (omega < tiny) | (norm_a == 0.0) | (norm_b == 0.0)
    opposite = ~linear & (together < tiny)
    sine = tf.where(linear | opposite, 1.0, tf.sin(omega))
    first = tf.where(linear, 1.0 - t, tf.sin((1.0 - t) * omega) / sine)
    second = tf.where(linear, t, tf.sin(t * omega) / sine)
    path = first * a + second * b
    radius = (1.0 - t) * norm_a + t * norm_b
    angle = t * omega
    around = radius * (tf.cos(angle) * unit_a + tf.sin(angle) * _orthogonal(unit_a))
    return tf.where(opposite, around, path)


def _orthogonal(unit: tf.Tensor) -> tf.Tensor:
    """A unit vector orthogonal to `unit` [..., R], the same for the same vector; R >= 2."""
    axis = tf.one_hot(tf.argmin(tf.abs(unit), axis=-1), tf.shape(unit)[-1], dtype=unit.dtype)
    rest = axis - tf.reduce_sum(axis * unit, axis=-1, keepdims=True) * unit
    return tf.math.divide_no_nan(rest, tf.norm(rest, axis=-1, keepdims=True))


def slerp_grid(corners, rows: int, columns: int) -> tf.Tensor:
    """Noise between four corners (Fig. 3): slerp along both sides, then between the results.

    Args:
      corners: [..., 4, R]: top left, top right, bottom left, bottom right.
      rows: at least 2.
      columns: at least 2.

    Returns:
      [..., rows, columns, R], whose corners are the given ones.

    Raises:
      ValueError: not four corners, or fewer than two rows or columns.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> sv.editing.slerp_grid(np.eye(4, 25, dtype=np.float32), rows=5, columns=7).shape.as_list()
      [5, 7, 25]
    """
    corners = tf.convert_to_tensor(corners)
    if corners.shape.rank is None or corners.shape.rank < 2 or corners.shape[-2] != 4:
        raise ValueError(f"corners must be [..., 4, R], got {corners.shape}.")
    for name, count in (("rows", rows), ("columns", columns)):
        if count < 2:
            raise ValueError(f"{name} must be at least 2, got {count}.")
    a, b, c, d = (v[..., tf.newaxis, :] for v in tf.unstack(corners, axis=-2))
    across = tf.cast(np.linspace(0, 1, columns), corners.dtype)
    down = tf.cast(np.linspace(0, 1, rows), corners.dtype)[:, tf.newaxis]
    top, bottom = slerp(a, b, across), slerp(c, d, across)
    return slerp(top[..., tf.newaxis, :, :], bottom[..., tf.newaxis, :, :], down)


class Edit(NamedTuple):
    """A disc painted with one colour.

    Attributes:
      pixel: (row, column) of its centre.
      colour: one number in [0, 1] for each channel.
      brush: radius in pixels; below one it is a single pixel.
      name: what it is called in a figure.
    """

    pixel: tuple[int, int]
    colour: tuple[float, ...]
    brush: float = 0.0
    name: str = ""


class Step(NamedTuple):
    """What one edit of a sequence did, [B, H, W, C] each."""

    edit: Edit
    painted: np.ndarray  # the picture before it, with the disc painted over
    mean: np.ndarray  # of the conditional distribution given this edit and those before


def parse_edits(script: Any, image_shape: tuple[int, int, int]) -> list[Edit]:
    """Edits as JSON gives them, checked.

    ```none
    [{"pixel": [8, 30], "colour": "#a02040", "brush": 2, "name": "hair"}, ...]
    ```

    `colour` is a list of numbers in [0, 1], one a channel, "#rrggbb", or one number for a grey.
    `brush` and `name` may be left out.

    Args:
      script: a list of mappings.
      image_shape: (H, W, C).

    Raises:
      ValueError: anything else, with the place in the script.

    Examples:
      >>> import tf_structvae as sv
      >>> sv.editing.parse_edits([{"pixel": [2, 3], "colour": "#ff0000"}], (8, 8, 3))
      [Edit(pixel=(2, 3), colour=(1.0, 0.0, 0.0), brush=0.0, name='')]
    """
    if not isinstance(script, Sequence) or isinstance(script, str) or not script:
        raise ValueError(f"edits must be a list of at least one edit, got {script!r}.")
    return [_parse_edit(f"edits[{i}]", e, image_shape) for i, e in enumerate(script)]


def _parse_edit(where: str, edit: Any, image_shape: tuple[int, int, int]) -> Edit:
    if not isinstance(edit, Mapping) or not {"pixel", "colour"} <= set(edit) <= set(_FIELDS):
        raise ValueError(
            f"{where} must be an object with pixel and colour, perhaps brush and name, "
            f"and nothing else; got {edit!r}."
        )
    h, w, channels = image_shape
    pixel, brush, name = edit["pixel"], edit.get("brush", 0), edit.get("name", "")
    whole = isinstance(pixel, Sequence) and len(pixel) == 2 and all(type(v) is int for v in pixel)
    if not (whole and 0 <= pixel[0] < h and 0 <= pixel[1] < w):
        raise ValueError(
            f"{where}.pixel must be [row, column], two whole numbers inside the image of {h}x{w}; "
            f"got {pixel!r}."
        )
    if not (_is_number(brush) and brush >= 0):
        raise ValueError(f"{where}.brush must be a radius in pixels >= 0, got {brush!r}.")
    if not isinstance(name, str):
        raise ValueError(f"{where}.name must be a text, got {name!r}.")
    colour = _parse_colour(f"{where}.colour", edit["colour"], channels)
    return Edit((pixel[0], pixel[1]), colour, float(brush), name)


def _parse_colour(where: str, colour: Any, channels: int) -> tuple[float, ...]:
    values: list = []
    if isinstance(colour, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
        values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    elif _is_number(colour):
        values = [colour]
    elif isinstance(colour, Sequence) and not isinstance(colour, str):
        values = list(colour)
    good = len(values) > 0 and all(_is_number(v) and 0 <= v <= 1 for v in values)
    if good and len(set(values)) == 1 and len(values) in (1, 3):
        values = values[:1] * channels  # a grey, which fits any image
    if not good or len(values) != channels:
        raise ValueError(
            f"{where} must be {channels} numbers in [0, 1], one a channel"
            f"{', #rrggbb' if channels == 3 else ''} or one number for a grey; got {colour!r}."
        )
    return tuple(float(v) for v in values)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def disc(edit: Edit, image_shape: tuple[int, int, int]) -> np.ndarray:
    """The pixels that an edit paints: those no further than `brush` from its centre.

    Args:
      edit: what is painted.
      image_shape: (H, W, C).

    Returns:
      bool [H, W].
    """
    rows, columns = np.ogrid[: image_shape[0], : image_shape[1]]
    squared = (rows - edit.pixel[0]) ** 2 + (columns - edit.pixel[1]) ** 2
    return squared <= edit.brush**2


def edit_sequence(
    p,
    edits: Sequence[Edit],
    image_shape: tuple[int, int, int],
    noise_variance: float | None = None,
) -> list[Step]:
    """Paints one edit after the other and lets the rest of the picture follow (4.4, Fig. 5).

    After each edit the picture is the mean of p given all pixels painted so far (eq. 6); where
    discs overlap, the later one counts.

    Args:
      p: a `LowRankMultivariateNormal` or `LocalLowRankNormal`, batch [B], event [H * W * C].
      edits: in the order in which they are made.
      image_shape: (H, W, C).
      noise_variance: of the painted values; None and zero take them as exact.

    Returns:
      One `Step` an edit; the picture before the first is the mean of p.

    Raises:
      TypeError: p is another distribution.
      ValueError: its entries are not those of an image of that shape.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> grey, factor = np.full([1, 64], 0.5, np.float32), np.full([1, 64, 1], 0.1, np.float32)
      >>> p = sv.distributions.LowRankMultivariateNormal(grey, factor, 1e-5)
      >>> [step] = sv.editing.edit_sequence(p, [sv.editing.Edit((4, 4), (0.9,))], (8, 8, 1))
      >>> round(float(step.mean[0, 0, 0, 0]), 2)  # all pixels move together here
      0.9
    """
    if not isinstance(p, StructuredNormal):
        raise TypeError(f"p must be a low-rank or local normal, got {type(p).__name__}.")
    if math.prod(image_shape) != p.event_shape[0]:
        raise ValueError(
            f"image_shape must have the {p.event_shape[0]} entries of p, got {tuple(image_shape)}."
        )
    shown = np.reshape(p.mean(), [-1, *image_shape])
    mask, value = np.zeros(image_shape, bool), np.zeros(image_shape, shown.dtype)
    steps = []
    for edit in edits:
        inside = disc(edit, image_shape)
        mask[inside], value[inside] = True, edit.colour
        painted = np.where(inside[..., np.newaxis], value, shown)
        given = p.condition(mask.ravel(), value.ravel(), noise_variance)
        shown = np.reshape(given.mean(), shown.shape)
        steps.append(Step(edit, painted, shown))
    return steps
