"""Shards of pictures and of latents: what is in them, whatever made them and however often."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import exports
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tf_structvae as sv
from tf_structvae.evaluation import calibration
from tf_structvae.export.bulk import models
from tf_structvae.export.bulk.embed import Embed
from tf_structvae.export.bulk.generate import Generate, rows
from tf_structvae.export.bulk.inputs import Folder, Read
from tf_structvae.export.bulk.job import Job

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model():
    return str(exports.exported("low_rank")[1])


def job(directory, count=7, shard_size=3, **settings):
    return Job(str(directory), count, shard_size, {"format": "numpy", **settings})


def made(work):
    """Makes all shards that are missing, in this process."""
    for shard in work.job.begin():
        work(shard)
    return work.job


def arrays(directory):
    """The arrays of all shards, one after another."""
    found = [np.load(path) for path in sorted(Path(directory).glob("*.npz"))]
    return {k: np.concatenate([f[k] for f in found]) for k in found[0].files}


def files(directory):
    return {
        str(p.relative_to(directory)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(Path(directory).rglob("*"))
        if p.is_file()
    }


@pytest.fixture
def folder(tmp_path):
    """Five pictures of 6x5 and of other sizes, one of them damaged."""
    root = tmp_path / "images"
    root.mkdir()
    rng = np.random.default_rng(0)
    for k, (height, width) in enumerate([(6, 5), (12, 10), (6, 5), (7, 9), (6, 5)]):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{k}.png")
    (root / "2.png").write_bytes((root / "2.png").read_bytes()[:40])
    return root


class TwoChannels(Folder):
    """As the model of the tests wants them."""

    def read(self, first, last):
        for found in Folder(self.root, (6, 5, 3)).read(first, last):
            pixels = None if found.pixels is None else found.pixels[..., :2]
            yield found._replace(pixels=pixels)


def inputs(root):
    return TwoChannels(str(root), (6, 5, 2))


@pytest.mark.parametrize(("kind", "shard_size"), [("samples", 3), ("samples", 7), ("means", 2)])
def test_pictures_are_those_of_the_model_whatever_the_shards(kind, shard_size, model, tmp_path):
    made(Generate(job(tmp_path, shard_size=shard_size), model, kind, seed=5))
    found = arrays(tmp_path)
    np.testing.assert_array_equal(found["numbers"], range(7))
    loaded = sv.load(model)
    want = loaded.sample(7, seed=5) if kind == "samples" else loaded.sample_means(7, seed=5)
    np.testing.assert_allclose(found["images"], want, atol=1e-6)
    if kind == "means":  # at the latents of the samples
        seeds = np.stack([np.full(7, 5), np.arange(7)], 1).astype(np.int32)
        latents = exports.loaded("low_rank").signatures["sample"](seeds=tf.constant(seeds))
        want = np.clip(latents["means"], 0, 1)
        np.testing.assert_allclose(found["images"], want, atol=1e-6)
    else:
        np.testing.assert_allclose(loaded.sample(3, seed=5, first=4), want[4:], rtol=0, atol=1e-6)


def test_pictures_and_records_hold_the_same(model, tmp_path):
    colour = str(exports.exported("grey")[1])
    work = Generate(job(tmp_path / "a"), colour, "samples")
    made(work)
    want = np.rint(255 * arrays(tmp_path / "a")["images"])
    made(Generate(job(tmp_path / "b", format="png"), colour, "samples"))
    shown = sorted((tmp_path / "b").glob("*.png"))
    assert [p.name for p in shown] == [f"{k:08d}.png" for k in range(7)]
    np.testing.assert_array_equal([np.asarray(Image.open(p)) for p in shown], want[..., 0])
    made(Generate(job(tmp_path / "c", format="tfrecord"), colour, "samples"))
    paths = sorted(map(str, (tmp_path / "c").glob("*.tfrecord")))
    spec = {
        k: tf.io.FixedLenFeature([], t) for k, t in (("image", tf.string), ("number", tf.int64))
    }
    examples = [tf.io.parse_single_example(r, spec) for r in tf.data.TFRecordDataset(paths)]
    assert [int(e["number"]) for e in examples] == list(range(7))
    np.testing.assert_array_equal([tf.io.decode_png(e["image"]) for e in examples], want)


def test_reconstructions_and_fills_of_a_folder_leave_a_damaged_file_out(model, folder, tmp_path):
    given, loaded = inputs(folder), sv.load(model)
    assert given.count == 5
    kept = [found for found in given.read(0, 5) if found.pixels is not None]
    x = np.stack([found.pixels for found in kept])
    mask = np.zeros((6, 5), bool)
    mask[:3] = True
    for kind, want in (
        ("reconstructions", loaded.reconstruct(x)),
        ("fills", loaded.condition(mask, x, images=x)),
    ):
        work = Generate(job(tmp_path / kind, 5, 2), model, kind, inputs=given, mask=mask)
        made(work)
        found = arrays(tmp_path / kind)
        np.testing.assert_array_equal(found["numbers"], [0, 1, 3, 4])
        np.testing.assert_allclose(found["images"], want, atol=1e-5)
        (left_out,) = work.job.left_out()
        assert (left_out["image"], left_out["name"]) == (2, "2.png")
        assert left_out["reason"].startswith("corrupt or truncated")
    np.testing.assert_allclose(found["images"][:, :3], x[:, :3], atol=1e-5)


def test_embeddings(model, folder, tmp_path):
    given, loaded = inputs(folder), sv.load(model)
    made(Embed(job(tmp_path / "e", 5, 2), model, given, seed=3))
    found = arrays(tmp_path / "e")
    x = np.stack([f.pixels for f in given.read(0, 5) if f.pixels is not None])
    q = loaded.encode(x)
    np.testing.assert_array_equal(found["name"], ["0.png", "1.png", "3.png", "4.png"])
    np.testing.assert_allclose(found["latents"], q.mean(), atol=1e-5)
    np.testing.assert_allclose(found["latent_stddevs"], q.stddev(), rtol=1e-5)
    p, flat = loaded.decode(q.mean()), x.reshape(4, -1)
    meter = calibration.CalibrationMeter()
    meter.update(p, tf.constant(flat))
    want = meter.result()
    np.testing.assert_allclose(
        found["component_squares"].mean(0), want.mean_square, rtol=1e-3, atol=1e-5
    )
    np.testing.assert_allclose(found["residual_square"].mean(), want.residual.mean(), rtol=1e-3)
    of_three = exports.loaded("low_rank").signatures["log_prob"](
        images=tf.constant(x[2:3]), seeds=tf.constant([[3, 3]])
    )
    np.testing.assert_allclose(found["log_likelihood"][2], of_three["log_likelihood"][0], rtol=1e-5)
    made(Embed(job(tmp_path / "r", 5, 2, format="tfrecord"), model, given, seed=3))
    paths = sorted(map(str, (tmp_path / "r").glob("*.tfrecord")))
    examples = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(paths)]
    names = [e.features.feature["name"].bytes_list.value[0] for e in examples]
    assert names == [b"0.png", b"1.png", b"3.png", b"4.png"]
    latents = [e.features.feature["latents"].float_list.value for e in examples]
    np.testing.assert_allclose(latents, found["latents"], rtol=1e-5)


def test_an_image_that_the_model_cannot_take_spoils_no_other():
    def work(images):
        if any(image.number in (1, 4) for image in images):
            raise FloatingPointError("log_prob is not finite\nand more")
        return [10 * image.number for image in images]

    kept = [Read(k, f"{k}.png", np.zeros([1])) for k in range(6)]
    numbers, found, left_out = rows(kept, work)
    assert numbers == [0, 2, 3, 5]
    assert found == [0, 20, 30, 50]
    assert [(x["image"], x["reason"]) for x in left_out] == [
        (1, "log_prob is not finite"),
        (4, "log_prob is not finite"),
    ]
    assert rows([], work) == ([], [], [])


def test_a_job_goes_on_with_what_is_missing_and_refuses_another(model, tmp_path):
    first = Generate(job(tmp_path, seed=0), model, "samples")
    assert first.job.begin() == [0, 1, 2]
    first(1)
    (tmp_path / "partial-0-samples").write_text("of a process that was killed")
    assert first.job.begin() == [0, 2]
    assert not list(tmp_path.glob("partial-*"))
    assert first.job.images_done() == 3
    made(first)
    assert first.job.images_done() == 7
    assert first.job.begin() == []
    with pytest.raises(ValueError, match=r"holds another job(.|\n)*count: 7 -> 8\n  seed: 0 -> 1"):
        job(tmp_path, count=8, seed=1).begin()
    with pytest.raises(ValueError, match="shard_size must be a positive integer, got 0"):
        job(tmp_path, shard_size=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"output .*/file/x cannot be written"):
        job(tmp_path / "file/x").begin()


def test_a_model_is_known_by_its_files(model, tmp_path):
    assert models.digest(model) == models.digest(model)
    assert models.digest(model) != models.digest(str(exports.exported("grey")[1]))
    with pytest.raises(FileNotFoundError):
        models.path(str(tmp_path / "nothing"))
    assert Path(models.path("demo")).is_absolute()


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"images .* holds no image"):
        Folder(str(tmp_path), (6, 5, 3)).about()


# On Beam.


def program(*words):
    return [sys.executable, *map(str, words)]


def generate(output, *options):
    return program(
        "bin/generate", "--count=24", "--shard_size=4", "--seed=1", "--format=numpy",
        f"--output={output}", *options,
    )  # fmt: skip


def run(words, cwd=ROOT):
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True)


@pytest.mark.long
def test_a_piece_that_fails_is_one_message_and_relative_paths_are_those_of_the_user(tmp_path):
    """A directory stands where the second shard should go."""
    wrong = tmp_path / "out/samples-00001-of-00006.npz"
    wrong.mkdir(parents=True)
    words = [sys.executable, ROOT / "bin/generate", *generate("out")[2:]]
    done = run(words, tmp_path)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "\nerror: local failed: " in done.stderr
    assert "goes on with the rest" in done.stderr
    wrong.rmdir()
    again = run(words, tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    np.testing.assert_array_equal(arrays(tmp_path / "out")["numbers"], range(24))


@pytest.mark.long
def test_shards_do_not_depend_on_the_number_of_workers(tmp_path):
    for workers in (1, 2):
        done = run(generate(tmp_path / str(workers), f"--workers={workers}"))
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"24 images in {tmp_path / str(workers)}" in done.stdout
    one, two = (files(tmp_path / str(k)) for k in (1, 2))
    assert len(one) == 13  # six shards, their records, and job.json
    assert one == two
    again = run(generate(tmp_path / "1"))
    assert "6 of 6 shards are there" in again.stdout
    other = run(generate(tmp_path / "1", "--seed=2"))
    assert other.returncode == 2
    assert "seed: 1 -> 2" in other.stderr


@pytest.mark.long
def test_a_killed_job_ends_in_the_same_shards(tmp_path):
    many = ("--shard_size=1", "--count=200")  # so that it is killed long before its end
    whole = run(generate(tmp_path / "whole", *many))
    assert whole.returncode == 0, whole.stderr[-3000:]
    words = generate(tmp_path / "killed", *many)
    killed = subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    shards = tmp_path / "killed/shards"
    while not list(shards.glob("*.json")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert 0 < len(list(shards.glob("*.json"))) < 200
    done = run(words)
    assert done.returncode == 0, done.stderr[-3000:]
    found = files(tmp_path / "killed")
    found = {k: v for k, v in found.items() if not k.startswith("shards/partial-")}
    assert found == files(tmp_path / "whole")


def test_embedding_a_folder_by_command(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for k in range(3):
        pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{k}.png")
    (tmp_path / "images/broken.png").write_bytes(b"\x89PNG")
    done = run(
        program("bin/embed", f"--images={tmp_path / 'images'}", f"--output={tmp_path / 'out'}")
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "left out  broken.png: " in done.stdout
    found = arrays(tmp_path / "out")
    assert found["latents"].shape == (3, sv.load("demo").latent_dim)
    assert np.isfinite(found["log_likelihood"]).all()
    about = json.loads((tmp_path / "out/job.json").read_text())
    assert about["images"]["image_shape"] == [64, 64, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bin/generate"], "--count must be given for samples"),
        (["bin/generate", "--count=3", "--images=docs"], "--images and --data must be left out"),
        (["bin/generate", "--kind=fills"], "--images and --data must be given"),
        (["bin/generate", "--count=3", "--label=2"], "--label must be left out"),
        (["bin/generate", "--count=3", "--mask=x"], "--mask must be left out for samples"),
        (["bin/generate", "--count=3", "--runner_option=x"], "must be '--name=value', got 'x'"),
        (["bin/embed", "--images=setup.py"], "--images must be a folder of images, got"),
        (["bin/embed"], "--images or --data must be given"),
        (["bin/embed", "--images=x", "--data=avatars"], "--images or --data must be given, not"),
    ],
)
def test_flags_that_do_not_fit(words, message, tmp_path):
    import forked

    done = forked.run(*words, f"--output={tmp_path / 'out'}")
    assert done.returncode == 2, done.stderr[-2000:]
    assert message in done.stderr
    assert not list((tmp_path / "out").glob("*.npz"))
