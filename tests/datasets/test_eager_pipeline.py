"""The functions that run within tf.data, called as they are, against loops over NumPy arrays."""

import numpy as np
import pytest
import tensorflow as tf
from pixel_source import SHAPE, pixels, source
from resized import reference, smooth

from tf_structvae.datasets import augment, pipeline, resize


@pytest.mark.parametrize("policy", resize.POLICIES)
def test_fitted_images_are_those_of_the_definition(policy):
    """The bound of `test_fit.test_against_the_definition`."""
    for height, width in ((64, 64), (2, 3), (1, 90), (101, 57), (300, 17)):
        image = smooth(height, width)
        for size in ((64, 64), (33, 47)):
            found = resize.fit_tensor(tf.constant(image), size, policy).numpy()
            assert found.dtype == np.uint8
            assert np.abs(found - reference(image, size, policy)).max() < 1.7


@pytest.mark.parametrize("size", [1, 2, 7, 8])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_parts_are_as_equal_as_can_be(size, workers):
    batch = {"image": tf.range(size), "label": 10 * tf.range(size)}
    found = [pipeline.part(batch, (i, workers)) for i in range(workers)]
    rows = [p["image"].numpy().tolist() for p in found]
    assert [x for r in rows for x in r] == list(range(size))
    assert max(map(len, rows)) - min(map(len, rows)) <= 1
    for p in found:
        np.testing.assert_array_equal(p["label"], 10 * p["image"])


def test_batches_are_decoded_and_scaled():
    s = source(20)
    encoded = next(iter(pipeline._fields(s, True, "").batch(20)))
    decoded = pipeline._decode_batch(s)(encoded)
    np.testing.assert_array_equal(decoded["image"], pixels(20))
    one = pipeline._decode_one(s)({"image": encoded["image"][3], "label": 3})
    np.testing.assert_array_equal(one["image"], pixels(20)[3])
    batch = pipeline._finish(decoded)
    np.testing.assert_array_equal(batch["image"], pixels(20) / np.float32(255))
    np.testing.assert_array_equal(batch["label"], np.arange(20))
    assert pipeline._delivered(batch, True, "label") is batch
    images, labels = pipeline._delivered(batch, False, "label")
    assert images is batch["image"] is pipeline._delivered(batch, False, "")
    assert (labels.dtype, labels.shape) == (tf.int32, [20])


# Augmentation.


def seeds(count):
    return tf.constant(np.stack([np.full(count, 3), np.arange(count)], -1))


@pytest.fixture
def _one_by_one(monkeypatch):
    """The loop over seeds in Python."""

    def loop(function, elements, fn_output_signature):
        return tf.stack([tf.cast(function(e), fn_output_signature) for e in elements])

    monkeypatch.setattr(tf, "map_fn", loop)


def test_a_number_depends_on_its_seed_and_stream_alone(request):
    together = [augment._uniform(seeds(300), k).numpy() for k in (0, 1)]
    request.getfixturevalue("_one_by_one")
    for k in (0, 1):
        np.testing.assert_array_equal(augment._uniform(seeds(300)[17:20], k), together[k][17:20])
        assert 0 <= together[k].min() < together[k].max() < 1
        assert abs(together[k].mean() - 0.5) < 4 / (12 * 300) ** 0.5
    assert abs(np.corrcoef(*together)[0, 1]) < 4 / 300**0.5


@pytest.mark.usefixtures("_one_by_one")
def test_changes_follow_one_another():
    """flip, shift and a third, each by its own stream of numbers."""
    images = pixels(40).astype(np.float32)
    brighter = lambda x, s: x + tf.cast(s[:, 1], tf.float32)[:, None, None, None]  # noqa: E731
    found = augment.chain(True, 1, brighter)(tf.constant(images), seeds(40)).numpy()
    mirrored = augment._uniform(seeds(40), 0).numpy() < 0.5
    dy, dx = (np.floor(3 * augment._uniform(seeds(40), k)).astype(int) for k in (1, 2))
    assert 0 < mirrored.sum() < 40
    assert set(dy) == set(dx) == {0, 1, 2}
    height, width, _ = SHAPE
    for i, image in enumerate(images):
        image = image[:, ::-1] if mirrored[i] else image
        padded = np.pad(image, [(1, 1), (1, 1), (0, 0)], "reflect")
        moved = padded[dy[i] : dy[i] + height, dx[i] : dx[i] + width]
        np.testing.assert_array_equal(found[i], moved + i)


def test_without_changes_there_is_no_function():
    assert augment.chain(False, 0) is None


@pytest.mark.parametrize(
    ("change", "images", "message"),
    [
        (augment.flip, tf.zeros([2, 3, 4]), r"images must be \[B, H, W, C\], got \(2, 3, 4\)"),
        (augment.shift(3), tf.zeros([2, 9, 3, 1]), r"less than height and width, \(9, 3\), got 3"),
    ],
)
def test_impossible_changes(change, images, message):
    with pytest.raises(ValueError, match=message):
        change(images, seeds(2))
    with pytest.raises(ValueError, match=r"seeds must be \[B, 2\], got \(2,\)"):
        change(tf.zeros([2, 5, 5, 1]), tf.zeros([2], tf.int64))
    with pytest.raises(ValueError, match=r"shift must be .* >= 0, got -2"):
        augment.shift(-2)
