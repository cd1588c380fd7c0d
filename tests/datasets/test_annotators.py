"""Shapes with annotators of known correlation, and folders of annotated images."""

import numpy as np
import pytest
from PIL import Image

import tf_structvae as sv


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_styles_have_the_correlation_that_was_asked_for(correlation):
    count = 1500
    drawn = sv.datasets.draw_annotated_shapes(count, 16, 3, correlation, seed=1)
    found = np.corrcoef(drawn.styles.T)[np.triu_indices(3, 1)]
    assert np.abs(found - correlation).max() < 4 * (1 - correlation**2 + 1e-6) / np.sqrt(count)
    assert np.abs(drawn.styles.mean(0)).max() < 4 / np.sqrt(count)
    # what is seen of the styles, the areas, are as correlated
    areas = drawn.labels.sum((1, 2)).astype(float)
    assert np.abs(np.corrcoef(areas.T)[np.triu_indices(3, 1)] - correlation).max() < 0.1


def test_drawings():
    drawn = sv.datasets.draw_annotated_shapes(20, size=24, annotators=2, seed=3)
    assert (drawn.images.shape, drawn.images.dtype) == ((20, 24, 24, 1), np.float32)
    assert (drawn.labels.shape, drawn.labels.dtype) == ((20, 24, 24, 2), np.int32)
    assert (drawn.images >= 0).all()
    assert (drawn.images <= 1).all()
    assert set(np.unique(drawn.labels)) == {0, 1}
    fewer = sv.datasets.draw_annotated_shapes(5, size=24, annotators=2, seed=3)
    for all_of_them, some in zip(drawn, fewer, strict=True):
        np.testing.assert_array_equal(all_of_them[:5], some)
    # the more generous, the larger; the shape is bright, the rest dark
    generous = drawn.styles[:, 0] > drawn.styles[:, 1]
    larger = np.sum(drawn.labels[..., 0], (1, 2)) >= np.sum(drawn.labels[..., 1], (1, 2))
    np.testing.assert_array_equal(generous, larger)
    inside = drawn.labels.all(-1)
    assert drawn.images[..., 0][inside].mean() > 0.3 + drawn.images[..., 0][~inside].mean()


def write_folder(root, gt="gt", missing=()):
    rng = np.random.default_rng(0)
    pictures, masks = [], []
    for k in range(3):
        name = f"patient{k % 2}/slice{k}"
        picture = rng.integers(0, 256, [6, 5], np.uint8)
        own = rng.integers(0, 2, [6, 5, 4], np.uint8)
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / gt / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / "images" / f"{name}.png")
        for a in range(4):
            if (k, a) not in missing:
                Image.fromarray(own[..., a] * 255).save(root / gt / f"{name}_l{a}.png")
        pictures.append(picture)
        masks.append(own)
    order = [0, 2, 1]  # by name
    return np.stack(pictures)[order], np.stack(masks)[order]


@pytest.mark.parametrize("gt", ["gt", "masks"])
def test_a_folder_of_annotated_images(gt, tmp_path):
    pictures, masks = write_folder(tmp_path, gt, missing={(1, 2)})
    found = sv.datasets.load_annotations(tmp_path)
    assert found.names == ["patient0/slice0", "patient0/slice2", "patient1/slice1"]
    np.testing.assert_allclose(found.images[..., 0] * 255, pictures, atol=1e-4)
    wanted = masks.astype(int)
    wanted[2, :, :, 2] = -1
    np.testing.assert_array_equal(found.labels, wanted)
    assert sv.datasets.load_annotations(tmp_path, size=(12, 10)).labels.shape == (3, 12, 10, 4)


def test_wrong_input(tmp_path):
    for arguments, pattern in (
        ({"count": 0}, "count must be a positive integer, got 0"),
        ({"count": 1, "size": 4}, "size must be an integer of at least 8, got 4"),
        ({"count": 1, "annotators": 0}, "annotators must be a positive integer, got 0"),
        ({"count": 1, "correlation": 1.5}, r"correlation must be a number in \[0, 1\], got 1.5"),
    ):
        with pytest.raises(ValueError, match=pattern):
            sv.datasets.draw_annotated_shapes(**arguments)
    with pytest.raises(FileNotFoundError, match="got 0 images and 0 masks"):
        sv.datasets.load_annotations(tmp_path / "nothing")
    write_folder(tmp_path)
    for arguments, pattern in (
        ({"size": (3,)}, r"size must be \(height, width\), got \(3,\)"),
        ({"threshold": 1}, "threshold must be a number between 0 and 1, got 1"),
    ):
        with pytest.raises(ValueError, match=pattern):
            sv.datasets.load_annotations(tmp_path, **arguments)
    broken = tmp_path / "images/patient0/slice0.png"
    kept = broken.read_bytes()
    broken.write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match=r"slice0.png cannot be used"):
        sv.datasets.load_annotations(tmp_path)
    broken.write_bytes(kept)
    Image.new("L", (3, 3)).save(tmp_path / "images/patient1/other.png")
    with pytest.raises(FileNotFoundError, match="got 1 without: patient1/other"):
        sv.datasets.load_annotations(tmp_path)
    for a in range(4):
        Image.new("L", (3, 3)).save(tmp_path / f"gt/patient1/other_l{a}.png")
    with pytest.raises(ValueError, match=r"images must be of one size, or size be given, got"):
        sv.datasets.load_annotations(tmp_path)
    Image.new("L", (5, 6)).save(tmp_path / "images/patient1/other.png")
    with pytest.raises(ValueError, match="must be of its image's size, got"):
        sv.datasets.load_annotations(tmp_path)
