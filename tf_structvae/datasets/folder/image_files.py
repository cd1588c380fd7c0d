"""Image files of anybody's folder: decoded in full, or refused with a reason. No TensorFlow."""

from __future__ import annotations

import collections
import contextlib
import io
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")
# https://www.w3.org/TR/png-3/#11IHDR and #11IEND
_PNG_BIT_DEPTH = 24  # the byte that holds it
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk with its checksum
# Grey kept as lossy WebP comes back with channels one level apart.
_GREY_LEVELS = 2
_WHITE = (255, 255, 255)
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B")
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Refused(ValueError):
    """A file that cannot be used: `reason` says of which kind, `detail` what exactly."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Decoded(NamedTuple):
    """An upright image of mode "L" or "RGB", and whether the background shows through."""

    image: Image.Image
    transparent: bool


def decode(data: bytes, background: tuple[int, int, int] = _WHITE) -> Decoded:
    """Decodes all of a PNG, JPEG or WebP file.

    EXIF orientation is applied. 16 bits become 8, palettes their colours, CMYK what Pillow makes of
    it without the file's colour profile. Alpha that is opaque everywhere is dropped; other alpha,
    transparent palette entries and colour keys let the background through.

    Args:
      data: of the file.
      background: red, green and blue, 0 to 255.

    Raises:
      Refused: any other file. JPEG and WebP hold no checksum, so damage that leaves one decodable
        passes.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if not data:
        raise Refused("empty (zero bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_header(image, data)
            _check_end(image, data)
            image.load()
            return _on_background(_eight_bits(ImageOps.exif_transpose(image)), background)
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(_too_large(), str(error)) from error
    except UnidentifiedImageError as error:  # its own text names an object of Python
        if not data.startswith(_SIGNATURES):
            raise Refused("not a PNG, JPEG or WebP image") from error
        raise Refused("corrupt or truncated", "its header cannot be read") from error
    except Exception as error:  # Pillow raises nearly anything on a damaged file
        if not data.startswith(_SIGNATURES):
            raise Refused("not a PNG, JPEG or WebP image") from error
        raise Refused("corrupt or truncated", f"{type(error).__name__}: {error}") from error


def _too_large() -> str:
    from PIL import Image

    return f"more pixels than Pillow's limit of {Image.MAX_IMAGE_PIXELS}"


def _check_header(image: Image.Image, data: bytes) -> None:
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise Refused(_too_large(), f"{image.width} x {image.height}")
    # MPO is what cameras write: a JPEG photo, with previews of it behind
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        raise Refused("animated")
    if _is_16_bit(image, data) and image.mode == "RGB" and "transparency" in image.info:
        raise Refused("16-bit colour with a transparent colour")  # 8 bits do not tell which it is


def _is_16_bit(image: Image.Image, data: bytes) -> bool:
    return image.format == "PNG" and data[_PNG_BIT_DEPTH] == 16


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey, which Pillow would clip, by its nearest level; Pillow itself reduces colour."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    key = image.info.get("transparency")
    if key is None:
        return grey
    opaque = Image.fromarray(np.where(levels == key, 0, 255).astype(np.uint8))
    return Image.merge("LA", (grey, opaque))


def _on_background(image: Image.Image, background: tuple[int, int, int]) -> Decoded:
    """Source over background, in the numbers of the file, as browsers do it."""
    from PIL import Image

    grey = image.mode in _GREY_MODES
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            below = Image.new("RGBA", image.size, (*background, 255))
            grey = grey and len(set(background)) == 1
            laid = Image.alpha_composite(below, image).convert("RGB")
            return Decoded(laid.getchannel(0) if grey else laid, True)
    return Decoded(image.convert("RGB").getchannel(0) if grey else image.convert("RGB"), False)


def _check_end(image: Image.Image, data: bytes) -> None:
    """PNG's checksums, which decoding leaves out, and its end."""
    from PIL import Image

    if image.format != "PNG":
        return
    if _PNG_END not in data:
        raise Refused("corrupt or truncated", "the end of the file is missing")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        again.verify()


def has_colour(data: bytes, background: tuple[int, int, int] = _WHITE) -> bool:
    """Whether any pixel's channels differ by more than rounding.

    Args:
      data: of the file.
      background: see `decode`.

    Raises:
      Refused: see `decode`; not for a file that says it is grey, which needs no decoding.
    """
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.mode in _GREY_MODES and len(set(background)) == 1:
            return False
    pixels = np.asarray(decode(data, background).image.convert("RGB"), np.int16)
    return bool((pixels.max(-1) - pixels.min(-1)).max() > _GREY_LEVELS)


def in_threads(
    function: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Generator[tuple[_Item, _Result]]:
    """(item, function(item)) in the order of `items`, of which a few are in flight at a time.

    Pillow releases Python's lock where it decodes, resizes and encodes.
    """
    workers = min(32, (os.cpu_count() or 1) + 4)  # more than cores: some wait for their bytes
    pending: collections.deque[tuple[_Item, Future[_Result]]] = collections.deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(function, item)))
                if len(pending) >= 4 * workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:  # an error or an early end does not wait for the rest
            pool.shutdown(wait=False, cancel_futures=True)


def summarise(refused: list[tuple[str, Refused]], first: int = 10) -> str:
    """Counts per reason, most frequent first, and the first few paths of each."""
    groups: dict[str, list[str]] = {}
    for path, why in refused:
        note = f"{path} ({why.detail})" if why.detail else path
        groups.setdefault(why.reason, []).append(note)
    lines = []
    for reason, notes in sorted(groups.items(), key=lambda g: (-len(g[1]), g[0])):
        lines.append(f"{len(notes)} {reason}:")
        lines += [f"  {note}" for note in notes[:first]]
        if len(notes) > first:
            lines.append(f"  ... and {len(notes) - first} more")
    return "\n".join(lines)
