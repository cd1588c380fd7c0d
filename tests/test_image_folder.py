import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_structvae.datasets import fit, folder_listing, image_files, image_folder
from tf_structvae.datasets.image_folder import ImageFolder, config_name, make_config


def picture(height=20, width=24, mode="RGB", seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (4, 4, 3), "u1")
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image, kind="PNG", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, depth, colour, rows):
    """A PNG by hand: https://www.w3.org/TR/png-3/."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*p) for p in parts)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


def bad_files():
    """name -> (bytes, how the reason starts)."""
    good, frames = picture(), [picture(seed=s) for s in (1, 2)]
    whole = encoded(good)
    jpeg, webp = encoded(good, "JPEG"), encoded(good, "WEBP")
    key = {"transparency": (1, 2, 3)}
    return {
        "zero.png": (b"", "empty"),
        "text.png": (b"no image at all", "not a PNG"),
        "gif.jpg": (encoded(good.convert("P"), "GIF"), "not a PNG"),
        "header_only.png": (whole[:20], "corrupt or truncated"),
        "half.png": (whole[: len(whole) // 2], "corrupt or truncated"),
        "no_end.png": (whole[:-2], "corrupt or truncated"),
        "flipped.png": (flipped(whole, len(whole) // 2), "corrupt or truncated"),
        "checksum.png": (flipped(whole, len(whole) - 14), "corrupt or truncated"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "corrupt or truncated"),
        "cut.jpg": (jpeg[:-40], "corrupt or truncated"),
        "half.webp": (webp[: len(webp) // 2], "corrupt or truncated"),
        "grey16.png": (png(3, 2, 16, 0, bytes(2 * 7)), "16 bits"),
        "rgb16.png": (png(3, 2, 16, 2, bytes(2 * 19)), "16 bits"),
        "cmyk.jpg": (encoded(good.convert("CMYK"), "JPEG"), "CMYK"),
        "rgba.png": (encoded(good.convert("RGBA")), "alpha"),
        "la.png": (encoded(good.convert("LA")), "alpha"),
        "rgba.webp": (encoded(Image.new("RGBA", (9, 9), (9, 9, 9, 9)), "WEBP"), "alpha"),
        "palette.png": (encoded(good.convert("P"), transparency=0), "alpha"),
        "colour_key.png": (encoded(good, **key), "alpha"),
        "animated.png": (encoded(good, save_all=True, append_images=frames), "animated"),
        "animated.webp": (encoded(good, "WEBP", save_all=True, append_images=frames), "animated"),
        "bomb.png": (png(10**4, 10**4, 8, 0, b""), "more pixels"),
        "bigger_bomb.png": (png(10**5, 10**5, 8, 0, b""), "more pixels"),
        "no_pixels.png": (png(0, 5, 8, 0, b""), "corrupt or truncated"),
    }


BAD = bad_files()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bad_files_are_refused_with_a_reason():
    for name, (data, reason) in BAD.items():
        with pytest.raises(image_files.Refused) as caught:
            image_files.decode(data)
        assert caught.value.reason.startswith(reason), name


def test_no_damage_passes_that_changes_pixels():
    """A cut file is refused, or lacks nothing but an end mark; a changed PNG likewise."""
    small = picture(6, 5)
    for kind in ("PNG", "JPEG", "WEBP"):
        data = encoded(small, kind)
        whole = np.asarray(image_files.decode(data))
        damaged = [data[:n] for n in range(len(data))]
        if kind == "PNG":  # the others hold no checksum
            damaged += [flipped(data, at) for at in range(len(data))]
        refused = 0
        for d in damaged:
            try:
                np.testing.assert_array_equal(np.asarray(image_files.decode(d)), whole)
            except image_files.Refused:
                refused += 1
        assert refused > 0.95 * len(damaged)


def test_good_files_decode_as_pillow_does():
    for kind in ("PNG", "JPEG", "WEBP"):
        for mode in ("1", "L", "P", "RGB"):
            image = picture(mode="RGB" if mode == "P" and kind != "PNG" else mode)
            data = encoded(image, kind)
            decoded = image_files.decode(data)
            assert decoded.mode == ("L" if mode in ("1", "L") and kind != "WEBP" else "RGB")
            expected = Image.open(io.BytesIO(data)).convert(decoded.mode)
            np.testing.assert_array_equal(np.asarray(decoded), np.asarray(expected))


def test_jpeg_with_previews_behind_is_no_animation():
    """Multi-Picture Format (CIPA DC-007), which cameras write."""
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    expected = image_files.decode(encoded(picture(), "JPEG"))
    np.testing.assert_array_equal(np.asarray(image_files.decode(data)), np.asarray(expected))


def test_colour_is_seen_in_pixels():
    grey, colour = picture(mode="L"), picture()
    for kind in ("PNG", "JPEG", "WEBP"):
        assert not image_files.has_colour(encoded(grey, kind))
        assert not image_files.has_colour(encoded(grey.convert("RGB"), kind))
        assert image_files.has_colour(encoded(colour, kind))
    assert image_files.has_colour(encoded(colour.convert("P")))


def test_exif_orientation():
    """The tag tells where row 0 and column 0 of the file are in what is seen."""
    seen = np.asarray(picture(5, 7))
    stored = {
        1: seen,
        2: seen[:, ::-1],
        3: seen[::-1, ::-1],
        4: seen[::-1],
        5: seen.transpose(1, 0, 2),  # row 0 is the left side, column 0 the top
        6: seen[:, ::-1].transpose(1, 0, 2),  # row 0 is the right side, column 0 the top
        7: seen[::-1, ::-1].transpose(1, 0, 2),  # right side, bottom
        8: seen[::-1].transpose(1, 0, 2),  # left side, bottom
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(Image.fromarray(np.ascontiguousarray(pixels)), exif=exif)
        np.testing.assert_array_equal(np.asarray(image_files.decode(data)), seen)


def test_in_threads_keeps_order_and_a_bounded_window():
    taken = []
    results = image_files.in_threads(lambda i: i * i, (taken.append(i) or i for i in range(1000)))
    assert next(results) == (0, 0)
    assert len(taken) <= 4 * 32
    assert list(results) == [(i, i * i) for i in range(1, 1000)]


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
            raise tf.errors.PermissionDeniedError(None, None, f"{path}; Permission denied")

        monkeypatch.setattr(tf.io.gfile, "listdir", closed)
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
    ],
)
def test_wrong_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_config(str(tmp_path), **options)


def test_config_name_follows_options_and_folder(tmp_path):
    root = write(tmp_path / "a", numbered(60))
    names = [config_name(root)]
    assert config_name(root, 64, 64, "crop") == names[0] == make_config(root).name
    for options in (
        {"height": 32},
        {"width": 32},
        {"policy": "pad"},
        {"channels": 1},
        {"strict": True},
        {"fractions": (0.7, 0.2, 0.1)},
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
            np.testing.assert_array_equal(e["image"], fit.fit_pillow(image, (8, 10)))
    told = json.loads((builder.data_path / image_folder.SKIPPED).read_text())
    skipped = {os.path.basename(s["path"]): s["reason"] for s in told["skipped"]}
    assert skipped.keys() == BAD.keys()
    assert all(skipped[name].startswith(BAD[name][1]) for name in BAD)
    out = capsys.readouterr().out
    assert f"{len(BAD)} of {len(BAD) + 39} files skipped" in out
    assert "2 CMYK" not in out
    assert "1 CMYK:\n  train/0/cmyk.jpg" in out
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
    expected = np.asarray(fit.fit_pillow(image, (8, 10), "pad"))
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
    refused = [(f"{i}.png", image_files.Refused("CMYK")) for i in range(25)]
    refused.append(("a.png", image_files.Refused("animated", "3 frames")))
    lines = image_files.summarise(refused).splitlines()
    assert lines[:2] == ["25 CMYK:", "  0.png"]
    assert lines[10:] == ["  9.png", "  ... and 15 more", "1 animated:", "  a.png (3 frames)"]


def test_builder_without_a_folder(tmp_path):
    with pytest.raises(ValueError, match="image_folder needs config=make_config"):
        ImageFolder(data_dir=str(tmp_path))
