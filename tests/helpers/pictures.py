"""Image files, whole and broken, for the tests of image_folder."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tf_structvae.datasets.folder import image_files


def picture(height=20, width=24, mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), "u1")
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="PNG", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, colour, rows, **chunks):
    """A PNG by hand: https://www.w3.org/TR/png-3/."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    more = [(name.encode(), body) for name, body in chunks.items()]
    parts = (b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*p) for p in parts)


def pixels(data, background=(255, 255, 255)):
    return np.asarray(image_files.decode(data, background).image)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def bad_files():
    """name -> (bytes, how the reason starts)."""
    good, frames = picture(), [picture(seed=s) for s in (1, 2)]
    whole = encoded(good)
    jpeg, webp = encoded(good, "JPEG"), encoded(good, "WEBP")
    return {
        "zero.png": (b"", "empty"),
        "text.png": (b"no image at all", "not a PNG"),
        "gif.jpg": (encoded(good.convert("P"), "GIF"), "not a PNG"),
        "header_only.png": (whole[:20], "corrupt or truncated"),
        "half.png": (whole[: len(whole) // 2], "corrupt or truncated"),
        "no_end.png": (whole[:-2], "corrupt or truncated"),
        "flipped.png": (flipped(whole, len(whole) // 2), "corrupt or truncated"),
        "checksum.png": (flipped(whole, len(whole) - 14), "corrupt or truncated"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "corrupt or truncated"),
        "cut.jpg": (jpeg[:-40], "corrupt or truncated"),
        "half.webp": (webp[: len(webp) // 2], "corrupt or truncated"),
        "key16.png": (png(3, 2, 16, 2, bytes(2 * 19), tRNS=bytes(6)), "16-bit colour with"),
        "animated.png": (encoded(good, save_all=True, append_images=frames), "animated"),
        "animated.webp": (encoded(good, "WEBP", save_all=True, append_images=frames), "animated"),
        "bomb.png": (png(10**4, 10**4, 8, 0, b""), "more pixels"),
        "bigger_bomb.png": (png(10**5, 10**5, 8, 0, b""), "more pixels"),
        "no_pixels.png": (png(0, 5, 8, 0, b""), "corrupt or truncated"),
    }


BAD = bad_files()
