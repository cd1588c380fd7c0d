import subprocess
import sys

import numpy as np
import pytest

from tf_structvae.datasets.drawn import brain_drawing as drawing
from tf_structvae.datasets.drawn.brains import Brains

CAPTION = "One real anatomy (MNI152, an average of 152 people), synthetic variation"
PLAIN = {
    "ventricle_scale": 1.0,
    "contrast": 1.0,
    "brightness": 1.0,
    "bias_strength": 0.0,
    "warp_mm": 0.0,
    "rotation": 0.0,
    "scale": 1.0,
    "shift_y_mm": 0.0,
    "shift_x_mm": 0.0,
}


def plain(**changes):
    """A slice as it is in the template, but for `changes`."""
    return drawing.draw_attributes(0, "train", 0) | PLAIN | {"z_mm": 10.0} | changes


def contact_sheet(rows=4, columns=8, size=96, gap=2):
    """The first slices of the training split, with the caption above; docs/images/brains.png."""
    from PIL import Image, ImageDraw, ImageFont

    step, top = size + gap, 28
    sheet = Image.new("L", (columns * step + gap, top + rows * step), 0)
    ImageDraw.Draw(sheet).text((gap + 4, 5), CAPTION, 255, font=ImageFont.load_default(15))
    for i in range(rows * columns):
        image, _ = drawing.draw(0, "train", i, size, size)
        place = (gap + i % columns * step, top + i // columns * step)
        sheet.paste(Image.fromarray(image), place)
    return sheet


def test_drawing_depends_on_seed_split_and_index_alone():
    one, _ = drawing.draw(0, "train", 3, 24, 20)
    assert (one.shape, one.dtype) == ((24, 20), np.uint8)
    code = (
        "from tf_structvae.datasets.drawn.brain_drawing import draw; import sys;"
        "draw(5, 'test', 1, 16, 16);"
        "sys.stdout.buffer.write(draw(0, 'train', 3, 24, 20)[0].tobytes());"
        "assert 'tensorflow' not in sys.modules"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert other == one.tobytes()
    for changed in ((1, "train", 3), (0, "test", 3), (0, "train", 4)):
        assert np.any(drawing.draw(*changed, 24, 20)[0] != one)


def test_factors_vary_independently():
    """Correlations of 3000 slices within 4.5 / sqrt(n), of the factors and of their squares."""
    n = 3000
    rows = []
    for i in range(n):
        a = drawing.draw_attributes(0, "train", i)
        waves = (a["warp_waves"][0, 0, 1], a["bias_waves"][0, 0, 1])  # one of each field
        rows.append([*(a[k] for k in drawing.ATTRIBUTES), *waves])
    factors = np.array(rows)
    assert np.all(factors.std(0) > 0)
    squares = (factors - factors.mean(0)) ** 2
    for values in (factors, squares):
        correlation = np.corrcoef(values.T) - np.eye(values.shape[1])
        assert np.abs(correlation).max() < 4.5 / n**0.5


def reference_slice(z_mm, pixels, fine):
    """Trilinear interpolation in loops, from nilearn's own array, in float64, then averages."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    data, origin = np.asarray(image.get_fdata(), np.float64), image.affine[:3, 3]
    assert np.array_equal(image.affine[:3, :3], np.eye(3))
    step = drawing.FIELD_OF_VIEW / (pixels * fine)
    result = np.zeros((pixels, pixels))
    for row in range(pixels * fine):
        for column in range(pixels * fine):
            y = drawing.CENTRE[0] + drawing.FIELD_OF_VIEW / 2 - (row + 0.5) * step  # nose up
            x = drawing.CENTRE[1] - drawing.FIELD_OF_VIEW / 2 + (column + 0.5) * step
            place = np.array([x, y, z_mm]) - origin
            low = np.floor(place).astype(int)
            if np.any(low[:2] < 0) or np.any(low[:2] + 2 > data.shape[:2]):
                continue
            value = data[tuple(slice(i, i + 2) for i in low)]
            for weight in place - low:
                value = (1 - weight) * value[0] + weight * value[1]
            result[row // fine, column // fine] += value / fine**2
    return result


def test_plain_slice_is_the_template_resampled():
    expected = reference_slice(7.3, 24, 8)
    assert expected.max() > 0.7
    np.testing.assert_allclose(drawing.render(plain(z_mm=7.3), 24, 24), expected, atol=2e-6)


def test_top_and_bottom_of_the_range():
    for z in drawing.Z_RANGE:
        near = drawing.render(plain(z_mm=z), 24, 24)
        inside = np.clip(z, drawing.Z_RANGE[0] + 1e-4, drawing.Z_RANGE[1] - 1e-4)
        np.testing.assert_allclose(near, drawing.render(plain(z_mm=inside), 24, 24), atol=1e-4)


def test_pose():
    still = drawing.render(plain(), 96, 96)
    two_pixels = 2 * drawing.FIELD_OF_VIEW / 96
    up = drawing.render(plain(shift_y_mm=two_pixels), 96, 96)
    np.testing.assert_allclose(up, np.roll(still, -2, axis=0), atol=1e-6)
    right = drawing.render(plain(shift_x_mm=two_pixels), 96, 96)
    np.testing.assert_allclose(right, np.roll(still, 2, axis=1), atol=1e-6)
    turned = drawing.render(plain(rotation=90.0), 96, 96)
    np.testing.assert_allclose(turned, np.rot90(still), atol=1e-6)
    larger = drawing.positions(plain(scale=1.25), 96, 96)
    for axis, at in enumerate(drawing.positions(plain(), 96, 96)):
        expected = drawing.CENTRE[axis] + (at - drawing.CENTRE[axis]) / 1.25
        np.testing.assert_allclose(larger[axis], expected, atol=1e-9)


def test_sizes_of_warp_and_bias_are_root_mean_squares():
    for index in range(5):
        waves = drawing.draw_attributes(0, "train", index)
        waves = {k: waves[k] for k in ("warp_waves", "bias_waves")}
        y, x = drawing.positions(plain(warp_mm=3.0, **waves), 48, 48)
        y0, x0 = drawing.positions(plain(), 48, 48)
        distance = (np.mean((y - y0) ** 2 + (x - x0) ** 2)) ** 0.5
        np.testing.assert_allclose(distance, 3.0, rtol=1e-6)
        biased, flat = (
            drawing.render(plain(bias_strength=s, **waves), 48, 48) for s in (0.12, 0.0)
        )
        seen = flat > 0.1
        expected = 0.12 * drawing._field(waves["bias_waves"], 48, 48)[0]
        np.testing.assert_allclose(np.mean(expected**2) ** 0.5, 0.12, rtol=1e-6)
        np.testing.assert_allclose(np.log(biased[seen] / flat[seen]), expected[seen])


def test_contrast_and_brightness():
    flat = drawing.render(plain(), 192, 192)  # one sample a pixel, so that no average is between
    changed = drawing.render(plain(contrast=1.6, brightness=0.8), 192, 192)
    np.testing.assert_allclose(changed, 0.8 * flat**1.6, atol=1e-6)


def jacobian(a, pixels=144):
    """Determinant of the map from picture to template by finite differences, mm per mm."""
    y, x = drawing.positions(a, pixels, pixels)
    step = drawing.FIELD_OF_VIEW / pixels
    (yy, yx), (xy, xx) = np.gradient(y, step), np.gradient(x, step)
    return -(yy * xx - yx * xy)  # rows run against y


def test_maps_are_one_to_one():
    np.testing.assert_allclose(jacobian(plain()), 1.0, atol=1e-6)
    np.testing.assert_allclose(jacobian(plain(scale=0.8)), 1 / 0.64, atol=1e-6)
    for index in range(200):
        assert jacobian(drawing.draw_attributes(0, "train", index)).min() > 0.1
    extreme = {"warp_mm": 4.0, "scale": 1.04, "ventricle_scale": np.exp(0.4)}
    for index in range(200):
        assert jacobian(drawing.draw_attributes(0, "test", index) | extreme).min() > 0.0


@pytest.mark.parametrize("z_mm", [4.0, 10.0, 16.0, 22.0])
def test_ventricle_scale_is_about_the_ratio_of_areas(z_mm):
    """Dark area inside the brain, in a box around the ventricles, without the midline behind."""
    y, x = drawing.positions(plain(), 192, 192)
    box = (abs(x) < 34) & (abs(y + 10) < 42) & ((abs(x) > 12) | (y > -20))
    areas = []
    for scale in np.exp([-0.5, -0.25, 0.0, 0.2, 0.4]):
        image = drawing.render(plain(z_mm=z_mm, ventricle_scale=scale), 192, 192)
        areas.append(np.sum(box & (image > 0.05) & (image < 0.5)))
    assert np.all(np.diff(areas) > 0)
    ratios = np.array(areas) / areas[2]
    assert 0.5 < ratios[0] < 0.8
    assert 1.2 < ratios[-1] < 1.6


def test_ventricle_scale_leaves_the_outside_alone():
    small, large = (drawing.positions(plain(ventricle_scale=s), 96, 96) for s in (0.6, 1.5))
    y, x = drawing.positions(plain(), 96, 96)
    far = (abs(x) > 60) | (abs(y - drawing.CENTRE[0]) > 75)
    for a, b in zip(small, large, strict=True):
        np.testing.assert_allclose(a[far], b[far], atol=1e-3)
        assert np.abs(a - b).max() > 2.0  # mm, near the ventricles


def test_background_is_dark_and_heads_are_whole():
    for index in range(100):
        image, a = drawing.draw(0, "train", index, 48, 48)
        clean = drawing.render(a, 48, 48)
        border = np.ones((48, 48), bool)
        border[1:-1, 1:-1] = False
        assert clean[border].max() < 0.02
        noise = image[clean == 0].astype(float)
        assert len(noise) > 500
        # Rayleigh: mean s sqrt(pi / 2), variance (2 - pi / 2) s^2; half a level for the rounding
        s = 255 * a["noise_level"]
        tolerance = 5 * s * ((2 - np.pi / 2) / len(noise)) ** 0.5 + 0.05
        assert abs(noise.mean() - s * (np.pi / 2) ** 0.5) < tolerance
        assert noise.mean() < 9


def test_noise_is_rician():
    """E[M^2] = I^2 + 2 s^2, and Var[M^2] = 4 s^2 (I^2 + s^2), over all pixels of 20 slices."""
    excess, variance, n = 0.0, 0.0, 0
    for index in range(20):
        image, a = drawing.draw(0, "train", index, 96, 96)
        clean, s = drawing.render(a, 96, 96), a["noise_level"]
        kept = clean < 0.8  # far from the cut at 1
        rounding = 1 / 12 / 255**2
        excess += np.sum((image / 255.0) ** 2 - clean**2 - 2 * s**2 - rounding, where=kept)
        variance += np.sum(4 * s**2 * (clean**2 + s**2), where=kept)
        n += kept.sum()
    assert n > 100_000
    assert abs(excess) < 4.5 * variance**0.5


def test_slices_differ_within_a_size_and_agree_across_sizes():
    a = drawing.draw_attributes(0, "train", 5)
    small = drawing.render(a, 48, 48)
    large = drawing.render(a, 192, 192).reshape(48, 4, 48, 4).mean((1, 3))
    np.testing.assert_allclose(large, small, atol=0.02)
    other = drawing.render(drawing.draw_attributes(0, "train", 6), 48, 48)
    assert np.abs(other - small).max() > 0.2


@pytest.fixture(scope="module")
def tiny(data_dir):
    builder = Brains(config="24x24_tiny", data_dir=data_dir)
    builder.download_and_prepare()
    return builder


def test_builder_keeps_images_and_attributes(tiny):
    assert {k: v.num_examples for k, v in tiny.info.splits.items()} == {
        "train": 256,
        "validation": 64,
        "test": 64,
    }
    check_examples(tiny, "train", 40)  # by several workers
    check_examples(tiny, "validation", 3)  # by this process


def check_examples(builder, split, count):
    for i, e in enumerate(builder.as_dataset(split=split).take(count)):
        image, a = drawing.draw(0, split, i, 24, 24)
        assert (e["image"].shape, e["image"].dtype.name) == ((24, 24, 1), "uint8")
        np.testing.assert_array_equal(e["image"][..., 0], image)
        assert set(e) == {"image", *drawing.ATTRIBUTES}
        for name in drawing.ATTRIBUTES:
            assert e[name].dtype.name == "float32"
            np.testing.assert_allclose(e[name], a[name], rtol=1e-6)


def test_builder_says_what_it_is(tiny):
    assert "one real anatomy" in tiny.info.description
    assert "average of 152 people" in tiny.info.description
    assert "Fonov" in tiny.info.citation
    assert "Louis Collins" in tiny.info.redistribution_info.license
    assert next(iter(Brains.builder_configs)) == "96x96"
    words = " ".join([tiny.info.description, tiny.info.citation]).lower()
    assert "biobank" not in words


def test_splits_share_no_image(tiny):
    seen = [
        {e["image"].tobytes() for e in tiny.as_dataset(split=s).as_numpy_iterator()}
        for s in ("train", "validation", "test")
    ]
    assert [len(s) for s in seen] == [256, 64, 64]
    assert len(set.union(*seen)) == 256 + 64 + 64


def test_missing_nilearn_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nilearn.datasets", None)
    drawing._anatomy.cache_clear()
    message = r"pip install 'tf_structvae\[data\]'"
    with pytest.raises(ImportError, match=message):
        drawing.draw(0, "train", 0, 24, 24)
    with pytest.raises(ImportError, match=message):
        Brains(config="24x24_tiny", data_dir=tmp_path).download_and_prepare()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (0, "all", 0, 24, 24),
            r"split must be one of \('train', 'validation', 'test'\), got 'all'",
        ),
        ((-1, "train", 0, 24, 24), "seed must be 0 or more, got -1"),
        ((0, "train", -2, 24, 24), "index must be 0 or more, got -2"),
        ((0, "train", 0, 7, 24), "height must be 8 or more, got 7"),
        ((0, "train", 0, 24, 0), "width must be 8 or more, got 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawing.draw(*arguments)
