import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_structvae.datasets import any_tfds

F = tfds.features


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("mnist", (28, 28, 1)),
        ("tfds:cifar10", (32, 32, 3)),
        ("cifar10_corrupted/fog_1:1.0.0", (32, 32, 3)),
        ("oxford_flowers102", (None, None, 3)),
        ("celeb_a", (218, 178, 3)),
    ],
)
def test_registered_data_sets(name, shape):
    with tfds.testing.mock_data(num_examples=2):
        builder = any_tfds.builder(name)
        any_tfds.prepare(builder)
        key = any_tfds.image_key(builder.info.features, name)
        assert key == "image"
        assert builder.info.features[key].shape == shape
        for example in builder.as_dataset(split="train"):
            image = example[key].numpy()
            assert (image.ndim, image.dtype) == (3, np.uint8)
            assert all(s in (None, n) for s, n in zip(shape, image.shape, strict=True))


def digits(index):
    """A 4 x 5 image that says which one it is."""
    return np.full((4, 5, 1), index, np.uint8)


class Numbered(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """As many examples a split as a test says; example i has the value i everywhere."""

    name = "numbered"
    VERSION = tfds.core.Version("1.2.0")
    SIZES: dict[str, int] = {}

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            disable_shuffling=True,
            features=tfds.features.FeaturesDict(
                {"photo": tfds.features.Image(shape=(4, 5, 1)), "id": np.int64}
            ),
        )

    def _split_generators(self, dl_manager):
        return {s: self._generate_examples(n) for s, n in self.SIZES.items()}

    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"photo": digits(i), "id": i}


def numbered(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr(Numbered, "SIZES", sizes)
    builder = Numbered(data_dir=str(tmp_path))
    any_tfds.prepare(builder)
    return builder


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"train": 20, "validation": 3, "test": 4}, ("train", "validation", "test")),
        ({"train": 20, "val": 3, "test": 4}, ("train", "val", "test")),
        ({"train": 20, "dev": 3}, ("train[:90%]", "dev", "train[90%:]")),
        ({"train": 20, "valid": 3, "extra": 9}, ("train[:90%]", "valid", "train[90%:]")),
        ({"train": 20, "test": 4}, ("train[:90%]", "train[90%:]", "test")),
        ({"train": 20}, ("train[:80%]", "train[90%:]", "train[80%:90%]")),
        ({"test": 20}, ("test[:80%]", "test[90%:]", "test[80%:90%]")),
        ({"everything": 25}, ("everything[:80%]", "everything[90%:]", "everything[80%:90%]")),
        ({"full": 20, "test": 4}, ("full[:90%]", "full[90%:]", "test")),
    ],
)
def test_splits(sizes, expected, tmp_path, monkeypatch):
    builder = numbered(tmp_path, monkeypatch, sizes)
    instructions, note = any_tfds.splits(builder.info)
    assert instructions == dict(zip(("train", "validation", "test"), expected, strict=True))
    for split, what in instructions.items():
        origin = "official" if what in sizes else "carved here, not official"
        assert f"{split} = {what} ({origin})" in note
    # what was carved out of one split is that split, and nothing twice
    for base, count in sizes.items():
        parts = [w for w in expected if w.split("[")[0] == base]
        ids = [int(e["id"]) for w in parts for e in builder.as_dataset(split=w)]
        assert sorted(ids) == (list(range(count)) if parts else [])


def test_carved_splits_are_the_ends_of_train(tmp_path, monkeypatch):
    builder = numbered(tmp_path, monkeypatch, {"train": 40})
    instructions, _ = any_tfds.splits(builder.info)
    ids = {s: [int(e["id"]) for e in builder.as_dataset(split=w)] for s, w in instructions.items()}
    assert ids == {
        "train": list(range(32)),
        "test": list(range(32, 36)),
        "validation": list(range(36, 40)),
    }


def test_image_under_another_name(tmp_path, monkeypatch):
    builder = numbered(tmp_path, monkeypatch, {"train": 3})
    key = any_tfds.image_key(builder.info.features, "numbered")
    assert key == "photo"
    for i, example in enumerate(builder.as_dataset(split="train")):
        np.testing.assert_array_equal(example[key], digits(i))


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"a": 20, "b": 20}, r"splits \['a', 'b'\]; none is 'train'"),
        ({"test": 20, "validation": 20}, "none is 'train'"),
        ({"train": 3}, "3 examples in 'train', too few to carve test, validation"),
    ],
)
def test_no_way_to_split(sizes, match, tmp_path, monkeypatch):
    builder = numbered(tmp_path, monkeypatch, sizes)
    with pytest.raises(ValueError, match=f"tfds:numbered/1\\.2\\.0 has .*{match}"):
        any_tfds.splits(builder.info)


def test_not_prepared(tmp_path):
    with pytest.raises(ValueError, match=r"numbered/1\.2\.0 has no examples: it is not prepared"):
        any_tfds.splits(Numbered(data_dir=str(tmp_path)).info)


@pytest.mark.parametrize(
    ("features", "match"),
    [
        ({"text": F.Text()}, r"no image among its features \{'text': 'Text'\}"),
        ({"left": F.Image(), "right": F.Image()}, r"images \['left', 'right'\]"),
        ({"image": F.Video(shape=(None, 8, 8, 3))}, "'image' of type Video"),
        ({"video": F.Video(shape=(None, 8, 8, 3))}, r"no image among .*'Video'"),
        ({"image": F.Sequence(F.Image(shape=(8, 8, 3)))}, "'image' of type Sequence"),
        ({"image": F.Tensor(shape=(8, 8, 3), dtype=np.uint8)}, "'image' of type Tensor"),
        ({"image": F.Image(shape=(8, 8, 4))}, r"shape \(8, 8, 4\) and uint8"),
        ({"x": F.Image(shape=(8, 8, 1), dtype=np.uint16)}, r"'x' of shape \(8, 8, 1\) and uint16"),
        ({"x": F.Image(shape=(8, 8, 1), dtype=np.float32)}, r"\(8, 8, 1\) and float32"),
        ({"x": F.LabeledImage(shape=(8, 8, 1), labels=3)}, "no image among"),
    ],
)
def test_images_that_are_refused(features, match):
    with pytest.raises(
        ValueError, match=f"tfds:thing has .*{match}.*allowed is .* 1 or 3 channels"
    ):
        any_tfds.image_key(F.FeaturesDict(features), "thing")


@pytest.mark.parametrize(
    "features",
    [
        {"image": F.Image(), "other": F.Image(), "mask": F.LabeledImage(shape=(8, 8, 1), labels=3)},
        {"image": F.Image(shape=(None, None, 1)), "video": F.Video(shape=(None, 8, 8, 3))},
    ],
)
def test_image_is_preferred(features):
    assert any_tfds.image_key(F.FeaturesDict(features)) == "image"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("cifar11", r"tfds:cifar11 is no data set of TFDS .*; close to it: .*cifar10"),
        ("mnist/large", "tfds:mnist/large cannot be opened: .*large not found"),
        ("mnist:9.9.9", r"tfds:mnist:9\.9\.9 cannot be opened: .*only: 3\."),
        ("Not a name!", "tfds:Not a name! "),
        ("", "tfds: "),
        ("anli", "tfds:anli has no image among its features"),
    ],
)
def test_names_that_are_refused(name, match, tmp_path):
    with pytest.raises(ValueError, match=match) as error:
        any_tfds.builder(name, str(tmp_path))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_no_network(tmp_path, monkeypatch):
    """A download that is refused at once: the port is closed, and TFDS may not try again."""

    def download(self, dl_manager):
        return {"train": dl_manager.download("http://127.0.0.1:9/numbers.zip")}

    monkeypatch.setattr("tensorflow_datasets.core.download.downloader.MAX_RETRIES", 0)
    monkeypatch.setattr(Numbered, "_split_generators", download)
    with pytest.raises(OSError, match="could not be fetched or prepared in") as error:
        any_tfds.prepare(Numbered(data_dir=str(tmp_path)))
    message = str(error.value)
    assert "\n" not in message
    for part in ("tfds:numbered/1.2.0", str(tmp_path), "ConnectionError", "127.0.0.1", "data_dir"):
        assert part in message
    assert not list(tmp_path.glob("numbered/*"))


def test_prepared_data_are_opened_without_code(tmp_path, monkeypatch):
    numbered(tmp_path, monkeypatch, {"train": 20})
    builder = any_tfds.builder("tfds:numbered", str(tmp_path))
    any_tfds.prepare(builder)
    assert any_tfds.image_key(builder.info.features) == "photo"
    assert any_tfds.splits(builder.info)[0]["test"] == "train[80%:90%]"
