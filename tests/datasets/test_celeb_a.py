import io
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from celeb_a_files import (
    ATTRIBUTES,
    IDENTITY,
    JPEGS,
    LANDMARKS,
    NAMES,
    PARTITION,
    jpeg,
    write,
)
from PIL import Image

from tf_structvae.datasets.celeb_a import builder as celeb_a
from tf_structvae.datasets.celeb_a import files

SPLIT_OF = dict(zip(NAMES, (celeb_a.SPLITS[p] for p in PARTITION), strict=True))


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write(tmp_path_factory.mktemp("celeb_a") / "originals")


@pytest.fixture(scope="module")
def prepared(originals, tmp_path_factory):
    """The data directory that our builder has written."""
    directory = str(tmp_path_factory.mktemp("prepared"))
    celeb_a.builder(directory, str(originals)).download_and_prepare()
    return directory


def read(builder, split):
    """Examples in order, the image as the bytes in the record."""
    return list(
        tfds.as_numpy(
            builder.as_dataset(
                split=split,
                decoders={"image": tfds.decode.SkipDecoding()},
                read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
            )
        )
    )


def check(builder, landmarks=True, identity=True):
    """Splits, order, bytes and annotations against what `write` wrote."""
    for split in celeb_a.SPLITS:
        expected = [n for n in NAMES if SPLIT_OF[n] == split]
        examples = read(builder, split)
        assert [e["image"] for e in examples] == [JPEGS[n] for n in expected]
        for name, e in zip(expected, examples, strict=True):
            i = NAMES.index(name)
            got = [e["attributes"][a] for a in files.ATTRIBUTES]
            np.testing.assert_array_equal(got, ATTRIBUTES[i] == 1)
            points = LANDMARKS[i] if landmarks else [-1] * 10
            assert [e["landmarks"][a] for a in files.LANDMARKS] == list(points)
            assert e["identity"]["Identity_No"] == (IDENTITY[i, 0] if identity else -1)


def test_prepared_from_a_zip_and_opened_again(prepared):
    opened = celeb_a.builder(prepared)
    assert type(opened).__name__ == "ReadOnlyBuilder"
    opened.download_and_prepare()  # as for any other data set; there is nothing to do
    assert opened.info.full_name == "celeb_a/2.1.0"
    assert {s: i.num_examples for s, i in opened.info.splits.items()} == {
        "train": 28,
        "validation": 7,
        "test": 5,
    }
    check(opened)


@pytest.mark.parametrize("inner", ["img_align_celeba", "img_align_celeba/img_align_celeba"])
def test_prepared_from_a_folder(inner, tmp_path):
    manual = write(tmp_path / "originals", images=inner)
    (manual / "list_landmarks_align_celeba.txt").unlink()
    (manual / "identity_CelebA.txt").unlink()
    builder = celeb_a.builder(str(tmp_path / "out"), str(manual))
    builder.download_and_prepare()
    check(builder, landmarks=False, identity=False)


def test_prepared_from_the_kaggle_mirror(tmp_path):
    manual = write(tmp_path / "originals", images="img_align_celeba/img_align_celeba", csv=True)
    builder = celeb_a.builder(str(tmp_path / "out"), str(manual))
    builder.download_and_prepare()
    check(builder, identity=False)


def test_tfds_reads_what_we_wrote(prepared):
    own = tfds.builder("celeb_a", data_dir=prepared)
    assert "tensorflow_datasets" in type(own).__module__
    check(own)


def test_we_read_what_tfds_wrote(originals, prepared, tmp_path, monkeypatch):
    """TFDS's own builder, its download replaced by the files; its order is by hash."""
    paths = {
        "img_align_celeba": "img_align_celeba.zip",
        "list_eval_partition": "list_eval_partition.txt",
        "list_attr_celeba": "list_attr_celeba.txt",
        "landmarks_celeba": "list_landmarks_align_celeba.txt",
        "identity_celeba": "identity_CelebA.txt",
    }
    monkeypatch.setattr(
        tfds.download.DownloadManager,
        "download",
        lambda self, urls: {k: originals / paths[k] for k in urls},
    )
    own = tfds.builder("celeb_a", data_dir=str(tmp_path))
    own.download_and_prepare()
    opened, ours = celeb_a.builder(str(tmp_path)), celeb_a.builder(prepared)
    assert opened.info.features.to_json() == ours.info.features.to_json()
    for split in celeb_a.SPLITS:
        theirs = {e["image"]: e for e in read(opened, split)}
        for e in read(ours, split):
            assert theirs.pop(e["image"]) == e
        assert not theirs


def test_mock_data_has_the_contract_s_shape(prepared):
    opened = celeb_a.builder(prepared)
    with tfds.testing.mock_data(num_examples=3):
        examples = list(opened.as_dataset(split="validation"))
    assert len(examples) == 3
    assert examples[0]["image"].shape == (218, 178, 3)
    assert examples[0]["image"].dtype == np.uint8
    assert set(examples[0]["attributes"]) == set(files.ATTRIBUTES)


def test_images_decode_at_native_size(prepared):
    example = next(iter(celeb_a.builder(prepared).as_dataset(split="test")))
    expected = np.asarray(Image.open(io.BytesIO(JPEGS["000036.jpg"])), int)
    # TensorFlow's JPEG decoder and Pillow's round differently: by up to 3 of 255 here
    difference = np.abs(example["image"].numpy() - expected)
    assert difference.max() <= 6
    assert np.abs(example["image"].numpy()[:, ::-1] - expected).max() > 60


def test_the_newest_version_2_is_opened(prepared, tmp_path):
    folder = tmp_path / "celeb_a"
    for version in ("2.0.1", "2.1.0", "2.10.0", "3.0.0"):
        shutil.copytree(f"{prepared}/celeb_a/2.1.0", folder / version)
    for version in ("2.0.1", "2.10.0", "3.0.0"):
        info = folder / version / "dataset_info.json"
        info.write_text(info.read_text().replace('"2.1.0"', f'"{version}"', 1))
    (folder / "2.11.0.incompleteABC").mkdir()
    assert celeb_a.builder(str(tmp_path)).data_dir.endswith("2.10.0")


def test_neither_prepared_nor_original(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        celeb_a.builder(str(tmp_path))
    for part in ("img_align_celeba.zip", "manual_dir", files.PAGE, "non-commercial", str(tmp_path)):
        assert part in str(error.value)


def fail(tmp_path, manual, match, kind=ValueError):
    """Preparing fails, and leaves nothing that looks like a data set."""
    out = tmp_path / "out"
    with pytest.raises(kind, match=match):
        celeb_a.builder(str(out), str(manual)).download_and_prepare()
    assert not list(out.glob("celeb_a/*"))


@pytest.mark.parametrize(
    "name", ["img_align_celeba.zip", "list_eval_partition.txt", "list_attr_celeba.txt"]
)
def test_missing_file(name, tmp_path):
    manual = write(tmp_path / "originals")
    (manual / name).unlink()
    fail(tmp_path, manual, f"lacks {name}", FileNotFoundError)


def test_missing_folder(tmp_path):
    fail(tmp_path, tmp_path / "nowhere", "nowhere' is not a folder", FileNotFoundError)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (jpeg(0, (64, 64)), r"000030.jpg is JPEG, 64 pixels wide and 64 high; .* 178 pixels wide"),
        (jpeg(0, form="PNG"), "000030.jpg is PNG"),
        (JPEGS["000030.jpg"][:900], "000030.jpg cannot be decoded"),
        (b"<html>quota exceeded</html>", "000030.jpg cannot be decoded"),
    ],
)
def test_wrong_image(data, match, tmp_path):
    manual = write(tmp_path / "originals", images="img_align_celeba")
    (manual / "img_align_celeba" / "000030.jpg").write_bytes(data)
    fail(tmp_path, manual, match)


def test_absent_images(tmp_path):
    manual = write(tmp_path / "originals", images="img_align_celeba")
    for name in NAMES[10:15]:
        (manual / "img_align_celeba" / name).unlink()
    match = r"5 of 40 images listed .*: 000011.jpg, 000012.jpg, 000013.jpg, \.\.\.\. For a part"
    fail(tmp_path, manual, match)


@pytest.mark.parametrize("damage", ["web page", "cut", "flipped bit"])
def test_broken_zip(damage, tmp_path):
    manual = write(tmp_path / "originals")
    path = manual / "img_align_celeba.zip"
    data = bytearray(path.read_bytes())
    if damage == "flipped bit":
        data[data.find(JPEGS["000030.jpg"]) + 700] ^= 1
    path.write_bytes({"web page": b"<html>", "cut": bytes(data[:-5000])}.get(damage, bytes(data)))
    fail(tmp_path, manual, "img_align_celeba.zip is broken or was not fetched to its end")


def replaced(manual, name, old, new):
    path = manual / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [
        ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg 4", r"partitions \[4\]; 0, 1 and"),
        ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg", "line 3 is not a file name and"),
        ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg x", "line 3 is not a file name"),
        ("list_attr_celeba.txt", "40\n", "41\n", "announces 41 rows and has 40"),
        ("list_attr_celeba.txt", "Bangs", "Fringe", r"other columns .*'Bangs', 'Fringe'"),
        ("list_attr_celeba.txt", "000003.jpg", "000099.jpg", "1 of 40 .* no row in .*: 000003.jpg"),
        ("list_landmarks_align_celeba.txt", "000003.jpg", "000099.jpg", "no row in .*landmarks"),
        ("identity_CelebA.txt", "000003.jpg", "000099.jpg", "no row in .*identity"),
    ],
)
def test_wrong_list(name, old, new, match, tmp_path):
    manual = write(tmp_path / "originals")
    replaced(manual, name, old, new)
    fail(tmp_path, manual, match)


def test_empty_partition(tmp_path):
    manual = write(tmp_path / "originals")
    path = manual / "list_eval_partition.txt"
    path.write_text("".join(line + "\n" for line in path.read_text().split("\n")[:35]))
    fail(tmp_path, manual, r"has no image of test \(2\)")


def test_columns_are_found_by_name(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("1\nb a \n000001.jpg  7 -1\n")
    assert files.read_table(path, ("a", "b")) == {"000001.jpg": (-1, 7)}


def test_part_of_celeb_a_is_said_to_be_one(originals, tmp_path, caplog):
    celeb_a.builder(str(tmp_path), str(originals)).download_and_prepare()
    assert "'train': 28" in caplog.text
    assert "162770" in caplog.text


def test_prepared_data_with_something_missing(prepared, tmp_path):
    directory = tmp_path / "celeb_a" / "2.1.0"
    shutil.copytree(f"{prepared}/celeb_a/2.1.0", directory)
    (shard,) = directory.glob("*validation*")
    shard.unlink()
    with pytest.raises(FileNotFoundError, match="lacks 1 of 1 files of validation"):
        celeb_a.builder(str(tmp_path))
    info = directory / "dataset_info.json"
    info.write_text(info.read_text().replace('"validation"', '"dev"'))
    with pytest.raises(ValueError, match=r"has splits .'dev', 'test', 'train'.; celeb_a has"):
        celeb_a.builder(str(tmp_path))
    features = directory / "features.json"
    features.write_text(features.read_text().replace("218", "64"))
    with pytest.raises(ValueError, match=r"images of shape \(64, 178, 3\)"):
        celeb_a.builder(str(tmp_path))
