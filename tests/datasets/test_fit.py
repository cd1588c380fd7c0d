import functools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from resized import reference, smooth

from tf_structvae.datasets import resize

SOURCES = [(64, 64), (1, 1), (2, 3), (1, 90), (90, 1), (63, 65), (101, 57), (480, 390), (300, 17)]
TARGETS = [(64, 64), (33, 47)]


def noise(height, width, channels=3):
    return np.random.default_rng([height, width]).integers(0, 256, (height, width, channels), "u1")


@functools.cache
def astronaut():
    return pytest.importorskip("skimage.data").astronaut()


def photo(height, width, channels=3):
    """Part of a photograph, at its own resolution."""
    return astronaut()[-height:, 100 : 100 + width, :channels]


def pillow(image, size, policy):
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(resize.fit_pillow(picture, size, policy)).reshape(*size, image.shape[2])


def tensor(images, size, policy):
    """All at once through a tf.data map, which knows no size."""
    channels = images[0].shape[2]
    spec = tf.TensorSpec((None, None, channels), tf.uint8)
    data = tf.data.Dataset.from_generator(lambda: iter(images), output_signature=spec)
    data = data.map(lambda x: resize.fit_tensor(x, size, policy))
    assert data.element_spec == tf.TensorSpec((*size, channels), tf.uint8)
    return [x.numpy() for x in data]


@pytest.mark.parametrize("policy", resize.POLICIES)
@pytest.mark.parametrize("make", [smooth, noise, photo])
def test_both_backends_agree(make, policy):
    """Any image: at most 2 levels, and few pixels differ at all (measured: 1, rarely 2; < 5%)."""
    for size, channels in zip(TARGETS, (1, 3), strict=True):
        images = [make(h, w, channels) for h, w in SOURCES]
        for image, fitted in zip(images, tensor(images, size, policy), strict=True):
            difference = np.abs(pillow(image, size, policy).astype(int) - fitted)
            assert difference.max() <= 2, (image.shape, size)
            assert (difference > 0).mean() < 0.05, (image.shape, size)


@pytest.mark.parametrize("policy", resize.POLICIES)
def test_against_the_definition(policy):
    """Two roundings to uint8: half a level each, the first through weights of at most 1.3 in sum
    of magnitudes, and another half level of Pillow's fixed point."""
    for size in TARGETS:
        for h, w in SOURCES:
            expected = reference(smooth(h, w), size, policy)
            assert np.abs(pillow(smooth(h, w), size, policy) - expected).max() < 1.7


def test_rounds_and_does_not_truncate():
    """The errors of 3 * 64 * 64 values, of deviation 0.41 (two roundings), have a mean near 0."""
    image = noise(100, 90) // 2 + 64  # far from 0 and 255
    error = pillow(image, (64, 64), "stretch") - reference(image, (64, 64), "stretch")
    assert abs(error.mean()) < 5 * 0.41 / (3 * 64 * 64) ** 0.5
    fitted = tensor([image], (64, 64), "stretch")[0]
    assert abs((fitted - reference(image, (64, 64), "stretch")).mean()) < 5 * 0.41 / 110


def test_same_size_is_untouched():
    for size in ((64, 64), (33, 47), (1, 5)):
        for policy in resize.POLICIES:
            image = noise(*size)
            np.testing.assert_array_equal(pillow(image, size, policy), image)
            np.testing.assert_array_equal(tensor([image], size, policy)[0], image)


def test_whole_pixels_of_a_crop_are_untouched():
    image = noise(64, 100)
    expected = image[:, 18:82]
    np.testing.assert_array_equal(pillow(image, (64, 64), "crop"), expected)
    np.testing.assert_array_equal(tensor([image], (64, 64), "crop")[0], expected)


def test_places():
    assert resize.place(40, 20, (10, 10), "crop") == (10, 0, 20, 20, 0, 0, 10, 10)
    assert resize.place(20, 41, (10, 10), "crop") == (0, 10.5, 20, 20, 0, 0, 10, 10)
    assert resize.place(40, 20, (10, 10), "pad") == (0, 0, 40, 20, 0, 2, 10, 5)
    assert resize.place(20, 40, (10, 9), "pad") == (0, 0, 20, 40, 2, 0, 5, 9)
    assert resize.place(1000, 1, (10, 10), "pad") == (0, 0, 1000, 1, 0, 4, 10, 1)
    assert resize.place(40, 20, (10, 10), "stretch") == (0, 0, 40, 20, 0, 0, 10, 10)


@pytest.mark.parametrize("policy", resize.POLICIES)
def test_both_ends_are_treated_alike(policy):
    """A mirrored image gives the mirrored result; bars of unequal width aside."""
    image = smooth(90, 70)
    upright = pillow(image, (40, 40), policy).astype(int)
    if policy == "pad":
        assert upright[:, :4].max() == upright[:, -5:].max() == 0
        assert upright[:, 4].max() > 0 < upright[:, -6].max()
    mirrored = pillow(image[::-1], (40, 40), policy)[::-1]
    assert np.abs(upright - mirrored).max() <= 1


def test_shrinking_does_not_alias():
    """A fine chessboard becomes even grey."""
    board = (255 * (np.indices((256, 256)).sum(0) % 2)).astype(np.uint8)[..., None]
    for fitted in (pillow(board, (16, 16), "crop"), tensor([board], (16, 16), "crop")[0]):
        assert np.abs(fitted.astype(int) - 127.5).max() < 8


def test_channels():
    image = noise(70, 50)
    luma = np.floor(image @ np.array([0.299, 0.587, 0.114]) + 0.5)
    grey = resize.to_channels_pillow(Image.fromarray(image), 1)
    assert np.abs(np.asarray(grey) - luma).max() <= 1  # 16-bit weights at a half
    assert (np.asarray(grey) == luma).mean() > 0.99
    np.testing.assert_array_equal(
        np.asarray(grey)[..., None], resize.to_channels_tensor(tf.constant(image), 1)
    )
    colour = np.asarray(resize.to_channels_pillow(grey, 3))
    np.testing.assert_array_equal(colour, np.repeat(np.asarray(grey)[..., None], 3, 2))
    again = resize.to_channels_tensor(tf.constant(np.asarray(grey)[..., None]), 3)
    np.testing.assert_array_equal(colour, again)
    np.testing.assert_array_equal(resize.to_channels_tensor(tf.constant(image), 3), image)


def test_channels_within_a_map():
    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    data = tf.data.Dataset.from_generator(lambda: iter([noise(5, 6)]), output_signature=spec)
    data = data.map(lambda x: resize.to_channels_tensor(x, 1))
    assert data.element_spec == tf.TensorSpec((None, None, 1), tf.uint8)
    assert next(iter(data)).shape == (5, 6, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 4), "crop"), r"image_size must be .* got \(0, 4\)"),
        (((4,), "crop"), "image_size must be"),
        ((4, "crop"), "image_size must be .* got 4"),
        (((4, 4.0), "crop"), "image_size must be"),
        (((4, True), "crop"), "image_size must be"),
        (((4, 4), "cover"), "fit must be one of .* got 'cover'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        resize.fit_pillow(Image.new("L", (3, 3)), *arguments)
    with pytest.raises(ValueError, match=message):
        resize.fit_tensor(tf.zeros((3, 3, 1), tf.uint8), *arguments)


def test_wrong_images():
    with pytest.raises(ValueError, match="mode 'L' or 'RGB', got 'RGBA'"):
        resize.fit_pillow(Image.new("RGBA", (3, 3)), (2, 2))
    for wrong in (tf.zeros((3, 3, 1)), tf.zeros((3, 3), tf.uint8), tf.zeros((3, 3, 4), tf.uint8)):
        with pytest.raises(ValueError, match="image must be uint8"):
            resize.fit_tensor(wrong, (2, 2))
    for wrong in (2, 0, "3"):
        with pytest.raises(ValueError, match="channels must be 1, 3 or None"):
            resize.to_channels_pillow(Image.new("L", (3, 3)), wrong)
