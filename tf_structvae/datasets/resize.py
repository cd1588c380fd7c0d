"""How an image of any size becomes one of the wanted size: the same for Pillow and TensorFlow.

Both backends take the same part of the source to the same part of the target, by the same kernel
(Keys' cubic, a = -1/2, widened where the image shrinks, so that nothing aliases) and in the same
two passes: across, then down, with uint8 in between. `keras.ops.image.resize` does not serve: it
crops whole pixels of the source and pads before it resizes, which ends up to 60 and 150 levels away
from Pillow (Keras 3.15.1, six sizes from 40x33 to 500x333). Sources:
https://doi.org/10.1109/TASSP.1981.1163711 (the kernel),
https://pillow.readthedocs.io/en/stable/handbook/concepts.html#filters,
https://www.tensorflow.org/api_docs/python/tf/raw_ops/ScaleAndTranslate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # either backend without the other
    import tensorflow as tf
    from PIL import Image

POLICIES = ("crop", "pad", "stretch")
CHANNELS = (1, 3)
# Pillow's 16-bit weights of R, G and B in ITU-R 601-2 luma (its mode "L")
_LUMA = (19595, 38470, 7471)


class Placement(NamedTuple):
    """A box of the source, in pixels of the source, and where it goes in the target.

    Numbers of Python, or scalar tensors.
    """

    box_top: Any
    box_left: Any
    box_height: Any
    box_width: Any
    top: Any
    left: Any
    height: Any
    width: Any


def check(size: tuple[int, int], policy: str, channels: int | None = None) -> None:
    """Refuses what no image can be fitted to.

    Args:
      size: (height, width) of the target.
      policy: one of `POLICIES`.
      channels: 1, 3 or None.

    Raises:
      ValueError: `size` is not (height, width) in whole pixels, `policy` is not one of `POLICIES`,
        or `channels` neither None nor one of `CHANNELS`.
    """
    pair = isinstance(size, (tuple, list)) and len(size) == 2
    if not pair or not all(type(n) is int and n > 0 for n in size):
        raise ValueError(f"image_size must be (height, width), both integers >= 1, got {size!r}.")
    if policy not in POLICIES:
        raise ValueError(f"fit must be one of {POLICIES}, got {policy!r}.")
    if channels is not None and channels not in CHANNELS:
        raise ValueError(f"channels must be 1, 3 or None, got {channels!r}.")


def place(
    height: Any,
    width: Any,
    size: tuple[int, int],
    policy: str,
    minimum: Callable[[Any, Any], Any] = min,
    maximum: Callable[[Any, Any], Any] = max,
) -> Placement:
    """Which part of a height x width source goes where in a target of `size`.

    Args:
      height: of the source; an integer, or an int64 scalar of TensorFlow.
      width: likewise.
      size: (height, width) of the target.
      policy: "crop" scales until the target is covered and cuts what hangs over, half on each
        side; "pad" scales until all is inside, half the bars on each side; "stretch" gives up the
        aspect ratio.
      minimum: of two such numbers.
      maximum: of two such numbers.
    """
    h, w = size
    if policy == "crop":
        # the largest box of the target's aspect ratio; its edges may lie within pixels
        area = minimum(height * w, width * h)  # of the box's height by w, and its width by h
        top, left = (height * w - area) / (2 * w), (width * h - area) / (2 * h)
        return Placement(top, left, area / w, area / h, 0, 0, h, w)
    if policy == "pad":
        # integer division, so that both backends round the same way
        inner_h = minimum(maximum((2 * height * w + width) // (2 * width), 1), h)
        inner_w = minimum(maximum((2 * width * h + height) // (2 * height), 1), w)
        top, left = (h - inner_h) // 2, (w - inner_w) // 2
        return Placement(0.0, 0.0, height, width, top, left, inner_h, inner_w)
    return Placement(0.0, 0.0, height, width, 0, 0, h, w)


def fit_pillow(image: Image.Image, size: tuple[int, int], policy: str = "crop") -> Image.Image:
    """Fits a Pillow image of mode "L" or "RGB" to `size` (height, width).

    An image of that size comes back as it is.

    Args:
      image: of mode "L" or "RGB".
      size: (height, width) of the target.
      policy: one of `POLICIES`.

    Returns:
      The image itself if it has that size, else a new one.

    Raises:
      ValueError: a wrong `size`, `policy` or mode.
    """
    from PIL import Image

    check(size, policy)
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"image must have mode 'L' or 'RGB', got {image.mode!r}.")
    p = place(image.height, image.width, size, policy)
    # one direction at a time, since the order that Pillow takes depends on its version
    box = (p.box_left, 0, p.box_left + p.box_width, image.height)
    across = image.resize((p.width, image.height), Image.Resampling.BICUBIC, box)
    box = (0, p.box_top, p.width, p.box_top + p.box_height)
    inner = across.resize((p.width, p.height), Image.Resampling.BICUBIC, box)
    if (p.height, p.width) == tuple(size):
        return inner
    target = Image.new(image.mode, (size[1], size[0]))
    target.paste(inner, (p.left, p.top))
    return target


def fit_tensor(image: tf.Tensor, size: tuple[int, int], policy: str = "crop") -> tf.Tensor:
    """`fit_pillow` for tensors, within `tf.data` too.

    Args:
      image: uint8 [H, W, C]; H and W may be unknown.
      size: (height, width).
      policy: one of `POLICIES`.

    Returns:
      uint8 [height, width, C], within one level of what Pillow gives.

    Raises:
      ValueError: a wrong `size`, `policy`, data type or rank.
    """
    import tensorflow as tf

    check(size, policy)
    _check_image(image)
    shape = tf.shape(image, tf.int64)
    p = place(shape[0], shape[1], size, policy, tf.minimum, tf.maximum)
    rows, columns = tf.cast(p.height, tf.int32), tf.cast(p.width, tf.int32)
    fitted = _resample(image[None], 2, p.box_left, p.box_width, columns)
    fitted = _resample(fitted, 1, p.box_top, p.box_height, rows)[0]
    if policy == "pad":
        top, left = tf.cast(p.top, tf.int32), tf.cast(p.left, tf.int32)
        fitted = tf.image.pad_to_bounding_box(fitted, top, left, *size)
    return tf.ensure_shape(fitted, (*size, image.shape[2]))


def _resample(image: tf.Tensor, axis: int, start: Any, length: Any, count: tf.Tensor) -> tf.Tensor:
    """`count` pixels along one axis of uint8 [1, H, W, C], from `length` pixels after `start`."""
    import tensorflow as tf

    scale = tf.cast(count, tf.float64) / tf.cast(length, tf.float64)
    shift = -tf.cast(start, tf.float64) * scale
    rows = axis == 1
    other = tf.shape(image)[2 if rows else 1]
    resampled = tf.raw_ops.ScaleAndTranslate(
        images=image,
        size=tf.stack([count, other] if rows else [other, count]),
        scale=tf.cast(tf.stack([scale, 1.0] if rows else [1.0, scale]), tf.float32),
        translation=tf.cast(tf.stack([shift, 0.0] if rows else [0.0, shift]), tf.float32),
        kernel_type="keyscubic",
        antialias=True,
    )
    # halves go up, as in Pillow; tf.round takes them to even
    return tf.cast(tf.clip_by_value(tf.floor(resampled + 0.5), 0.0, 255.0), tf.uint8)


def to_channels_pillow(image: Image.Image, channels: int) -> Image.Image:
    """`image` as mode "L" (1 channel: ITU-R 601 luma) or "RGB" (3: grey repeated).

    Args:
      image: of mode "L" or "RGB".
      channels: 1 or 3.
    """
    check((1, 1), "crop", channels)
    return image.convert("L" if channels == 1 else "RGB")


def to_channels_tensor(image: tf.Tensor, channels: int) -> tf.Tensor:
    """`to_channels_pillow` for a uint8 tensor [H, W, 1 or 3]; the same to the bit.

    Args:
      image: uint8 [H, W, 1 or 3].
      channels: 1 or 3.

    Raises:
      ValueError: wrong `channels`, data type, rank, or an image of other channels than 1 and 3.
    """
    import tensorflow as tf

    check((1, 1), "crop", channels)
    _check_image(image)
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return tf.repeat(image, 3, axis=2)
    luma = tf.reduce_sum(tf.cast(image, tf.int32) * _LUMA, axis=2, keepdims=True)
    return tf.cast((luma + 2**15) // 2**16, tf.uint8)


def _check_image(image: tf.Tensor) -> None:
    if image.dtype != "uint8" or image.shape.rank != 3 or image.shape[2] not in CHANNELS:
        raise ValueError(
            "image must be uint8 [height, width, 1 or 3 channels], got "
            f"{image.dtype.name} {image.shape}."
        )
