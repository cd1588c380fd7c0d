"""Rows of the table of bad input: data sets, their pipeline and augmentation."""

# fmt: off

from __future__ import annotations

import tensorflow as tf
from bad_input_cases import Table, V

import tf_structvae as sv
from tf_structvae.datasets import augment, pipeline, resize

TABLE = Table()
case = TABLE.add
MISSING = (ValueError, FileNotFoundError)

# --- Data sets ---


def load(name="avatars", split="train", size=(16, 16), **options):
    return sv.datasets.load(name, split, size, **options)


case("data: unknown name", lambda: load("faces"), V, r"data set must be one of .*avatars.*got 'faces'")
case("data: name None", lambda: load(None), V, r"data set must be one of .*got None")
case("data: TFDS without a name", lambda: load("tfds:"), V, r"data set must be one of .*got 'tfds:'")
case("data: unknown of TFDS", lambda folder: load("tfds:no_such_set", data_dir=str(folder)), V, r"no_such_set")
case("data: split", lambda: load(split="eval"), V, r"split must be one of .*train.*got 'eval'")
case("data: size of one number", lambda: load(size=(16,)), V, r"image_size must be \(height, width\).*\(16,\)")
case("data: size 0", lambda: load(size=(0, 16)), V, r"image_size must be .*>= 1, got \(0, 16\)")
case("data: size 1.5", lambda: load(size=(1.5, 16)), V, r"image_size must be .*got \(1\.5, 16\)")
case("data: variant", lambda: load(variant="9x9"), V, r"variant of avatars must be one of .*got '9x9'")
case("data: fit", lambda: load(fit="squeeze"), V, r"fit must be one of .*crop.*got 'squeeze'")
case("data: channels 2", lambda: load(channels=2), V, r"channels must be 1, 3 or None, got 2")
case("data: limit 0", lambda: load(limit=0), V, r"limit must be None or a positive integer, got 0")
case("data: background", lambda: load("image_folder", background="#12345"), V, r"background .*'#rrggbb'.*got '#12345'")
case("data: background None", lambda: load("image_folder", background=None), V, r"background .*got None")
case("data: background without effect", lambda: load(background="black"), V, r"background must be 'white' for avatars, got 'black'")
case("data: nifti without effect", lambda: load(nifti={"axis": "coronal"}), V, r"nifti\.axis must be 'axial' for avatars, got 'coronal'")
case("data: batch 0", lambda: load(batch_size=0), V, r"batch_size must be a positive integer, got 0")
case("data: batch 2.5", lambda: load(batch_size=2.5), V, r"batch_size must be a positive integer, got 2\.5")
case("data: steps 0", lambda: load(steps=0), V, r"steps must be .*positive integer, got 0")
case("data: steps -1", lambda: load(steps=-1), V, r"steps must be .*positive integer, got -1")
case("data: seed text", lambda: load(seed="x"), V, r"seed must be an integer.*got 'x'")
case("data: shard 2 of 2", lambda: load(shard=(2, 2)), V, r"shard must be .*index.*count.*got \(2, 2\)")
case("data: shift -1", lambda: load(shift=-1), V, r"shift must be an integer of at least 0, got -1")
case("data: unknown option", lambda: load(colour=True), TypeError, r"colour")
case("data: no folder given", lambda: load("image_folder"), V, r"manual_dir must be the folder.*image_folder")
case("data: folder is missing", lambda: load("image_folder", manual_dir="/nowhere"), MISSING, r"/nowhere")
case("data: folder is empty", lambda folder: load("image_folder", manual_dir=str(folder), data_dir=str(folder / "d")), MISSING, r"image")
case("data: CelebA is missing", lambda folder: load("celeb_a", manual_dir="/nowhere", data_dir=str(folder)), MISSING, r"/nowhere")
case("data: UKBB is missing", lambda folder: load("ukbb", manual_dir="/nowhere", data_dir=str(folder)), MISSING, r"/nowhere")
case("data: UKBB axis", lambda folder: load("ukbb", manual_dir=str(folder), nifti={"axis": "up"}), V, r"axis.*'up'")
case("data: UKBB field", lambda folder: load("ukbb", manual_dir=str(folder), nifti={"colour": 1}), V, r"nifti .*colour")
case("info: unknown name", lambda: sv.datasets.info("faces"), V, r"data set must be one of .*got 'faces'")
case("prepare: split", lambda: sv.datasets.prepare(sv.datasets.Spec("avatars"), "eval"), V, r"split must be one of .*got 'eval'")


def source():
    """256 grey pictures."""
    examples = tf.data.Dataset.range(256).map(lambda i: {"image": i})
    return sv.datasets.Source(examples, lambda i: tf.zeros([4, 4, 1], tf.uint8), 256, (4, 4, 1), 8.0, None)


case("source: take 0", lambda: source().take(0), V, r"count must be a positive integer, got 0")
case("pipeline: start at -1", lambda: pipeline.training_batches(source(), 4, 10, 0, start_step=-1), V, r"start_step must be an integer of at least 0, got -1")
case("pipeline: batch of all and more", lambda: pipeline.training_batches(source(), 1000, 10, 0), V, r"batch_size .*256.*got 1000")
case("pipeline: empty batches", lambda: pipeline.evaluation_batches(source(), 0), V, r"batch_size must be a positive integer, got 0")
case("augment: shift -1", lambda: augment.chain(False, -1), V, r"shift must be .*>= 0, got -1")
case("augment: shift beyond the image", lambda: augment.shift(9)(tf.zeros([2, 4, 4, 1]), tf.zeros([2, 2], tf.int64)), V, r"shift .*less than .*4.*9")
case("augment: images of rank 3", lambda: augment.flip(tf.zeros([4, 4, 1]), tf.zeros([4, 2], tf.int64)), V, r"images must be \[B, H, W, C\].*\(4, 4, 1\)")
case("augment: seeds", lambda: augment.flip(tf.zeros([2, 4, 4, 1]), tf.zeros([2], tf.int64)), V, r"seeds must be \[B, 2\].*\(2,\)")
case("fit: float image", lambda: resize.fit_tensor(tf.zeros([4, 4, 3]), (2, 2)), V, r"image must be uint8.*float32")
case("fit: policy", lambda: resize.fit_tensor(tf.zeros([4, 4, 3], tf.uint8), (2, 2), "x"), V, r"fit must be one of .*got 'x'")
case("fit: 2 channels", lambda: resize.to_channels_tensor(tf.zeros([4, 4, 3], tf.uint8), 2), V, r"channels must be .*got 2")
