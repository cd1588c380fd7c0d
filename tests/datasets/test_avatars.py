import subprocess
import sys

import numpy as np

from tf_structvae import datasets
from tf_structvae.datasets.drawn import avatar_drawing


def tiny(split, data_dir):
    return datasets.prepare(datasets.Spec("avatars", "16x16_tiny", data_dir), split)


def test_drawing_depends_on_seed_split_and_index_alone():
    one, _ = avatar_drawing.draw(0, "train", 3, 24, 20)
    assert (one.shape, one.dtype) == ((24, 20, 3), np.uint8)
    code = (
        "from tf_structvae.datasets.drawn.avatar_drawing import draw; import sys;"
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


def test_builder_keeps_images_and_attributes(data_dir):
    source = tiny("train", data_dir)
    assert (source.count, source.image_shape) == (256, (16, 16, 3))
    examples = list(source.examples.take(3))
    for i, e in enumerate(examples):
        image, a = avatar_drawing.draw(0, "train", i, 16, 16)
        np.testing.assert_array_equal(source.decode(e["image"]), image)
        assert avatar_drawing.HAIR_STYLES[int(e["hair_style"])] == a["hair_style"]
        np.testing.assert_allclose(e["skin_tone"], a["skin_tone"], rtol=1e-6)
        red = int(a["background_color"][1:3], 16) / 255
        np.testing.assert_allclose(e["background_color"][0], red, rtol=1e-6)
    assert "Pablo Stanley" in source.info.citation


def test_splits_share_no_image(data_dir):
    seen = [
        {e["image"].numpy() for e in tiny(split, data_dir).examples} for split in datasets.SPLITS
    ]
    assert [len(s) for s in seen] == [256, 64, 64]
    assert len(set.union(*seen)) == 256 + 64 + 64
