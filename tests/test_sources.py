"""The contract, for data sets of a user's own files and for those of TFDS."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
import test_celeb_a
import test_ukbb

from tf_structvae import datasets

NIFTI = {"slices": (0.2, 0.8, 0.2)}


@pytest.fixture(scope="module")
def wishes(tmp_path_factory):
    """Options of `load` for each source."""
    folder = tmp_path_factory.mktemp("files")
    test_celeb_a.write(folder / "celeb_a")
    test_ukbb.ukb_folder(folder / "ukbb", people=range(40))
    data_dir = str(folder / "records")
    return {
        "celeb_a": {"manual_dir": str(folder / "celeb_a"), "data_dir": data_dir},
        "ukbb": {
            "manual_dir": str(folder / "ukbb"),
            "data_dir": data_dir,
            "image_size": (20, 18),
            "nifti": NIFTI,
        },
    }


@pytest.mark.parametrize(("name", "shape"), [("celeb_a", (218, 178, 3)), ("ukbb", (20, 18, 1))])
def test_contract(name, shape, wishes):
    wish = wishes[name]
    train = list(datasets.load(name, "train", batch_size=4, **wish).as_numpy_iterator())
    again = list(datasets.load(name, "train", batch_size=4, **wish).as_numpy_iterator())
    assert train[0].dtype == np.float32
    assert train[0].shape == (4, *shape)
    assert 0 <= np.min(train) < np.max(train) <= 1
    np.testing.assert_array_equal(train, again)
    about = datasets.info(name, **wish)
    assert about.prepared
    assert about.image_shape == shape
    assert all(about.splits[s] > 0 for s in datasets.SPLITS)
    assert "research" in about.licence
    for split in ("validation", "test"):
        images = list(datasets.load(name, split, batch_size=1, **wish))
        assert len(images) == about.splits[split]


def test_celeb_a_opens_prepared_records_without_the_files(wishes):
    wish = wishes["celeb_a"]
    first = next(iter(datasets.load("celeb_a", "test", batch_size=2, **wish)))
    again = datasets.load("celeb_a", "test", batch_size=2, data_dir=wish["data_dir"])
    np.testing.assert_array_equal(first, next(iter(again)))


def test_records_open_by_their_directory(wishes):
    """So records may be moved, to a bucket or to a machine without the files."""
    wish = wishes["ukbb"]
    about = datasets.info("ukbb", **wish)
    moved = datasets.load(f"tfds:{about.directory}", "test", batch_size=2)
    same = datasets.load("ukbb", "test", batch_size=2, **wish)
    for a, b in zip(moved, same, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unknown_field_of_nifti(wishes):
    wish = wishes["ukbb"] | {"nifti": {"slabs": 3}}
    with pytest.raises(ValueError, match="nifti has a field that ukbb does not know: .*slabs"):
        datasets.load("ukbb", "train", **wish)


@pytest.mark.parametrize("name", ["ukbb", "image_folder"])
def test_files_must_be_somewhere(name, tmp_path):
    with pytest.raises(ValueError, match=f"manual_dir must be the folder .* for {name}"):
        datasets.load(name, "train", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "shape", "note"),
    [
        ("mnist", (28, 28, 1), "validation = train.90%:. .carved here, not official"),
        ("cifar10", (32, 32, 3), "test = test .official"),
    ],
)
def test_any_data_set_of_tfds(name, shape, note, tmp_path):
    with tfds.testing.mock_data(num_examples=40):
        found = datasets.load(f"tfds:{name}", "validation", batch_size=4, data_dir=str(tmp_path))
        images = next(iter(found))
        assert images.shape == (4, *shape)
        about = datasets.info(f"tfds:{name}", data_dir=str(tmp_path))
        import re

        assert re.search(note, about.split_note)


def test_images_of_unlike_sizes_need_one(tmp_path):
    with tfds.testing.mock_data(num_examples=10):
        wish = {"data_dir": str(tmp_path), "batch_size": 2}
        with pytest.raises(ValueError, match="image_size must be given for tfds:oxford_flowers102"):
            datasets.load("tfds:oxford_flowers102", "test", **wish)
        images = next(iter(datasets.load("tfds:oxford_flowers102", "test", (24, 16), **wish)))
        assert images.shape == (2, 24, 16, 3)
