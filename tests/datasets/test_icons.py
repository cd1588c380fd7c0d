"""The icons: drawn as their vector files say, and variants of one drawing in one split."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tf_structvae as sv
from tf_structvae.datasets import icons

SQUARE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path d="M0 0h12v24H0z"/></svg>'
)


def test_an_icon_is_black_on_white_within_a_margin():
    image = icons.draw(SQUARE)
    assert (image.shape, image.dtype) == ((64, 64, 1), np.uint8)
    unit = 64 / 26  # 24 units and one on each side
    y, x = np.indices((64, 64)) + 0.5
    inside = (x > unit) & (x < 13 * unit) & (y > unit) & (y < 25 * unit)
    near = np.minimum(np.abs(x - unit), np.abs(x - 13 * unit)) < 1
    near |= np.minimum(np.abs(y - unit), np.abs(y - 25 * unit)) < 1
    np.testing.assert_array_equal(image[..., 0][~near], np.where(inside, 0, 255)[~near])
    assert icons.draw(SQUARE, 20).shape == (20, 20, 1)


def test_variants_of_one_drawing_are_in_one_split():
    names = [path.stem for path in icons.files()]
    assert len(names) > 7000
    by_word = {}
    for name in names:
        by_word.setdefault(name.split("-")[0], set()).add(icons.split_of(name))
    assert all(len(found) == 1 for found in by_word.values())
    counts = np.array([sum(icons.split_of(n) == s for n in names) for s in sv.datasets.SPLITS])
    # by words, of which the most frequent have dozens of variants
    np.testing.assert_allclose(counts / len(names), [0.8, 0.1, 0.1], atol=0.04)


def test_records(tmp_path, monkeypatch):
    some = icons.files()[::200]
    monkeypatch.setattr(icons, "files", lambda: some)
    builder = icons.Icons(data_dir=str(tmp_path))
    builder.download_and_prepare()
    assert builder.info.full_name == "icons/1.0.0"
    assert "no official split" in builder.info.description
    assert builder.info.citation.startswith("@")
    assert "Apache" in builder.info.redistribution_info.license
    found = {}
    for split in sv.datasets.SPLITS:
        for example in tfds.as_numpy(builder.as_dataset(split=split)):
            name = example["name"].decode()
            assert icons.split_of(name) == split
            found[name] = example["image"]
    assert sorted(found) == sorted(path.stem for path in some)
    np.testing.assert_array_equal(found[some[3].stem], icons.draw(some[3].read_text()))


def test_without_the_package_or_with_another(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "material", None)
    with pytest.raises(ImportError, match=r"mkdocs-material: pip install 'tf_structvae\[data\]'"):
        icons.files()
    monkeypatch.undo()
    import material

    monkeypatch.setattr(material, "__path__", [str(tmp_path)])
    with pytest.raises(ValueError, match="has 0 icons; at least 3000 are needed"):
        icons.files()
