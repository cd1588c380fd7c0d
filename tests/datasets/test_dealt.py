"""Records that a runner of Apache Beam helped to make are those that are made without."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import celeb_a_files
import pytest
import volumes
from pictures import encoded, picture

from tf_structvae import datasets
from tf_structvae.datasets import dealt
from tf_structvae.datasets.nifti.ukbb import UKBB
from tf_structvae.utilities import pipelines
from tf_structvae.utilities.pipelines import Runner

ROOT = Path(__file__).parents[2]
RUNNER = Runner(workers=2)


@pytest.fixture
def at_once(monkeypatch):
    """A runner that does its work in this process, as it would arrive in another one."""

    def run(work, pieces, *_, **__):
        for piece in pieces:
            pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(piece)))

    monkeypatch.setattr(pipelines, "run", run)


def files(folder, suffix="*"):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(Path(folder).rglob(suffix))
        if p.is_file()
    }


def left(folder):
    return [p for p in Path(folder).rglob("*.work")]


@pytest.fixture
def pictures(tmp_path):
    for split, count in (("train", 70), ("validation", 2), ("test", 2)):
        (tmp_path / "pictures" / split).mkdir(parents=True)
        for i in range(count):
            path = tmp_path / "pictures" / split / f"{i:03}.png"
            path.write_bytes(encoded(picture(5, 4, "RGB", i)))
    (tmp_path / "pictures/train/003.png").write_bytes(b"\x89PNG damaged")
    return tmp_path / "pictures"


def test_a_folders_records_and_skipped_files(at_once, pictures, tmp_path, capfd):
    def spec(name):
        return datasets.Spec(
            "image_folder", data_dir=str(tmp_path / name), manual_dir=str(pictures),
            image_size=(4, 4),
        )  # fmt: skip

    datasets.prepare(spec("alone"), "train")
    want = capfd.readouterr().out
    datasets.prepare(spec("dealt"), "train", RUNNER)
    told = capfd.readouterr().out
    records = files(tmp_path / "alone", "*.tfrecord*")
    assert len(records) == 3
    assert files(tmp_path / "dealt", "*.tfrecord*") == records
    assert "1 of 74 files skipped" in want
    assert told == want.replace("/alone/", "/dealt/")
    assert "003.png (its header cannot be read)" in told
    assert files(tmp_path / "dealt", "skipped.json") == files(tmp_path / "alone", "skipped.json")
    assert not left(tmp_path)
    # they are there: nobody is asked
    datasets.prepare(spec("dealt"), "train", Runner("NoSuchRunner"))


@pytest.mark.long
def test_program_prepares_the_folder_of_a_config(pictures, tmp_path):
    words = [
        "bin/prepare", "--config=configs/smoke.py", "--config.data.name=image_folder",
        "--config.data.variant=", f"--config.data.manual_dir={pictures}",
        "--config.data.image_size=(4, 4)",
    ]  # fmt: skip
    for name, more in (("alone", []), ("dealt", ["--runner=local", "--workers=2"])):
        data_dir = tmp_path / name
        done = subprocess.run(
            [sys.executable, *words, f"--config.data.dir={data_dir}", *more],
            cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "train 69" in done.stdout
    assert files(tmp_path / "dealt", "*.tfrecord*") == files(tmp_path / "alone", "*.tfrecord*")
    assert not left(tmp_path)


def test_celeb_a(at_once, tmp_path):
    manual = celeb_a_files.write(tmp_path / "files")

    def spec(name):
        return datasets.Spec("celeb_a", data_dir=str(tmp_path / name), manual_dir=str(manual))

    datasets.prepare(spec("alone"), "train")
    datasets.prepare(spec("dealt"), "train", RUNNER)
    assert files(tmp_path / "dealt", "*.tfrecord*") == files(tmp_path / "alone", "*.tfrecord*")
    assert not left(tmp_path)


def test_a_damaged_image_of_celeb_a_is_named(at_once, tmp_path):
    manual = celeb_a_files.write(tmp_path / "files", "img_align_celeba")
    name = celeb_a_files.NAMES[3]
    (manual / "img_align_celeba" / name).write_bytes(celeb_a_files.JPEGS[name][:500])
    spec = datasets.Spec("celeb_a", data_dir=str(tmp_path / "data"), manual_dir=str(manual))
    with pytest.raises(ValueError, match=f"image {name} cannot be decoded"):
        datasets.prepare(spec, "train", RUNNER)


def test_volumes(at_once, tmp_path):
    folder = volumes.ukb_folder(tmp_path / "volumes", range(12))
    volumes.write_zip(folder / "part0/1000099_20252_2_0.zip", {"T1/T1_brain_to_MNI.nii.gz": b"bad"})
    made = []
    for name in ("alone", "dealt"):
        config = volumes.options(folder)
        builder = UKBB(config=config, data_dir=str(tmp_path / name))
        if name == "dealt":
            builder.deal = dealt.by_runner(RUNNER, str(tmp_path / "work"))
        builder.download_and_prepare()
        made.append((files(tmp_path / name, "*.tfrecord*"), builder.info.metadata["skipped"]))
    assert len(made[0][0]) == 3
    (skipped,) = made[0][1]
    assert skipped.startswith("part0/1000099_20252_2_0.zip")
    assert made[0] == made[1]
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_a_runner_has_nothing_to_do_for_drawn_data(tmp_path):
    spec = datasets.Spec("avatars", "16x16_tiny", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="runner must be left out for avatars: a runner prepares"):
        datasets.prepare(spec, "train", RUNNER)
    assert not list(tmp_path.iterdir())
