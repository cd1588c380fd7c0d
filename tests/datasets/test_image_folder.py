"""image_folder: what a folder holds, and its records."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
from pictures import BAD, encoded, picture
from PIL import Image

from tf_structvae.datasets import resize
from tf_structvae.datasets.folder import builder as image_folder
from tf_structvae.datasets.folder import image_files
from tf_structvae.datasets.folder import listing as folder_listing
from tf_structvae.datasets.folder.builder import ImageFolder, config_name, make_config


def write(root, names, make=lambda i: encoded(picture(4, 4, "L", i))):
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(make(i))
    return str(root)


def numbered(count, folder="", suffix=".png"):
    return [f"{folder}{i:04}{suffix}" for i in range(count)]


def splits(listing):
    return {f.path: f.split for f in listing.files}


def test_flat_folder(tmp_path):
    root = write(tmp_path, [*numbered(40), "note.txt", ".hidden.png", "b.JPG", "c.WebP", "raw"])
    listing = folder_listing.scan(root)
    assert len(listing.files) == 42
    assert listing.labels == ()
    assert listing.notes == (
        "left out files that are not .png, .jpg, .jpeg, .webp: 1 .txt, 1 without suffix",
    )
    order = [(folder_listing.SPLITS.index(f.split), f.path) for f in listing.files]
    assert order == sorted(order)
    assert listing == folder_listing.scan(root)


def test_label_folders(tmp_path):
    root = write(tmp_path, [*numbered(30, "dog/"), *numbered(30, "Cat/"), "readme.txt"])
    (tmp_path / "empty").mkdir()
    listing = folder_listing.scan(root)
    assert listing.labels == ("Cat", "dog")
    assert all(f.label == f.path.split("/")[0] for f in listing.files)


@pytest.mark.parametrize(
    ("validation", "label"), [("validation", ""), ("val", "dog/"), ("valid", ""), ("Val", "dog/")]
)
def test_official_splits(tmp_path, validation, label):
    names = {
        **dict.fromkeys(numbered(5, f"train/{label}"), "train"),
        **dict.fromkeys(numbered(3, f"{validation}/{label}"), "validation"),
        **dict.fromkeys(numbered(2, f"test/{label}"), "test"),
    }
    listing = folder_listing.scan(write(tmp_path, names))
    assert splits(listing) == names
    assert listing.labels == (("dog",) if label else ())
    assert listing.notes == ()


def test_missing_split_comes_out_of_train(tmp_path):
    root = write(tmp_path, [*numbered(200, "train/"), *numbered(3, "test/")])
    listing = folder_listing.scan(root, (0.5, 0.25, 0.25))
    assert listing.notes == ("no folder 'validation': 25% of train taken for it, by hash of path",)
    counts = {s: [f.split for f in listing.files].count(s) for s in folder_listing.SPLITS}
    assert counts["test"] == 3
    assert abs(counts["validation"] - 50) < 4.5 * (200 * 0.25 * 0.75) ** 0.5
    assert all(f.path.startswith("train/") for f in listing.files if f.split == "validation")


def test_hash_splits_are_pinned_and_have_their_fractions():
    """Pinned numbers: SHA-256 by another program, `printf 0000.png | sha256sum`."""
    n, fractions = 20_000, (0.8, 0.15, 0.05)
    assert abs(folder_listing.position("0000.png") - 0xF11B2CB09F72 / 2**48) < 1e-12
    got = [folder_listing.hash_split(f"a/{i}.jpg", fractions) for i in range(n)]
    for split, p in zip(folder_listing.SPLITS, fractions, strict=True):
        assert abs(got.count(split) - n * p) < 4.5 * (n * p * (1 - p)) ** 0.5


def test_more_files_move_none(tmp_path):
    before = splits(folder_listing.scan(write(tmp_path, numbered(60))))
    after = splits(folder_listing.scan(write(tmp_path, numbered(60, "z"))))
    assert {k: after[k] for k in before} == before
    assert len(after) == 120


LAYOUT_ERRORS = {
    "no_image": (["note.txt"], "holds no image"),
    "mixed": ([*numbered(40), "dog/a.png"], "inside and outside of label folders"),
    "mixed_in_split": (
        ["train/a.png", "train/dog/a.png", "val/b.png", "test/c.png"],
        "inside and outside of label folders",
    ),
    "no_train": (["val/a.png", "test/a.png"], r"holds \['test', 'val'\] but no folder 'train'"),
    "two_names": (["train/a.png", "val/a.png", "valid/a.png"], "which are the same split"),
    "beside": (["train/a.png", "test/a.png", "dog/a.png"], "'dog/a.png' outside of them"),
    "loose": (["train/a.png", "test/a.png", "a.png"], "'a.png' outside of them"),
    "deep_label": (["dog/x/a.png"], "'dog/x/a.png' lies too deep"),
    "deep": (["train/dog/x/a.png"], "'train/dog/x' lies too deep"),
    "few": (["a.png"], "gets none of the 1 images"),
    "empty_split": (["train/a.png", "val/a.png", "test/note.txt"], "'test' holds no image"),
}


def test_layouts_that_are_refused(tmp_path):
    for case, (names, message) in LAYOUT_ERRORS.items():
        with pytest.raises(ValueError, match=f"manual_dir .*{message}"):
            folder_listing.scan(write(tmp_path / case, names))


def test_roots_that_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"manual_dir .*nowhere' does not exist"):
        make_config(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"manual_dir must be a folder, .*file' is a file"):
        make_config(str(tmp_path / "file"))
    with pytest.raises(ValueError, match="manual_dir must name a folder"):
        make_config("")
    with pytest.raises(ValueError, match=r"manual_dir .* holds no image"):
        make_config(str(tmp_path))
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0)
    else:  # nothing is closed to root

        def closed(path):
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(os, "listdir", closed)
    with pytest.raises(PermissionError, match=r"manual_dir .* cannot be read: .*denied"):
        make_config(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 0}, "image_size must be"),
        ({"policy": "fill"}, "fit must be one of"),
        ({"channels": 4}, "channels must be 1, 3 or None"),
        ({"fractions": (0.8, 0.2)}, "fractions must be three"),
        ({"fractions": (0.8, 0.2, 0.0)}, "fractions must be three"),
        ({"fractions": (0.8, 0.1, 0.2)}, "fractions must be three"),
        ({"background": "#12345"}, "background .* must be a colour, .* got '#12345'"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_config(str(tmp_path), **options)


def test_config_name_follows_options_and_folder(tmp_path):
    root = write(tmp_path / "a", numbered(60))
    names = [config_name(root)]
    assert config_name(root, 64, 64, "crop") == names[0] == make_config(root).name
    assert config_name(root, background="#FFFFFF") == names[0]
    for options in (
        {"height": 32},
        {"width": 32},
        {"policy": "pad"},
        {"channels": 1},
        {"strict": True},
        {"fractions": (0.7, 0.2, 0.1)},
        {"background": "black"},
    ):
        names.append(config_name(root, **options))
    write(tmp_path / "a", ["new.png"])
    names.append(config_name(root))
    os.utime(tmp_path / "a/new.png", ns=(1, 1))
    names.append(config_name(root))
    (tmp_path / "a/new.png").write_bytes(b"other")
    os.utime(tmp_path / "a/new.png", ns=(1, 1))
    names.append(config_name(root))
    (tmp_path / "a/new.png").rename(tmp_path / "a/newer.png")
    names.append(config_name(root))
    (tmp_path / "a").rename(tmp_path / "b")
    names.append(config_name(str(tmp_path / "b")))
    assert len(set(names)) == len(names)


def build(root, data_dir, **options):
    builder = ImageFolder(config=make_config(root, 8, 10, **options), data_dir=str(data_dir))
    builder.download_and_prepare()
    return builder


def read(builder, split):
    return list(builder.as_dataset(split=split).as_numpy_iterator())


KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    """Labelled official splits of all formats, grey and colour, sizes and bad files."""
    root, rng = tmp_path_factory.mktemp("mixture"), np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 9), ("test", 6)):
        for i in range(count):
            suffix = [*KINDS][i % 4]
            image = picture(*rng.integers(1, 40, 2), ("L", "RGB", "RGB")[i % 3], i)
            make = [encoded(image, KINDS[suffix])]
            write(root, [f"{split}/{i % 2}/{i:03}{suffix}"], make.__getitem__)
    for name, (data, _) in BAD.items():
        write(root, [f"train/0/{name}"], [data].__getitem__)
    return str(root)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_mixture_skips_bad_files_and_says_so(mixture, tmp_path, capsys):
    builder = build(mixture, tmp_path)
    assert {s: i.num_examples for s, i in builder.info.splits.items()} == {
        "train": 24,
        "validation": 9,
        "test": 6,
    }
    assert builder.info.features["image"].shape == (8, 10, 3)
    assert builder.info.features["label"].names == ["0", "1"]
    for split in folder_listing.SPLITS:
        examples = read(builder, split)
        paths = [e["filename"].decode() for e in examples]
        assert paths == sorted(paths)
        for path, e in zip(paths, examples, strict=True):
            assert str(e["label"]) == path.split("/")[1]
            with open(f"{mixture}/{path}", "rb") as f:
                image = Image.open(f).convert("RGB")
            np.testing.assert_array_equal(e["image"], resize.fit_pillow(image, (8, 10)))
    told = json.loads((builder.data_path / image_folder.SKIPPED).read_text())
    skipped = {os.path.basename(s["path"]): s["reason"] for s in told["skipped"]}
    assert skipped.keys() == BAD.keys()
    assert all(skipped[name].startswith(BAD[name][1]) for name in BAD)
    out = capsys.readouterr().out
    assert f"{len(BAD)} of {len(BAD) + 39} files skipped" in out
    assert "2 animated:\n  train/0/animated.png" in out
    assert str(builder.data_path / image_folder.SKIPPED) in out
    again = build(mixture, tmp_path)  # nothing to do, nothing to say
    assert "skipped" not in capsys.readouterr().out
    assert again.info.features["image"].shape == (8, 10, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_strict_lists_every_bad_file_in_one_error(mixture, tmp_path):
    with pytest.raises(ValueError, match="files cannot be used") as caught:
        build(mixture, tmp_path, strict=True)
    message = str(caught.value)
    total = len(BAD) + 24 + 9 + 6
    assert f"manual_dir {mixture!r}: {len(BAD)} of {total} files cannot be used" in message
    assert all(f"train/0/{name}" in message for name in BAD)
    assert not list(tmp_path.rglob("*.tfrecord*"))


def test_strict_accepts_a_good_folder_and_channels_follow_it(tmp_path, capsys):
    grey = write(
        tmp_path / "grey",
        numbered(60),
        lambda i: encoded(picture(mode="L", seed=i).convert("RGB"), "WEBP" if i % 2 else "PNG"),
    )
    builder = build(grey, tmp_path / "data", strict=True, policy="pad")
    assert builder.info.features["image"].shape == (8, 10, 1)
    assert "label" not in builder.info.features
    assert not (builder.data_path / image_folder.SKIPPED).exists()
    assert grey + ":" not in capsys.readouterr().out
    example = read(builder, "test")[0]
    image = Image.open(f"{grey}/{example['filename'].decode()}").convert("L")
    expected = np.asarray(resize.fit_pillow(image, (8, 10), "pad"))
    np.testing.assert_array_equal(example["image"][..., 0], expected)
    assert build(grey, tmp_path / "data", channels=3).info.features["image"].shape == (8, 10, 3)


def test_changed_folder_is_built_anew(tmp_path):
    root = write(tmp_path / "images", numbered(40))
    before = build(root, tmp_path / "data")
    write(tmp_path / "images", numbered(20, "new"))
    after = build(root, tmp_path / "data")
    counts = [sum(i.num_examples for i in b.info.splits.values()) for b in (before, after)]
    assert counts == [40, 60]


def test_unreadable_file_is_skipped(tmp_path, monkeypatch, capsys):
    """As a file without permission, which root reads all the same; and one that has gone."""
    root = write(tmp_path / "images", numbered(40))
    (tmp_path / "images/gone.png").symlink_to(tmp_path / "nowhere")
    whole = tf.io.gfile.GFile

    def closed(path, mode):
        if path.endswith("0007.png"):
            raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")
        return whole(path, mode)

    monkeypatch.setattr(tf.io.gfile, "GFile", closed)
    builder = build(root, tmp_path / "data")
    assert sum(i.num_examples for i in builder.info.splits.values()) == 39
    out = capsys.readouterr().out
    assert "2 cannot be read:" in out
    assert "0007.png" in out
    assert "gone.png" in out


def strange(folder):
    """Beside images: a pipe, a device, and names in Latin-1, as other systems write them."""
    root = write(folder, [*numbered(20, "a/"), *numbered(20, "b/")])
    os.mkfifo(folder / "a/pipe.png")
    (folder / "a/zeros.png").symlink_to("/dev/zero")
    latin = os.fsencode(folder) + b"/b/caf\xe9"
    for name in (latin + b".png", latin + b".t\xe9xt"):
        with open(name, "wb") as f:
            f.write(encoded(picture()))
    os.mkdir(os.fsencode(folder) + b"/d\xe9but")
    return root


REFUSED = {
    "a/pipe.png": "pipe, socket or device",
    "a/zeros.png": "pipe, socket or device",
    r"b/caf\xe9.png": "name is not UTF-8",
    r"d\xe9but": "name is not UTF-8",
}


def test_strange_files_are_skipped_and_named(tmp_path, capsys):
    """A name that is not UTF-8 blocked the folder, and a pipe was waited for without end."""
    root = strange(tmp_path / "images")
    listing = folder_listing.scan(root)
    assert dict(listing.refused) == REFUSED
    assert listing.labels == ("a", "b")
    assert listing.notes[0].endswith(r": 1 .t\xe9xt")
    builder = build(root, tmp_path / "data")
    assert sum(i.num_examples for i in builder.info.splits.values()) == 40
    out = capsys.readouterr().out
    assert "4 of 44 files skipped" in out
    told = json.loads((builder.data_path / image_folder.SKIPPED).read_text())
    assert {s["path"]: s["reason"] for s in told["skipped"]} == REFUSED
    with pytest.raises(ValueError, match="4 of 44 files cannot be used") as caught:
        build(root, tmp_path / "data", strict=True)
    assert all(f"  {name}\n" in f"{caught.value}\n" for name in REFUSED)
    for path in (tmp_path / "images").rglob("0*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"holds no image(?s:.*)a/pipe\.png: pipe, socket"):
        folder_listing.scan(root)


def test_background_of_a_folder(tmp_path, capsys):
    """Said once; records of another background are not taken for it."""
    clear = Image.new("LA", (10, 8), (200, 0))
    root = write(
        tmp_path / "images", numbered(40), lambda i: encoded(clear if i % 4 else picture())
    )
    white = build(root, tmp_path / "data")
    told = f"{root}: 30 of 40 files have transparent parts, which show #ffffff"
    assert capsys.readouterr().out.count(told) == 1
    for builder, colour in (
        (white, [255, 255, 255]),
        (build(root, tmp_path / "data", background="#0a0b0c"), [10, 11, 12]),
    ):
        clear = [
            e for s in folder_listing.SPLITS for e in read(builder, s) if int(e["filename"][:4]) % 4
        ]
        assert len(clear) == 30
        assert all(np.all(e["image"] == colour) for e in clear)
    build(root, tmp_path / "data")
    assert "transparent" in capsys.readouterr().out  # of the second build alone
    build(root, tmp_path / "data")
    assert "transparent" not in capsys.readouterr().out


def test_folder_that_is_a_url(tmp_path):
    """TensorFlow's file system in memory stands for a bucket."""
    root = "ram://photos"
    for i in range(40):
        path = f"{root}/{'ab'[i % 2]}/{i:04}.png"
        tf.io.gfile.makedirs(os.path.dirname(path))
        with tf.io.gfile.GFile(path, "wb") as f:
            f.write(encoded(picture(4, 4, "L", i)))
    before = config_name(root)
    builder = build(root + "/", tmp_path)
    assert sum(i.num_examples for i in builder.info.splits.values()) == 40
    assert builder.info.features["label"].names == ["a", "b"]
    with tf.io.gfile.GFile(f"{root}/a/new.png", "wb") as f:
        f.write(b"")
    assert config_name(root) != before


def test_split_without_one_good_file(tmp_path):
    root = write(tmp_path / "images", [*numbered(3, "train/"), "test/a.png", "val/a.png"])
    (tmp_path / "images/val/a.png").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"(?s)manual_dir .* split 'validation' can be used.*empty"
    ):
        build(root, tmp_path / "data")


def test_long_summaries_are_cut():
    refused = [(f"{i}.png", image_files.Refused("mode X")) for i in range(25)]
    refused.append(("a.png", image_files.Refused("animated", "3 frames")))
    lines = image_files.summarise(refused).splitlines()
    assert lines[:2] == ["25 mode X:", "  0.png"]
    assert lines[10:] == ["  9.png", "  ... and 15 more", "1 animated:", "  a.png (3 frames)"]


def test_builder_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match="image_folder needs config=make_config"):
        ImageFolder(data_dir=str(tmp_path))
