"""image_folder: what becomes of one file."""

import io

import numpy as np
import pytest
from pictures import BAD, encoded, flipped, picture, pixels, png
from PIL import Image

from tf_structvae.datasets.folder import image_files


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_files_are_refused_with_a_reason():
    for name, (data, reason) in BAD.items():
        with pytest.raises(image_files.Refused) as caught:
            image_files.decode(data)
        assert caught.value.reason.startswith(reason), name


def test_no_damage_passes_that_changes_pixels():
    """A cut file is refused, or lacks nothing but an end mark; a changed PNG likewise."""
    small = picture(6, 5)
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encoded(small, kind)
        whole = pixels(data)
        damaged = [data[:n] for n in range(len(data))]
        if kind == "PNG":  # the others hold no checksum
            damaged += [flipped(data, at) for at in range(len(data))]
        refused = 0
        for d in damaged:
            try:
                np.testing.assert_array_equal(pixels(d), whole)
            except image_files.Refused:
                refused += 1
        assert refused > 0.95 * len(damaged)


def test_good_files_decode_as_pillow_does():
    for kind in ("PNG", "JPEG", "WEBP"):
        for mode in ("1", "L", "P", "RGB"):
            image = picture(mode="RGB" if mode == "P" and kind != "PNG" else mode)
            data = encoded(image, kind)
            decoded, transparent = image_files.decode(data)
            assert not transparent
            assert decoded.mode == ("L" if mode in ("1", "L") and kind != "WEBP" else "RGB")
            expected = Image.open(io.BytesIO(data)).convert(decoded.mode)
            np.testing.assert_array_equal(np.asarray(decoded), np.asarray(expected))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_opaque_alpha_is_dropped(kind):
    """As most drawing programs write it."""
    for mode, kept in (("RGBA", "RGB"), ("LA", "L")):
        image = picture(mode=kept)
        data = encoded(image.convert(mode), kind, lossless=True)
        decoded, transparent = image_files.decode(data, (255, 0, 0))
        assert not transparent
        assert decoded.mode == (kept if kind == "PNG" else "RGB")
        np.testing.assert_array_equal(np.asarray(decoded.convert(kept)), np.asarray(image))


def test_transparency_shows_the_background():
    """Source over: https://www.w3.org/TR/compositing-1/#porterduffcompositingoperators_srcover."""
    rng, below = np.random.default_rng(0), np.array([10, 200, 90])
    rgba = rng.integers(0, 256, (9, 11, 4), np.uint8)
    rgba[0, 0, 3], rgba[0, 1, 3] = 0, 255
    alpha = rgba[..., 3:] / 255
    expected = alpha * rgba[..., :3] + (1 - alpha) * below
    for kind in ("PNG", "WEBP"):
        data = encoded(Image.fromarray(rgba), kind, lossless=True, exact=True)
        decoded, transparent = image_files.decode(data, tuple(below))
        assert transparent
        assert decoded.mode == "RGB"
        assert np.abs(np.asarray(decoded) - expected).max() <= 1  # Pillow rounds once or twice
    grey = Image.fromarray(rgba[..., 2:])
    assert grey.mode == "LA"
    on_white, transparent = image_files.decode(encoded(grey))
    assert (on_white.mode, transparent) == ("L", True)
    expected = alpha * rgba[..., 2:3] + (1 - alpha) * 255
    assert np.abs(np.asarray(on_white) - expected[..., 0]).max() <= 1
    assert image_files.decode(encoded(grey), (255, 0, 0)).image.mode == "RGB"
    assert not image_files.has_colour(encoded(grey))
    assert image_files.has_colour(encoded(grey), (255, 0, 0))


def test_transparent_colours_show_the_background():
    """Those of palettes and colour keys, section 11.3.1.1 of the PNG specification."""
    image = picture(mode="P")
    index = int(np.asarray(image)[5, 7])
    data = encoded(image, transparency=index)
    here = np.asarray(image) == index
    expected = np.asarray(image.convert("RGB"))
    assert image_files.decode(data).transparent
    np.testing.assert_array_equal(
        pixels(data, (1, 2, 3)), np.where(here[..., None], [1, 2, 3], expected)
    )
    for mode in ("RGB", "L", "1"):
        image = picture(mode=mode)
        whole = np.asarray(image.convert("RGB" if mode == "RGB" else "L"))
        key = whole[5, 7]
        data = encoded(image, transparency=tuple(map(int, key)) if mode == "RGB" else int(key))
        here = np.all(whole == key, -1) if mode == "RGB" else whole == key
        assert np.all(pixels(data)[here] == 255)
        np.testing.assert_array_equal(pixels(data)[~here], whole[~here])
        assert np.all(pixels(data, (1, 2, 3))[here] == [1, 2, 3])
        unused = encoded(picture(mode="L").point(lambda v: max(v, 9)), transparency=3)
        assert not image_files.decode(unused).transparent


def test_16_bits_become_8():
    levels = np.array([[0, 128, 129, 257, 32767], [32768, 40000, 65279, 65407, 65535]])
    expected = np.rint(levels / 257)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    np.testing.assert_array_equal(pixels(png(5, 2, 16, 0, raw)), expected)
    keyed = png(5, 2, 16, 0, raw, tRNS=np.array([40000], ">u2").tobytes())
    assert image_files.decode(keyed).transparent
    np.testing.assert_array_equal(pixels(keyed), np.where(levels == 40000, 255, expected))
    colour = np.stack([levels, levels[::-1], levels[:, ::-1]], -1)
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    got = pixels(png(5, 2, 16, 2, raw)).astype(int)
    assert np.abs(got - colour / 257).max() <= 1  # Pillow keeps the upper byte


def test_cmyk_is_as_pillow_converts_it():
    data = encoded(picture().convert("CMYK"), "JPEG")
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(pixels(data), np.asarray(expected))


def test_jpeg_with_previews_behind_is_no_animation():
    """Multi-Picture Format (CIPA DC-007), which cameras write."""
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    np.testing.assert_array_equal(pixels(data), pixels(encoded(picture(), "JPEG")))


def test_colour_is_seen_in_pixels():
    grey, colour = picture(mode="L"), picture()
    for kind in ("PNG", "JPEG", "WEBP"):
        assert not image_files.has_colour(encoded(grey, kind))
        assert not image_files.has_colour(encoded(grey.convert("RGB"), kind))
        assert image_files.has_colour(encoded(colour, kind))
    assert image_files.has_colour(encoded(colour.convert("P")))


def test_exif_orientation():
    """The tag tells where row 0 and column 0 of the file are in what is seen."""
    seen = np.asarray(picture(5, 7))
    stored = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: seen.transpose(1, 0, 2),  # row 0 is the left side, column 0 the top
        6: seen[:, ::-1].transpose(1, 0, 2),  # row 0 is the right side, column 0 the top
        7: seen[::-1, ::-1].transpose(1, 0, 2),  # right side, bottom
        8: seen[::-1].transpose(1, 0, 2),  # left side, bottom
    }
    for orientation, rows in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(rows))
        for mode in ("RGB", "RGBA"):
            np.testing.assert_array_equal(pixels(encoded(image.convert(mode), exif=exif)), seen)


def test_in_threads_keeps_order_and_a_bounded_window():
    taken = []
    results = image_files.in_threads(lambda i: i * i, (taken.append(i) or i for i in range(1000)))
    assert next(results) == (0, 0)
    assert len(taken) <= 4 * 32
    assert list(results) == [(i, i * i) for i in range(1, 1000)]
