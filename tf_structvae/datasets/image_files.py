"""Image files of anybody's folder: decoded in full, or refused with a reason. No TensorFlow."""

from __future__ import annotations

import collections
import contextlib
import io
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = ("PNG", "JPEG", "WEBP")
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")
# https://www.w3.org/TR/png-3/#11IHDR and #11IEND
_PNG_BIT_DEPTH = 24  # the byte that holds it
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk with its checksum
_ORIENTATION = 0x0112  # the EXIF tag
# Grey kept as lossy WebP comes back with channels one level apart.
_GREY_LEVELS = 2
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Refused(ValueError):
    """A file that cannot be used: `reason` says of which kind, `detail` what exactly."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


def decode(data: bytes) -> Image.Image:
    """Decodes all of a PNG, JPEG or WebP file of 8-bit grey, colour or opaque palette.

    Returns:
      An upright image (EXIF orientation applied) of mode "L" or "RGB".

    Raises:
      Refused: any other file. JPEG and WebP hold no checksum, so damage that leaves one decodable
        passes.
    """
    from PIL import Image

    if not data:
        raise Refused("empty (zero bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_header(image, data)
            _check_end(image, data)
            image.load()
            upright = _upright(image)
            return upright.convert("L" if image.mode in ("1", "L") else "RGB")
    except Refused:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Refused(_too_large(), str(error)) from error
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
    # Pillow decodes 16-bit colour to 8 bits without a word
    if (image.format == "PNG" and data[_PNG_BIT_DEPTH] == 16) or image.mode.startswith("I"):
        raise Refused("16 bits a channel")
    if image.mode == "CMYK":
        raise Refused("CMYK")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        raise Refused("alpha channel or transparency", f"mode {image.mode}")
    if image.mode not in ("1", "L", "P", "RGB"):
        raise Refused("neither 8-bit grey nor RGB", f"mode {image.mode}")


def _check_end(image: Image.Image, data: bytes) -> None:
    """PNG's checksums, which decoding leaves out, and its end."""
    from PIL import Image

    if image.format != "PNG":
        return
    if _PNG_END not in data:
        raise Refused("corrupt or truncated", "the end of the file is missing")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        again.verify()


def _upright(image: Image.Image) -> Image.Image:
    """Applies the tag Orientation of EXIF 2.3 (CIPA DC-008-2012)."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(image.getexif().get(_ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)


def has_colour(data: bytes) -> bool:
    """Whether any pixel's channels differ by more than rounding.

    Raises:
      Refused: see `decode`; not for a file that says it is grey, which needs no decoding.
    """
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.mode in ("1", "L"):
            return False
    pixels = np.asarray(decode(data).convert("RGB"), np.int16)
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
