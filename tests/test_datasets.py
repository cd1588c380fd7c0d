import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tf_structvae import datasets
from tf_structvae.datasets import avatar_drawing, pipeline


def test_drawing_depends_on_seed_split_and_index_alone():
    one, _ = avatar_drawing.draw(0, "train", 3, 24, 20)
    assert (one.shape, one.dtype) == ((24, 20, 3), np.uint8)
    code = (
        "from tf_structvae.datasets.avatar_drawing import draw; import sys;"
        "sys.stdout.buffer.write(draw(0, 'train', 3, 24, 20)[0].tobytes());"
        "assert 'tensorflow' not in sys.modules"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert other == one.tobytes()
    for changed in ((1, "train", 3), (0, "test", 3), (0, "train", 4)):
        assert np.any(avatar_drawing.draw(*changed, 24, 20)[0] != one)


def test_factors_vary_independently():
    """Rank-free check on 3000 faces: correlations of the numeric factors within 4.5 / sqrt(n)."""
    n = 3000
    rows = []
    for i in range(n):
        a = avatar_drawing.draw_attributes(0, "train", i)
        colors = [
            int(a[k][j : j + 2], 16)
            for k in ("background_color", "clothing_color", "hair_color")
            for j in (1,)
        ]
        rows.append([*colors, a["skin_tone"], a["light_strength"], a["rotation"], a["scale"]])
    correlation = np.corrcoef(np.array(rows, float).T) - np.eye(7)
    assert np.abs(correlation).max() < 4.5 / n**0.5


@pytest.fixture(scope="module")
def tiny(data_dir):
    return datasets.prepare("avatars", "train", "16x16_tiny", data_dir)


def test_builder_keeps_images_and_attributes(tiny):
    assert (tiny.count, tiny.image_shape) == (256, (16, 16, 3))
    examples = list(tiny.examples.take(3))
    for i, e in enumerate(examples):
        image, a = avatar_drawing.draw(0, "train", i, 16, 16)
        np.testing.assert_array_equal(e["image"], image)
        assert avatar_drawing.HAIR_STYLES[int(e["hair_style"])] == a["hair_style"]
        np.testing.assert_allclose(e["skin_tone"], a["skin_tone"], rtol=1e-6)
        red = int(a["background_color"][1:3], 16) / 255
        np.testing.assert_allclose(e["background_color"][0], red, rtol=1e-6)
    assert "Pablo Stanley" in tiny.info.citation


def test_splits_share_no_image(data_dir):
    seen = [
        {
            e["image"].numpy().tobytes()
            for e in datasets.prepare("avatars", s, "16x16_tiny", data_dir).examples
        }
        for s in datasets.SPLITS
    ]
    assert [len(s) for s in seen] == [256, 64, 64]
    assert len(set.union(*seen)) == 256 + 64 + 64


def batches(tiny, **kwargs):
    options = {"batch_size": 48, "steps": 12, "seed": 3} | kwargs
    data = pipeline.training_batches(tiny.examples, tiny.count, **options)
    return [b.numpy() for b in data]


def test_training_order_is_a_function_of_seed_and_step(tiny):
    whole = batches(tiny)
    assert len(whole) == 12
    assert whole[0].shape == (48, 16, 16, 3)
    assert whole[0].dtype == np.float32
    for start in (0, 3, 5, 7, 11):
        for a, b in zip(whole[start:], batches(tiny, start_step=start), strict=True):
            np.testing.assert_array_equal(a, b)
    assert np.any(whole[0] != batches(tiny, seed=4)[0])
    # 5 batches of 48 a pass: no image twice in a pass, another order in the next
    assert len({x.tobytes() for b in whole[:5] for x in b}) == 240
    assert np.any(whole[0] != whole[5])


def test_flips(tiny):
    plain, flipped = batches(tiny, steps=5), batches(tiny, steps=5, flip=True)
    same = np.concatenate([(a == b).all((1, 2, 3)) for a, b in zip(plain, flipped, strict=True)])
    mirrored = np.concatenate(
        [(a[:, :, ::-1] == b).all((1, 2, 3)) for a, b in zip(plain, flipped, strict=True)]
    )
    assert np.all(same | mirrored)
    assert abs(same.mean() - 0.5) < 4 * 0.5 / 240**0.5
    again = batches(tiny, steps=5, flip=True, start_step=2)
    np.testing.assert_array_equal(again[0], flipped[2])


def test_evaluation_keeps_order_and_remainder(data_dir):
    data = list(datasets.load("avatars", "test", 48, variant="16x16_tiny", data_dir=data_dir))
    assert [len(b) for b in data] == [48, 16]
    image = avatar_drawing.draw(0, "test", 0, 16, 16)[0]
    np.testing.assert_allclose(data[0][0], image / np.float32(255))


def test_load_of_training_data(data_dir):
    data = datasets.load("avatars", "train", 100, variant="16x16_tiny", data_dir=data_dir)
    assert len(list(data)) == 2
    assert isinstance(data, tf.data.Dataset)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("faces", "train"), "data set must be one of"),
        (("avatars", "all"), "split must be one of"),
        (("avatars", "train", "65x65"), "variant of avatars must be one of"),
    ],
)
def test_unknown_names(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.prepare(*arguments)


def test_batch_larger_than_the_data(tiny):
    with pytest.raises(ValueError, match="batch_size 300 is more than the 256"):
        batches(tiny, batch_size=300)
