"""ukbb: which files there are, what they hold, and what is kept of them."""

import fcntl
import gzip
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from volumes import (
    SMALL,
    as_bytes,
    pictures_of,
    random_volume,
    ukb_folder,
    volumes_of,
    write,
    write_zip,
)

from tf_structvae.datasets.nifti import cache as nifti_cache
from tf_structvae.datasets.nifti import files as nifti_files


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


def test_strange_files_are_named_and_not_waited_for(tmp_path):
    write(tmp_path / "a.nii", random_volume(0))
    for name in ("pipe.nii.gz", "pipe.zip"):
        os.mkfifo(tmp_path / name)
    with open(os.fsencode(tmp_path) + b"/caf\xe9.nii", "wb") as f:
        f.write(b"")
    files = nifti_files.list_files(str(tmp_path))
    volumes, problems = nifti_files.find_volumes(str(tmp_path), files)
    assert [v.name for v in volumes] == ["a.nii"]
    assert problems == {
        r"caf\xe9.nii": "the name is not UTF-8",
        "pipe.nii.gz": "it is a pipe, socket or device",
        "pipe.zip": "it is a pipe, socket or device",
    }


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


# Every Python that is started with this on its path runs it, the workers of a pool, too.
WAITS = """
import fcntl, os
from tf_structvae.datasets.nifti import slicing as nifti

read = nifti.read

def wait_and_read(manual_dir, volume):
    if volume.name >= "05":
        told = open(os.environ["TOLD"], "a")  # until this process ends
        told.write(f"reads {volume.name}\\n")
        told.flush()
        with open(os.environ["GATE"]) as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
    return read(manual_dir, volume)

nifti.read = wait_and_read
"""
FILL = """
import signal, sys
from pathlib import Path
from tf_structvae.datasets.nifti import cache, files, slicing

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
folder, directory = sys.argv[1:]
volumes, _ = files.find_volumes(folder, files.list_files(folder))
assert "tensorflow" not in sys.modules
cache.fill(Path(directory), folder, volumes, slicing.Slicing(slices=(0, 1, 0.01)), workers=2)
"""


def test_ctrl_c_stops_all_processes_and_keeps_what_is_done(tmp_path):
    """Ctrl-C while two volumes of 20 are read, which would never be done."""
    data = random_volume(0, (48, 48, 48))
    write(tmp_path / "in" / "00.nii", data)
    for i in range(1, 20):
        os.link(tmp_path / "in" / "00.nii", tmp_path / "in" / f"{i:02}.nii")
    (tmp_path / "program.py").write_text(FILL)
    (tmp_path / "sitecustomize.py").write_text(WAITS)
    cache, gate, told = tmp_path / "cache", tmp_path / "gate", tmp_path / "told"
    os.mkfifo(told)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with gate.open("w") as closed:
        fcntl.flock(closed, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [sys.executable, tmp_path / "program.py", tmp_path / "in", cache],
            env={**os.environ, "PYTHONPATH": path, "GATE": str(gate), "TOLD": str(told)},
            start_new_session=True,
        )
        guard = threading.Timer(600, os.killpg, [process.pid, signal.SIGKILL])  # if it hangs
        guard.start()
        with told.open() as lines:
            said = {lines.readline() for _ in range(2)}
            assert said == {"reads 05.nii\n", "reads 06.nii\n"}
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
            assert process.wait() == -signal.SIGINT
            assert lines.read() == ""  # no other is begun, and all processes have ended
        guard.cancel()
    done = list(cache.glob("*.npz"))
    assert len(done) == 5
    assert all(len(list(nifti_cache.load(path))) == 48 for path in done)
    assert not list(cache.glob("*.tmp"))
