"""Order, sharding and augmentation of the batches, against loops over NumPy arrays."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from pixel_source import COUNT, SHAPE, pixels, source

from tf_structvae.datasets import augment, pipeline


@pytest.fixture(params=["cached", "streamed"])
def data(request, monkeypatch):
    if request.param == "streamed":
        monkeypatch.setattr(pipeline.is_cached, "__defaults__", (0,))
    s = source()
    assert pipeline.is_cached(s) == (request.param == "cached")
    return s


def batches(s, **kwargs):
    options = {"batch_size": 48, "steps": 12, "seed": 3} | kwargs
    return [b.numpy() for b in pipeline.training_batches(s, **options)]


def test_training_order_is_a_function_of_seed_and_step(data):
    whole = batches(data)
    assert len(whole) == 12
    assert whole[0].shape == (48, *SHAPE)
    assert whole[0].dtype == np.float32
    for start in (0, 3, 5, 7, 11):
        for a, b in zip(whole[start:], batches(data, start_step=start), strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.any(whole[0] != batches(data, seed=4)[0])
    # 5 batches of 48 a pass: no image twice in a pass, another order in the next
    assert len({x.tobytes() for b in whole[:5] for x in b}) == 240
    assert np.any(whole[0] != whole[5])
    assert batches(data, start_step=12) == []


def test_order_does_not_depend_on_the_global_seed(data):
    whole = batches(data)
    tf.keras.utils.set_random_seed(7)
    np.testing.assert_array_equal(batches(data)[3], whole[3])


@pytest.mark.parametrize("step", [0, 4, 5, 11])
def test_batch_indices_name_the_images(data, step):
    told = pipeline.batch_indices(data, 48, step, 3)
    np.testing.assert_array_equal(batches(data)[step], pixels()[told] / np.float32(255))


def test_a_small_buffer_still_shows_every_image_once():
    s = source(encoded_bytes=pipeline.SHUFFLE_BYTES / 20)
    streamed = dataclasses.replace(s, count=COUNT)
    assert pipeline.shuffle_buffer(s) == COUNT  # cached: no more bytes than the cache has
    large = dataclasses.replace(streamed, image_shape=(20_000, 20_000, 3))
    assert pipeline.shuffle_buffer(large) == 20


def test_buffer_is_bounded(monkeypatch):
    monkeypatch.setattr(pipeline.is_cached, "__defaults__", (0,))
    s = source(encoded_bytes=pipeline.SHUFFLE_BYTES / 20)
    assert pipeline.shuffle_buffer(s) == 20
    whole = batches(s, batch_size=50, steps=5)
    assert len({x.tobytes() for b in whole for x in b}) == COUNT
    # the first batch can only hold what has entered a buffer of 20 by then
    assert max(pipeline.batch_indices(s, 50, 0, 3)) < 70


def test_pixels_are_floats_of_the_stored_bytes(data):
    ordered = np.concatenate([b.numpy() for b in pipeline.evaluation_batches(data, 48)])
    np.testing.assert_array_equal(ordered, pixels() / np.float32(255))


def test_evaluation_keeps_order_and_remainder(data):
    sizes = [len(b) for b in pipeline.evaluation_batches(data, 48)]
    assert sizes == [48, 48, 48, 48, 48, 10]
    assert [len(b) for b in pipeline.evaluation_batches(data.take(50), 48)] == [48, 2]


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_shards_together_are_the_batch(data, workers):
    change = augment.chain(True, 1)
    whole = batches(data, batch_size=5, steps=4, augment=change)
    parts = [
        batches(data, batch_size=5, steps=4, augment=change, shard=(i, workers))
        for i in range(workers)
    ]
    for step, batch in enumerate(whole):
        np.testing.assert_array_equal(np.concatenate([p[step] for p in parts]), batch)
    sizes = [len(p[0]) for p in parts]
    assert max(sizes) - min(sizes) <= 1
    ordered = [list(pipeline.evaluation_batches(data, 48, (i, workers))) for i in range(workers)]
    assert {len(o) for o in ordered} == {6}
    last = np.concatenate([o[-1] for o in ordered])
    np.testing.assert_array_equal(last, pixels()[240:] / np.float32(255))


def test_attributes_of_one_shape_come_along(data):
    batch = next(iter(pipeline.training_batches(data, 48, 1, 3, attributes=True)))
    assert set(batch) == {"image", "label"}
    np.testing.assert_array_equal(batch["image"], pixels()[batch["label"]] / np.float32(255))
    ordered = next(iter(pipeline.evaluation_batches(data, 48, attributes=True)))
    np.testing.assert_array_equal(ordered["label"], np.arange(48))


def test_number_of_batches_is_known(data):
    assert int(pipeline.training_batches(data, 48, 12, 0, start_step=3).cardinality()) == 9
    assert int(pipeline.evaluation_batches(data, 48).cardinality()) == 6


def test_flips(data):
    plain, flipped = batches(data, steps=5), batches(data, steps=5, augment=augment.flip)
    same = np.concatenate([(a == b).all((1, 2, 3)) for a, b in zip(plain, flipped, strict=True)])
    mirrored = np.concatenate(
        [(a[:, :, ::-1] == b).all((1, 2, 3)) for a, b in zip(plain, flipped, strict=True)]
    )
    assert np.all(same | mirrored)
    assert abs(same.mean() - 0.5) < 4 * 0.5 / 240**0.5
    again = batches(data, steps=5, augment=augment.flip, start_step=2)
    np.testing.assert_array_equal(again[0], flipped[2])
    # another showing of an image is another draw
    later = batches(data, steps=10, augment=augment.flip)[5:]
    first = {x.tobytes() for b in flipped for x in b}
    again = [x.tobytes() in first for b in later for x in b]
    assert 0.3 < np.mean(again) < 0.7


def test_shift_reflects_at_the_borders():
    images = pixels(400)[:400].astype(np.float32) / 255
    seeds = np.stack([np.zeros(400, np.int64), np.arange(400)], -1)
    moved = augment.shift(2)(tf.constant(images), tf.constant(seeds)).numpy()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], "reflect")
    seen = []
    for i in range(400):
        for dy in range(5):
            for dx in range(5):
                if np.array_equal(moved[i], padded[i, dy : dy + 6, dx : dx + 5]):
                    seen.append((dy, dx))
    assert len(seen) == 400
    counts = np.array([seen.count((dy, dx)) for dy in range(5) for dx in range(5)])
    chi_squared = np.sum((counts - 16) ** 2 / 16)
    assert chi_squared < 24 + 4.5 * (2 * 24) ** 0.5


def test_augmentation_keeps_the_static_shape(data):
    made = pipeline.training_batches(data, 48, 1, 0, augment=augment.chain(True, 2))
    assert made.element_spec.shape[1:] == SHAPE


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 300}, "batch_size must be from 1 to the 250 training examples, got 300"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"shard": (2, 2)}, r"shard must be \(index, count\) .* got \(2, 2\)"),
    ],
)
def test_impossible_batches(data, arguments, message):
    with pytest.raises(ValueError, match=message):
        batches(data, **arguments)


def test_negative_shift():
    with pytest.raises(ValueError, match="shift must be a number of pixels >= 0, got -1"):
        augment.chain(False, -1)
