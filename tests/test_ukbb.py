import gzip
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import nibabel as nib
import numpy as np
import pytest

from tf_structvae.datasets import nifti, nifti_cache, nifti_files
from tf_structvae.datasets.ukbb import SPLITS, UKBB, UKBBConfig, config_name, split_of

AFFINE = np.array([[2.0, 0, 0, -11], [0, 3, 0, -20], [0, 0, 4, -18], [0, 0, 0, 1]])
SMALL = nifti.Slicing(height=14, width=12, slices=(0.2, 0.8, 0.3))


def random_volume(seed, shape=(12, 14, 10)):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def as_bytes(data, affine=AFFINE):
    return gzip.compress(nib.Nifti1Image(data, affine).to_bytes(), 1)


def write(path, data, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


def write_zip(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)


def volumes_of(folder, pattern=""):
    return nifti_files.find_volumes(str(folder), nifti_files.list_files(str(folder)), pattern)[0]


def pictures_of(folder, slicing):
    (volume,) = volumes_of(folder)
    return nifti.cut(*nifti.read(str(folder), volume), slicing)


def ukb_folder(folder, people, instances=1):
    """UK Biobank's zips, one for each participant and visit."""
    for p in people:
        for i in range(2, 2 + instances):
            members = {
                "T1/T1_brain_to_MNI.nii.gz": as_bytes(random_volume(10 * p + i)),
                "T1/T1.nii.gz": b"not to be read",
                "T1/T1.json": b"{}",
            }
            write_zip(folder / f"part{p % 2}" / f"{1000000 + p}_20252_{i}_0.zip", members)
    return folder


def options(folder, **changes):
    values = {"height": 14, "width": 12, "slices": (0.2, 0.8, 0.3), "workers": 1}
    return UKBBConfig(manual_dir=str(folder), **(values | {"fractions": (0.4, 0.3, 0.3)} | changes))


def build(folder, data_dir, **changes):
    builder = UKBB(config=options(folder, **changes), data_dir=str(data_dir))
    builder.download_and_prepare()
    return builder


def examples(builder):
    return {s: list(builder.as_dataset(split=s).as_numpy_iterator()) for s in SPLITS}


def people_of(builder):
    return {s: {e["participant"].decode() for e in part} for s, part in examples(builder).items()}


# --- pictures ---------------------------------------------------------------------------------


def test_mni_volume_against_numpy(tmp_path):
    from nilearn.datasets import load_mni152_template

    template = load_mni152_template(resolution=2)
    data = np.asarray(template.dataobj, np.float64)  # RAS, 99 x 117 x 95
    write(tmp_path / "mni.nii.gz", data.astype(np.float32), template.affine)
    slicing = nifti.Slicing(height=109, width=91, slices=(0.25, 0.75, 0.25))
    pictures, positions = pictures_of(tmp_path, slicing)
    assert (pictures.shape, pictures.dtype) == ((3, 109, 91), np.uint8)
    white = np.percentile(data[data != 0], 99.5)
    for picture, position, k in zip(pictures, positions, (24, 47, 71), strict=True):
        expected = 255 * np.clip(data[4:95, 4:113, k][:, ::-1].T / white, 0, 1)
        assert np.abs(picture - expected).max() <= 0.5 + 1e-3
        assert position == -72 + 2 * k
    assert pictures.max() == 255


@pytest.mark.parametrize("axis", nifti.AXES)
def test_orientation_of_the_file_does_not_matter(tmp_path, axis):
    image = nib.Nifti1Image(random_volume(0), AFFINE)
    slicing = nifti.Slicing(axis=axis, height=40, width=30, spacing=1.3)
    found = []
    for code in ("RAS", "LAS", "PIR", "SLP"):
        turn = nib.orientations.ornt_transform(
            nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code)
        )
        turned = image.as_reoriented(turn)
        assert nib.aff2axcodes(turned.affine) == tuple(code)
        write(tmp_path / code / "v.nii", np.asarray(turned.dataobj), turned.affine)
        found.append(pictures_of(tmp_path / code, slicing))
    for pictures, positions in found[1:]:
        np.testing.assert_array_equal(pictures, found[0][0])
        np.testing.assert_allclose(positions, found[0][1], rtol=1e-6)


@pytest.mark.parametrize(
    ("axis", "corner"), [("axial", (0, -1)), ("coronal", (0, -1)), ("sagittal", (0, 0))]
)
def test_anterior_or_superior_is_up(axis, corner):
    """One bright voxel at the right, anterior, superior end."""
    data = np.zeros((5, 6, 7), np.float32)
    data[-1, -1, -1] = 9
    index = nifti.AXES.index(axis)
    rows, columns = [data.shape[i] for i in (2, 1, 0) if i != index]
    slicing = nifti.Slicing(rows, columns, axis, (1, 1, 1), normalization="max")
    pictures, _ = nifti.cut(data, AFFINE, slicing)
    assert pictures[0][corner] == 255
    assert np.count_nonzero(pictures) == 1


def test_spacing_keeps_places_in_mm():
    """Linear interpolation of intensities that are linear in mm is exact between the voxels."""
    i, j, _ = np.meshgrid(np.arange(12), np.arange(14), np.arange(3), indexing="ij")
    data = (3.0 * (2 * i - 11) + 1.5 * (3 * j - 20)).astype(np.float32)  # 3 x + 1.5 y
    slicing = nifti.Slicing(20, 16, slices=(0, 0, 1), spacing=0.8, normalization="range:-100:100")
    picture = nifti.cut(data, AFFINE, slicing)[0][0]
    x = 0.0 + 0.8 * (np.arange(16) - 7.5)  # the volume's centre is x = 0, y = -0.5
    y = -0.5 - 0.8 * (np.arange(20) - 9.5)
    expected = 255 * (3.0 * x[None] + 1.5 * y[:, None] + 100) / 200
    # 24 mm / 0.8 is 30 columns, of which 16 are about the centre; 42 / 0.8 is 52 rows
    assert np.abs(picture - expected).max() <= 0.5 + 1e-3


def test_coarser_spacing_averages():
    """Each pixel's centre is on a voxel's, so taking the nearest would leave the stripes."""
    stripes = np.zeros((33, 33, 2), np.float32)
    stripes[::2] = 100
    slicing = nifti.Slicing(11, 11, slices=(0, 0, 1), spacing=3, normalization="range:0:100")
    picture = nifti.cut(stripes, np.eye(4), slicing)[0][0]
    assert np.abs(picture[:, 1:-1] / 255 - 0.5).max() < 0.07


def test_crop_and_pad_about_the_centre():
    data = np.full((4, 4, 2), 7, np.float32)
    picture = nifti.cut(data, np.eye(4), nifti.Slicing(8, 2, slices=(0, 0, 1)))[0][0]
    expected = np.zeros((8, 2))
    expected[2:6] = 255
    np.testing.assert_array_equal(picture, expected)


def test_normalization():
    data = np.zeros((10, 10, 2), np.float32)
    data[:, :, 0] = np.arange(-20, 80).reshape(10, 10)
    values = data[:, ::-1, 0].T.astype(np.float64)

    def cut(normalization):
        slicing = nifti.Slicing(10, 10, slices=(0, 0, 1), normalization=normalization)
        return nifti.cut(data, np.eye(4), slicing)[0][0]

    percentile = np.percentile(values[values != 0], 90)
    for normalization, low, high in (
        ("percentile:90", 0, percentile),
        (("percentile", 90), 0, percentile),
        ("max", 0, 79),
        (("range", -10, 30), -10, 30),
        ("range:-10:30", -10, 30),
    ):
        expected = 255 * np.clip((values - low) / (high - low), 0, 1)
        assert np.abs(cut(normalization) - expected).max() <= 0.5 + 1e-3
    with pytest.raises(ValueError, match="needs positive intensities"):
        nifti.cut(-np.abs(data), np.eye(4), nifti.Slicing(normalization="max"))


def test_steps_finer_than_the_volume_take_each_slice_once():
    data = random_volume(1).astype(np.float32)
    _, positions = nifti.cut(data, AFFINE, nifti.Slicing(slices=(0, 1, 0.01)))
    np.testing.assert_allclose(positions, -18 + 4 * np.arange(10))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axis": "oblique"}, "axis must be one of"),
        ({"height": 0}, "height must be a whole number of pixels >= 1, got 0"),
        ({"width": 2.5}, r"width must be .* got 2\.5"),
        ({"slices": (0.6, 0.4, 0.1)}, r"slices must be .* got \(0\.6, 0\.4, 0\.1\)"),
        ({"slices": (-10, 40, 2)}, "slices must be"),
        ({"slices": (0.1, 0.2)}, "slices must be"),
        ({"slices": (0.1, 0.2, 0)}, "slices must be"),
        ({"spacing": -1}, "spacing must be"),
        ({"spacing": float("nan")}, "spacing must be"),
        ({"normalization": "median"}, "normalization must be .* got 'median'"),
        ({"normalization": "percentile:0"}, "normalization must be"),
        ({"normalization": ("range", 5, 5)}, "normalization must be"),
        ({"normalization": "range:1"}, "normalization must be"),
    ],
)
def test_bad_slicing(change, message):
    with pytest.raises(ValueError, match=message):
        nifti.Slicing(**change)


# --- files ------------------------------------------------------------------------------------


def test_default_pattern_prefers_mni(tmp_path):
    write(tmp_path / "a" / "T1.nii.gz", random_volume(0))
    write(tmp_path / "b" / "scan.NII", random_volume(1))
    write(tmp_path / "b" / "._scan.nii", random_volume(1))
    (tmp_path / "notes.txt").write_text("x")
    assert [v.name for v in volumes_of(tmp_path)] == ["a/T1.nii.gz", "b/scan.NII"]
    ukb_folder(tmp_path / "c", [5])
    write(tmp_path / "d" / "1000006" / "unusable" / nifti_files.MNI, random_volume(2))
    (volume,) = volumes_of(tmp_path)
    assert volume.name == "c/part1/1000005_20252_2_0.zip/T1/T1_brain_to_MNI.nii.gz"
    assert [v.name for v in volumes_of(tmp_path, "T1/T1.nii.gz")] == [
        "c/part1/1000005_20252_2_0.zip/T1/T1.nii.gz"
    ]
    assert len(volumes_of(tmp_path, "T1*.nii.gz")) == 3


def test_zip_member_is_the_file(tmp_path):
    data = random_volume(3)
    write(tmp_path / "plain" / "v.nii", data)
    write_zip(tmp_path / "zip" / "1234567_20252_2_0.zip", {"T1/v.nii.gz": as_bytes(data)})
    one, two = (pictures_of(tmp_path / n, SMALL) for n in ("plain", "zip"))
    np.testing.assert_array_equal(one[0], two[0])
    assert sorted(p.name for p in (tmp_path / "zip").iterdir()) == ["1234567_20252_2_0.zip"]


def test_links_are_followed_but_not_for_ever(tmp_path):
    write(tmp_path / "elsewhere" / "v.nii", random_volume(0))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert [v.name for v in volumes_of(tmp_path / "in")] == ["link/v.nii"]


def test_participant_of_a_name():
    for path, member, expected in [
        ("1234567_20252_2_0.zip", "T1/T1_brain_to_MNI.nii.gz", "1234567"),
        ("1234567_20252_3_0.zip", "T1/T1_brain_to_MNI.nii.gz", "1234567"),
        ("20252/1234567/T1/T1.nii.gz", "", "1234567"),
        ("12345678/x.nii", "", "x"),  # 8 digits, such as a date
        ("sub-A01/ses-1/anat/sub-A01_T1w.nii.gz", "", "A01"),
        ("site/scan.7.nii.gz", "", "scan.7"),
        ("site/scan.zip", "T1.nii.gz", "scan"),
    ]:
        volume = nifti_files.Volume(nifti_files.File(path, 1, 1), member)
        assert nifti_files.participant(volume) == expected


def test_participant_by_an_expression():
    volume = nifti_files.Volume(nifti_files.File("siteA/p12/T1.nii", 1, 1))
    assert nifti_files.participant(volume, r"p\d+") == "p12"
    assert nifti_files.participant(volume, r"site(\w)/p(\d+)") == "A"
    with pytest.raises(ValueError, match=r"participant 'q.' finds nothing in 'siteA/p12/T1.nii'"):
        nifti_files.participant(volume, "q.")


# --- cache ------------------------------------------------------------------------------------


def broken_files(folder):
    data = random_volume(0).astype(np.float32)
    write(folder / "good.nii.gz", data)
    write(folder / "one_frame.nii.gz", data[..., None])
    write(folder / "frames.nii.gz", np.stack([data, data], -1))
    write(folder / "flat.nii.gz", np.full((4, 4, 4), 3, np.int16))
    write(folder / "plane.nii.gz", data[..., 0])
    write(folder / "complex.nii", data.astype(np.complex64))
    data[0, 0, 0] = np.nan
    write(folder / "nan.nii.gz", data)
    whole = (folder / "good.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.nii").write_bytes(gzip.decompress(whole)[:1000])
    (folder / "empty.nii.gz").write_bytes(b"")
    (folder / "empty.nii").write_bytes(b"")
    (folder / "text.nii").write_text("this is not an image\n" * 50)
    (folder / "dangling.nii").symlink_to(folder / "nowhere.nii")
    write_zip(folder / "member.zip", {"a.nii.gz": whole[:300], "b.nii": b""})


def test_reasons_for_what_cannot_be_used(tmp_path):
    broken_files(tmp_path / "in")
    volumes = volumes_of(tmp_path / "in")
    problems = nifti_cache.fill(tmp_path / "cache", str(tmp_path / "in"), volumes, SMALL, workers=1)
    assert {v.name for v in volumes} - set(problems) == {"good.nii.gz", "one_frame.nii.gz"}
    for name, reason in {
        "frames.nii.gz": r"the shape is (12, 14, 10, 2)",
        "flat.nii.gz": "all voxels are 3",
        "plane.nii.gz": "3 dimensions",
        "complex.nii": "the type is complex64",
        "nan.nii.gz": "1 voxels are not finite",
        "cut.nii.gz": "ended before",
        "empty.nii": "the file is empty",
        "empty.nii.gz": "the file is empty",
        "dangling.nii": "No such file",
        "member.zip/b.nii": "the file is empty",
    }.items():
        assert reason in problems[name]
    assert all(problems.values())
    with pytest.raises(ValueError, match=r"strict: .* cannot be used: "):
        nifti_cache.fill(tmp_path / "c", str(tmp_path / "in"), volumes, SMALL, True, 1)


def test_processes_write_what_one_writes(tmp_path):
    for i in range(8):
        write(tmp_path / "in" / f"{i}.nii.gz", random_volume(i))
    volumes = volumes_of(tmp_path / "in")
    for workers in (1, 2):
        cache = tmp_path / str(workers)
        assert nifti_cache.fill(cache, str(tmp_path / "in"), volumes, SMALL, workers=workers) == {}
    names = sorted(p.name for p in (tmp_path / "1").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "2").iterdir())
    assert len(names) == 8
    for name in names:
        one, two = (list(nifti_cache.load(tmp_path / w / name)) for w in ("1", "2"))
        assert one == two


def test_changed_file_has_another_entry(tmp_path):
    write(tmp_path / "v.nii", random_volume(0))
    before = nifti_cache.entry(tmp_path, str(tmp_path), volumes_of(tmp_path)[0])
    assert before == nifti_cache.entry(tmp_path, str(tmp_path), volumes_of(tmp_path)[0])
    os.utime(tmp_path / "v.nii", (1, 1))
    assert before != nifti_cache.entry(tmp_path, str(tmp_path), volumes_of(tmp_path)[0])


INTERRUPTED = """
import sys
from pathlib import Path
from tf_structvae.datasets import nifti, nifti_cache, nifti_files
if __name__ == "__main__":
    folder, cache = sys.argv[1:]
    volumes, _ = nifti_files.find_volumes(folder, nifti_files.list_files(folder))
    assert "tensorflow" not in sys.modules
    nifti_cache.fill(Path(cache), folder, volumes, nifti.Slicing(slices=(0, 1, 0.01)), workers=2)
"""


def test_ctrl_c_stops_all_processes_and_keeps_what_is_done(tmp_path):
    data = random_volume(0, (48, 48, 48))
    write(tmp_path / "in" / "0.nii", data)
    for i in range(1, 400):
        os.link(tmp_path / "in" / "0.nii", tmp_path / "in" / f"{i}.nii")
    (tmp_path / "program.py").write_text(INTERRUPTED)
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, tmp_path / "program.py", tmp_path / "in", cache],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while process.poll() is None and len(list(cache.glob("*.npz"))) < 5:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    process.communicate(timeout=60)  # ends when the last of them has closed the pipe
    assert process.returncode == -signal.SIGINT
    done = list(cache.glob("*.npz"))
    assert 5 <= len(done) < 400
    assert all(len(list(nifti_cache.load(path))) == 48 for path in done)


# --- builder ----------------------------------------------------------------------------------


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
    real, reads = nifti.read, []

    def interrupted(manual_dir, volume):
        if len(reads) == 4:
            raise KeyboardInterrupt
        reads.append(volume.name)
        return real(manual_dir, volume)

    monkeypatch.setattr(nifti, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(folder, tmp_path / "out")
    cache = list((tmp_path / "out" / "ukbb" / ".cache").glob("*/*"))
    assert [p.suffix for p in cache] == [".npz"] * 4
    finished, again = set(reads), []
    monkeypatch.setattr(nifti, "read", lambda d, v: again.append(v.name) or real(d, v))
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
    monkeypatch.setattr(nifti, "read", lambda *_: pytest.fail("read"))
    for i in range(3):
        write(tmp_path / f"p{i}" / "T1.nii", random_volume(i))
    with pytest.raises(ValueError, match=r"has 1 participants \(such as \['T1'\]\) in 3 volumes"):
        build(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="Take seed") as raised:
        build(tmp_path, tmp_path / "out", participant=r"p\d", fractions=(0.9, 0.05, 0.05), seed=2)
    assert "0 in validation" in str(raised.value)


def test_config_is_needed(tmp_path):
    with pytest.raises(ValueError, match="ukbb needs config=UKBBConfig"):
        UKBB(data_dir=str(tmp_path))
