"""The contract, for data sets of a user's own files and for those of TFDS."""

import celeb_a_files
import numpy as np
import pytest
import tensorflow_datasets as tfds
import volumes

from tf_structvae import datasets

NIFTI = {"slices": (0.2, 0.8, 0.2)}


@pytest.fixture(scope="module")
def wishes(tmp_path_factory):
    """Options of `load` for each source."""
    folder = tmp_path_factory.mktemp("files")
    celeb_a_files.write(folder / "celeb_a")
    volumes.ukb_folder(folder / "ukbb", people=range(40))
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
    with pytest.raises(ValueError, match=r"nifti has a field that ukbb does not know: .*slabs"):
        datasets.load("ukbb", "train", **wish)


@pytest.mark.parametrize("name", ["ukbb", "image_folder"])
def test_files_must_be_somewhere(name, tmp_path):
    with pytest.raises(ValueError, match=f"manual_dir must be the folder .* for {name}"):
        datasets.load(name, "train", data_dir=str(tmp_path))


class StructvaePhotos(tfds.core.GeneratorBasedBuilder):
    """Registered as TFDS's own are: photos of one size, without a validation split."""

    VERSION = tfds.core.Version("1.0.0")
    SIDES = (6,)

    def _info(self):
        side = self.SIDES[0] if len(self.SIDES) == 1 else None
        features = {"photo": tfds.features.Image(shape=(side, 5, 3)), "label": np.int64}
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 50), "test": self._generate_examples(50, 60)}

    def _generate_examples(self, first, last):
        for i in range(first, last):
            side = self.SIDES[i % len(self.SIDES)]
            yield i, {"photo": np.full((side, 5, 3), i, np.uint8), "label": i}


class StructvaeMixedPhotos(StructvaePhotos):
    """Photos of two sizes."""

    VERSION = tfds.core.Version("1.0.0")
    SIDES = (6, 10)


def test_any_data_set_of_tfds(tmp_path):
    name, where = "tfds:structvae_photos", {"data_dir": str(tmp_path)}
    assert datasets.info(name, **where).splits == {}
    seen = {}
    for split, count in (("train", 45), ("validation", 5), ("test", 10)):
        batches = datasets.load(name, split, batch_size=5, attributes=True, **where)
        images = [(b["image"], b["label"]) for b in batches.as_numpy_iterator()]
        x, label = (np.concatenate(parts) for parts in zip(*images, strict=True))
        assert x.shape == (count, 6, 5, 3)
        np.testing.assert_array_equal(x[:, 0, 0, 0], label.astype(np.float32) / 255)
        seen[split] = set(label)
    assert seen["train"] | seen["validation"] == set(range(50))
    assert seen["test"] == set(range(50, 60))
    about = datasets.info(name, **where)
    assert about.splits == {"train": 45, "validation": 5, "test": 10}
    assert "validation = train[90%:] (carved here, not official)" in about.split_note
    assert "test = test (official)" in about.split_note


def test_images_of_unlike_sizes_need_one(tmp_path):
    name, wish = "tfds:structvae_mixed_photos", {"data_dir": str(tmp_path), "batch_size": 2}
    with pytest.raises(ValueError, match="image_size must be given for tfds:structvae_mixed"):
        datasets.load(name, "test", **wish)
    images = next(iter(datasets.load(name, "test", (24, 16), **wish)))
    assert images.shape == (2, 24, 16, 3)


@pytest.mark.parametrize("channels", [1, 3, None])
def test_image_folder(channels, tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    folder = tmp_path / "files"
    folder.mkdir()
    for i in range(60):
        grey = rng.integers(0, 256, (20 + i, 30), dtype=np.uint8)
        Image.fromarray(grey if i % 2 else np.stack([grey, 255 - grey, grey], -1)).save(
            folder / f"{i}.{('png', 'jpg', 'webp')[i % 3]}"
        )
    (folder / "broken.png").write_bytes(b"")
    wish = {"manual_dir": str(folder), "data_dir": str(tmp_path / "records"), "channels": channels}
    batch = next(iter(datasets.load("image_folder", "train", (12, 16), batch_size=4, **wish)))
    assert batch.shape == (4, 12, 16, channels or 3)
    about = datasets.info("image_folder", image_size=(12, 16), **wish)
    assert sum(about.splits.values()) == 60
    with pytest.raises(ValueError, match=r"broken\.png"):
        datasets.load("image_folder", "train", (12, 16), strict=True, **wish)
    with pytest.raises(ValueError, match="image_size must be given for image_folder"):
        datasets.load("image_folder", "train", **wish)
