"""The contract that every data set keeps."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tf_structvae as sv
from tf_structvae import datasets
from tf_structvae.datasets import registry

TINY = ("avatars", "brains", "mnist5k", "lfw25")


def options(name, data_dir):
    variant = {"avatars": "16x16_tiny", "brains": "24x24_tiny"}.get(name, "")
    return {"variant": variant, "data_dir": data_dir}


def everything(name, split, data_dir, **kwargs):
    return list(datasets.load(name, split, **options(name, data_dir), **kwargs).as_numpy_iterator())


@pytest.mark.parametrize("name", TINY)
def test_images_are_floats_in_the_unit_interval(name, data_dir):
    about = datasets.info(name, **options(name, data_dir))
    for split in datasets.SPLITS:
        batch = everything(name, split, data_dir, batch_size=4)[0]
        assert batch.dtype == np.float32
        assert batch.shape == (4, *about.image_shape)
        assert batch.min() >= 0
        assert batch.max() <= 1
        assert batch.max() > 0.3
        assert batch.std() > 0.05


@pytest.mark.parametrize("name", TINY)
def test_info_tells_all(name, data_dir):
    datasets.prepare(datasets.Spec(name, **options(name, data_dir)), "train")
    about = datasets.info(name, **options(name, data_dir))
    assert about.prepared
    assert set(about.splits) == set(datasets.SPLITS)
    assert about.bytes > 0
    assert about.directory.startswith(data_dir)
    assert about.licence
    assert about.homepage.startswith("http")
    assert about.citation.startswith("@")
    told = str(about)
    for part in (about.licence, about.directory, f"{about.splits['train']:,}", "[0, 1]"):
        assert part in told
    for split, count in about.splits.items():
        found = everything(name, split, data_dir, batch_size=1)
        assert len(found) == count


def test_info_of_a_folder_names_no_page_of_the_catalogue(tmp_path):
    for k in range(40):
        Image.new("RGB", (8, 8), (k, k, k)).save(tmp_path / f"{k}.png")
    about = datasets.info(
        "image_folder", manual_dir=str(tmp_path), data_dir=str(tmp_path / "data"), image_size=(8, 8)
    )
    assert about.homepage == ""
    shown = str(about)
    assert "homepage" not in shown
    assert shown.count("\n\n") == 1  # what it is, and its description


def test_info_makes_no_records(tmp_path):
    about = sv.datasets.info("avatars", data_dir=str(tmp_path))
    assert not about.prepared
    assert about.splits == {"train": 10_000, "validation": 1_000, "test": 2_000}
    assert about.image_shape == (64, 64, 3)
    assert not list(tmp_path.iterdir())
    assert str(tmp_path) in about.directory
    assert "not prepared yet" in str(about)


@pytest.mark.parametrize("name", TINY)
def test_splits_share_no_image(name, data_dir):
    seen = [
        {x.tobytes() for b in everything(name, s, data_dir, seed=1) for x in b}
        for s in ("validation", "test")
    ]
    train = {x.tobytes() for b in everything(name, "train", data_dir, batch_size=1) for x in b}
    assert not train & seen[0]
    assert not train & seen[1]
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("name", TINY)
def test_only_training_is_shuffled_and_augmented(name, data_dir):
    plain = everything(name, "train", data_dir, batch_size=8, steps=3)
    again = everything(name, "train", data_dir, batch_size=8, steps=3)
    other = everything(name, "train", data_dir, batch_size=8, steps=3, seed=1)
    np.testing.assert_array_equal(plain, again)
    assert np.any(np.stack(plain) != np.stack(other))
    changed = everything(name, "train", data_dir, batch_size=8, steps=3, flip=True, shift=1)
    assert np.any(np.stack(plain) != np.stack(changed))
    untouched = everything(name, "test", data_dir, batch_size=8, flip=True, shift=1, seed=1)
    for a, b in zip(untouched, everything(name, "test", data_dir, batch_size=8), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", TINY)
def test_workers_get_their_parts(name, data_dir):
    whole = everything(name, "train", data_dir, batch_size=6, steps=3, flip=True)
    parts = [
        everything(name, "train", data_dir, batch_size=6, steps=3, flip=True, shard=(i, 4))
        for i in range(4)
    ]
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([p[step] for p in parts]), batch)


def test_any_size_and_either_number_of_channels(data_dir):
    grey = everything("avatars", "test", data_dir, image_size=(12, 20), channels=1)[0]
    assert grey.shape[1:] == (12, 20, 1)
    colour = everything("lfw25", "test", data_dir, image_size=(30, 30), channels=3, fit="pad")[0]
    assert colour.shape[1:] == (30, 30, 3)
    np.testing.assert_array_equal(colour[..., 0], colour[..., 2])


def test_attributes(data_dir):
    batch = everything("mnist5k", "test", data_dir, batch_size=10, attributes=True)[0]
    assert batch["label"].shape == (10,)
    assert set(batch["label"]) <= set(range(10))


def test_limit_is_of_the_training_split_alone(data_dir):
    spec = datasets.Spec("avatars", **options("avatars", data_dir), limit=20)
    assert datasets.prepare(spec, "train").count == 20
    assert datasets.prepare(spec, "test").count == 64


@pytest.mark.parametrize(
    ("image_size", "variant"),
    [
        (None, "64x64"),
        ((64, 64), "64x64"),
        ((32, 32), "32x32"),
        ((40, 40), "64x64"),
        ((16, 16), "32x32"),
        ((100, 100), "218x178"),
        ((300, 300), "64x64"),
    ],
)
def test_the_variant_suits_the_size(image_size, variant, tmp_path):
    spec = datasets.Spec("avatars", image_size=image_size, data_dir=str(tmp_path))
    assert registry.open(spec).make().builder_config.name == variant


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "faces"}, "data set must be one of .*avatars.* or tfds:NAME, got 'faces'"),
        ({"name": "tfds:"}, "got 'tfds:'"),
        ({"split": "all"}, r"split must be one of \('train', 'validation', 'test'\), got 'all'"),
        ({"variant": "65x65"}, "variant of avatars must be one of .*64x64.* got '65x65'"),
        ({"image_size": (0, 4)}, r"image_size must be \(height, width\).* got \(0, 4\)"),
        ({"image_size": 64}, r"image_size must be \(height, width\).* got 64"),
        ({"fit": "zoom"}, "fit must be one of .*crop.* got 'zoom'"),
        ({"channels": 4}, "channels must be 1, 3 or None, got 4"),
        ({"name": "lfw25", "variant": "2"}, "variant must be '' for lfw25, got '2'"),
        ({"limit": 0}, "limit must be None or a positive integer, got 0"),
        ({"background": "whit"}, r"background .* '#rrggbb' or a name .* got 'whit'"),
        ({"background": "black"}, "background must be 'white' for avatars, got 'black'"),
        ({"nifti": {"axis": "coronal"}}, "nifti.axis must be 'axial' for avatars, got 'coronal'"),
        ({"nifti": {"slabs": 3}}, "nifti.slabs must be left out for avatars, got 3"),
    ],
)
def test_impossible_wishes(arguments, message, tmp_path):
    wish = {"name": "avatars", "split": "train", "data_dir": str(tmp_path)} | arguments
    with pytest.raises(ValueError, match=message):
        datasets.load(**wish)
    assert not list(tmp_path.iterdir())


def test_a_prepared_directory_may_be_read_only(data_dir, monkeypatch):
    spec = datasets.Spec("avatars", **options("avatars", data_dir))
    datasets.prepare(spec, "train")
    from tf_structvae.datasets import preparation

    def refuse(directory):
        raise PermissionError(directory)

    monkeypatch.setattr(preparation, "_building", refuse)
    assert datasets.prepare(spec, "test").count == 64


def test_several_shards_of_records(data_dir, tmp_path):
    """What TFDS writes of a large data set is in several files."""
    import tensorflow_datasets as tfds

    from tf_structvae.datasets import preparation
    from tf_structvae.datasets.drawn.avatars import Avatars

    builder = Avatars(config="16x16_tiny", data_dir=str(tmp_path))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=4))
    assert len(list(tmp_path.rglob("*-train.tfrecord-*"))) == 4
    spec = datasets.Spec("avatars", "16x16_tiny", str(tmp_path))
    many = preparation.prepare(spec, "train")
    one = preparation.prepare(datasets.Spec("avatars", "16x16_tiny", data_dir), "train")
    pairs = tf.data.Dataset.zip((many.examples, one.examples))
    assert all(a["image"] == b["image"] for a, b in pairs)
