"""The reader of Inception's weights. The true file cannot be downloaded here: it is tested with a
small graph of the same names, operations and version."""

import tarfile

import fake_inception as fake
import numpy as np
import pytest

from tf_structvae.evaluation import features, inception
from tf_structvae.studies import evaluate


def images(count, height, width, channels=3, seed=0):
    """Smooth, with numbers below 0 and above 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 0.3, [count, height, width, channels]).astype(np.float32)


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("inception") / "classify_image_graph_def.pb")


@pytest.mark.parametrize("size", [(16, 24), (299, 299), (310, 320)])
def test_graph_features_are_the_slow_reference(graph_file, size):
    x = images(3, *size)
    got = inception.extractor(graph_file)(x)
    assert got.shape == (3, 2048)
    assert got.dtype == np.float32
    eight_bits = np.round(255 * np.clip(x[1], 0, 1))
    expected = fake.features(eight_bits, fake.Weights())
    np.testing.assert_allclose(got[1], expected, rtol=1e-4, atol=1e-4 * expected.max())
    # what the test is to tell apart: numbers that were not rounded, and other images
    wrong = fake.features(255 * np.clip(x[1], 0, 1), fake.Weights())
    assert np.abs(got[1] - wrong).max() > 5 * np.abs(got[1] - expected).max()


def test_half_pixels_would_be_seen(graph_file):
    """TensorFlow 2's resize, applied first, gives other features."""
    import tensorflow as tf

    x = np.round(255 * np.clip(images(2, 20, 20), 0, 1)) / np.float32(255)
    network = inception.extractor(graph_file)
    other = network(tf.image.resize(x, [299, 299], "bilinear"))
    got = network(x)
    expected = fake.features(255 * x[0], fake.Weights())
    assert np.abs(other[0] - expected).max() > 20 * np.abs(got[0] - expected).max()


def test_many_images_and_grey_ones(graph_file):
    network = inception.extractor(graph_file)
    grey = images(inception._AT_ONCE + 3, 12, 12, 1)
    together = network(grey)
    np.testing.assert_allclose(network(np.repeat(grey, 3, -1)), together, rtol=1e-6)
    np.testing.assert_allclose(network(grey[-2:]), together[-2:], rtol=1e-5, atol=1e-6)


def test_the_archive_is_read_and_the_version_is_that_of_the_file(graph_file, tmp_path):
    archive = tmp_path / "inception-2015-12-05.tgz"
    with tarfile.open(archive, "w:gz") as f:
        f.add(graph_file, "./classify_image_graph_def.pb")
    a, b = inception.extractor(graph_file), inception.extractor(archive)
    x = images(2, 10, 10)
    np.testing.assert_array_equal(a(x), b(x))
    assert a.name == b.name == "inception_2015"
    other = fake.write(tmp_path / "other.pb", seed=1)
    assert inception.extractor(other).version != a.version
    assert len(a.version) == 64


def test_only_inceptions_distances_are_called_fid(graph_file):
    networks = [inception.extractor(graph_file), features.extractor("random_cnn")]
    found = evaluate.titles(networks)
    assert found["inception_2015"] == "FID"
    assert "FID" not in found["random_cnn"]


def test_bad_files_are_refused(tmp_path):
    def refused(name, message, content=b"no network", error=ValueError):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(error, match=message):
            inception.extractor(path)

    refused("weights.h5", r"end in .pb or .tgz, got .*weights.h5")
    refused("weights.pb", "is no TensorFlow graph|is not the 2015 graph")
    refused("weights.tgz", "is no archive")
    narrow = fake.graph(fake.Weights(features=5))
    refused("narrow.pb", r"must be \[2, 1, 1, 2048\]", narrow.SerializeToString())
    for node in narrow.node:
        node.name = node.name.replace("pool_3", "pool_4")
    refused("other.pb", "it has no pool_3", narrow.SerializeToString())
    with pytest.raises(FileNotFoundError, match=r"none\.pb does not exist"):
        inception.extractor(tmp_path / "none.pb")
    with tarfile.open(tmp_path / "empty.tgz", "w:gz"):
        pass
    with pytest.raises(ValueError, match=r"holds no classify_image_graph_def\.pb"):
        inception.extractor(tmp_path / "empty.tgz")
