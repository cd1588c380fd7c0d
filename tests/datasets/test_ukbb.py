"""ukbb: the builder and its splits."""

import io
import os
import shutil

import numpy as np
import pytest
from volumes import (
    SMALL,
    build,
    examples,
    options,
    people_of,
    random_volume,
    ukb_folder,
    volumes_of,
    write,
    write_zip,
)

from tf_structvae.datasets.nifti import cache as nifti_cache
from tf_structvae.datasets.nifti import slicing
from tf_structvae.datasets.nifti.ukbb import SPLITS, UKBB, UKBBConfig, config_name, split_of
from tf_structvae.datasets.spec import NIFTI


def test_records_hold_the_pictures(tmp_path):
    from PIL import Image

    folder = ukb_folder(tmp_path / "in", range(12), instances=2)
    builder = build(folder, tmp_path / "out")
    parts = examples(builder)
    assert {s: builder.info.splits[s].num_examples for s in SPLITS} == {
        s: len(part) for s, part in parts.items()
    }
    seen = [e for part in parts.values() for e in part]
    assert len(seen) == 12 * 2 * 3
    for e in seen:
        name = e["volume"].decode()
        person, visit = int(name.split("/")[1][:7]) - 1000000, int(name.split("_")[2])
        assert e["participant"].decode() == str(1000000 + person)
        k = round((float(e["position"]) + 18) / 4)
        assert k in (2, 5, 7)  # 0.2, 0.5 and 0.8 of 9
        data = random_volume(10 * person + visit).astype(np.float64)
        white = np.percentile(data[data != 0], 99.5)
        expected = 255 * np.clip(data[:, ::-1, k].T / white, 0, 1)
        assert np.abs(e["image"][..., 0] - expected).max() <= 0.5 + 1e-3
    png = io.BytesIO(next(nifti_cache_pngs(folder, tmp_path)))
    np.testing.assert_array_equal(np.asarray(Image.open(png)), seen[0]["image"][..., 0])
    assert "NeuroImage" in builder.info.citation


def nifti_cache_pngs(folder, tmp_path):
    """The first volume of the training split, cut again."""
    person = min(p for p in map(str, range(1000000, 1000012)) if split(p) == "train")
    volume = next(v for v in volumes_of(folder) if person in v.name)
    nifti_cache.fill(tmp_path / "c", str(folder), [volume], SMALL)
    for png, _ in nifti_cache.load(nifti_cache.entry(tmp_path / "c", str(folder), volume)):
        yield png


def split(person):
    return split_of(person, (0.4, 0.3, 0.3), 0)


def test_splits_share_nobody_and_stay_when_people_join(tmp_path):
    folder = ukb_folder(tmp_path / "in", range(10), instances=2)
    first = build(folder, tmp_path / "out")
    before = people_of(first)
    assert sorted(p for part in before.values() for p in part) == sorted(
        str(1000000 + p) for p in range(10)
    )
    ukb_folder(folder, range(10, 16))
    second = build(folder, tmp_path / "out")
    after = people_of(second)
    assert sum(map(len, after.values())) == len(set.union(*after.values())) == 16
    assert all(before[s] <= after[s] for s in SPLITS)
    assert first.data_dir != second.data_dir


def test_split_follows_the_fractions():
    n = 5000
    fractions = (0.8, 0.1, 0.1)
    splits = [split_of(str(1000000 + i), fractions) for i in range(n)]
    for s, f in zip(SPLITS, fractions, strict=True):
        assert abs(splits.count(s) / n - f) < 4.5 * (f * (1 - f) / n) ** 0.5
    assert splits != [split_of(str(1000000 + i), fractions, seed=1) for i in range(n)]
    # written down, since another release must not move anybody
    assert [split_of(str(1000000 + i), fractions) for i in (0, 2, 32)] == [
        "validation",
        "train",
        "test",
    ]


def test_interrupted_build_goes_on(tmp_path, monkeypatch):
    folder = ukb_folder(tmp_path / "in", range(10))
    whole = examples(build(folder, tmp_path / "other"))
    real, reads = slicing.read, []

    def interrupted(manual_dir, volume):
        if len(reads) == 4:
            raise KeyboardInterrupt
        reads.append(volume.name)
        return real(manual_dir, volume)

    monkeypatch.setattr(slicing, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(folder, tmp_path / "out")
    cache = list((tmp_path / "out" / "ukbb" / ".cache").glob("*/*"))
    assert [p.suffix for p in cache] == [".npz"] * 4
    finished, again = set(reads), []
    monkeypatch.setattr(slicing, "read", lambda d, v: again.append(v.name) or real(d, v))
    builder = build(folder, tmp_path / "out")
    assert len(again) == 6
    assert not finished & set(again)
    assert not list((tmp_path / "out" / "ukbb" / ".cache").iterdir())
    for s, part in examples(builder).items():
        assert len(part) == len(whole[s])
        for a, b in zip(part, whole[s], strict=True):
            np.testing.assert_array_equal(a["image"], b["image"])
            assert a["volume"] == b["volume"]
    build(folder, tmp_path / "out")
    assert len(again) == 6  # built: nothing is read


def test_skipped_volumes_are_told_and_strict_refuses(tmp_path, caplog):
    folder = ukb_folder(tmp_path / "in", range(10))
    write_zip(folder / "1000020_20252_2_0.zip", {"T1/T1_brain_to_MNI.nii.gz": b""})
    (folder / "1000021_20252_2_0.zip").write_bytes(b"PK")
    build(folder, tmp_path / "out")
    again = UKBB(config=options(folder), data_dir=str(tmp_path / "out"))
    skipped = again.info.metadata["skipped"]
    assert sorted(skipped) == [
        "1000020_20252_2_0.zip/T1/T1_brain_to_MNI.nii.gz",
        "1000021_20252_2_0.zip",
    ]
    assert "10 volumes used, 2 not." in caplog.text
    assert "1000021_20252_2_0.zip: not a zip that can be read" in caplog.text
    with pytest.raises(ValueError, match=r"strict: 1000021_20252_2_0\.zip cannot be used"):
        build(folder, tmp_path / "out", strict=True)
    (folder / "1000021_20252_2_0.zip").unlink()
    with pytest.raises(ValueError, match=r"strict: 1000020_20252_2_0\.zip/.* the file is empty"):
        build(folder, tmp_path / "out", strict=True)


def test_name_depends_on_every_option_and_file(tmp_path):
    folder = ukb_folder(tmp_path / "in", range(2))
    changes = [
        {"height": 15},
        {"width": 13},
        {"axis": "coronal"},
        {"slices": (0.2, 0.8, 0.2)},
        {"spacing": 1.5},
        {"pattern": "*.nii.gz"},
        {"normalization": "max"},
        {"participant": "x"},
        {"fractions": (0.5, 0.25, 0.25)},
        {"seed": 1},
        {"strict": True},
    ]
    names = [options(folder, **c).name for c in [{}, *changes]]
    assert len(set(names)) == len(names)
    same = options(folder, slices=[0.2, 0.8, 0.3], normalization=("percentile", 99.5), workers=3)
    assert same.name == names[0] == config_name(same, same.listing)
    shutil.copytree(folder, tmp_path / "moved")  # keeps the times
    assert options(tmp_path / "moved").name == names[0]
    os.utime(next(folder.rglob("*.zip")), (1, 1))
    assert options(folder).name != names[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": (0.8, 0.2)}, "fractions of .* must be three positive numbers"),
        ({"fractions": (0.8, 0.1, 0.2)}, "fractions"),
        ({"fractions": (1.0, 0.0, 0.0)}, "fractions"),
        ({"participant": "("}, "participant must be a regular expression, got '\\('"),
        ({"axis": "up"}, "axis must be one of"),
        ({"manual_dir": ""}, "manual_dir must be a folder with NIfTI volumes, got ''"),
    ],
)
def test_bad_options(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        UKBBConfig(**({"manual_dir": str(tmp_path)} | change))


def test_bad_folders(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"manual_dir '.*nowhere' does not exist"):
        options(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="manual_dir must be a folder"):
        options(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match=r"holds no NIfTI volume \(\*\.nii"):
        build(tmp_path, tmp_path / "out")
    write(tmp_path / "in" / "a.nii", random_volume(0))
    with pytest.raises(FileNotFoundError, match=r"matches pattern 'T2\*'; volumes seen: 1"):
        build(tmp_path / "in", tmp_path / "out", pattern="T2*")

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)  # root may read everything
    with pytest.raises(PermissionError, match=r"manual_dir '.*' cannot be read: .*denied"):
        options(tmp_path / "in")


def test_empty_split_is_refused_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(slicing, "read", lambda *_: pytest.fail("read"))
    for i in range(3):
        write(tmp_path / f"p{i}" / "T1.nii", random_volume(i))
    with pytest.raises(ValueError, match=r"has 1 participants \(such as \['T1'\]\) in 3 volumes"):
        build(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="Take seed") as raised:
        build(tmp_path, tmp_path / "out", participant=r"p\d", fractions=(0.9, 0.05, 0.05), seed=2)
    assert "0 in validation" in str(raised.value)


def test_defaults_are_those_of_the_config(tmp_path):
    made = UKBBConfig(manual_dir=str(tmp_path))
    for name, value in NIFTI.items():
        same = UKBBConfig(manual_dir=str(tmp_path), **{name: value})
        assert getattr(same, name) == getattr(made, name)


def test_config_is_needed(tmp_path):
    with pytest.raises(ValueError, match="ukbb needs config=UKBBConfig"):
        UKBB(data_dir=str(tmp_path))
