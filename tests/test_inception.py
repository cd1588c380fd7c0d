"""The readers of Inception's weights. The true files cannot be downloaded here: the graph reader is
tested with a small graph of the same names, operations and version, the PyTorch reader with random
weights in the full wiring, against PyTorch's own operations."""

import sys
import tarfile

import fake_inception as fake
import numpy as np
import pytest

from tf_structvae.evaluation import evaluate, features, inception


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory):
    return fake.write(tmp_path_factory.mktemp("inception") / "classify_image_graph_def.pb")


def images(count, height, width, channels=3, seed=0):
    """Smooth, with numbers below 0 and above 1."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.5, 0.3, [count, height, width, channels]).astype(np.float32)


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

    refused("weights.h5", r"end in .pb, .tgz or .pth, got .*weights.h5")
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


# PyTorch's file.


class TorchNetwork:
    """pytorch-fid's wiring in PyTorch's own operations, a sixteenth as wide. It makes its random
    weights as it runs for the first time, so that no table of shapes is shared with the code."""

    def __init__(self, torch, narrow=16, count_padding=False, last_pool="max"):
        self.torch, self.f, self.narrow = torch, torch.nn.functional, narrow
        self.count_padding, self.last_pool = count_padding, last_pool
        self.state = {}
        self.rng = np.random.default_rng(0)

    def conv(self, name, x, width, kernel=1, stride=1, padding=0):
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        out = width // self.narrow
        if f"{name}.conv.weight" not in self.state:
            fan_in = x.shape[1] * kernel[0] * kernel[1]
            self._put(
                f"{name}.conv.weight",
                self.rng.normal(0, 1.5 / fan_in**0.5, [out, x.shape[1], *kernel]),
            )
            self._put(f"{name}.bn.weight", self.rng.uniform(0.8, 1.2, out))
            self._put(f"{name}.bn.bias", self.rng.normal(0, 0.2, out))
            self._put(f"{name}.bn.running_mean", self.rng.normal(0, 0.2, out))
            # small enough for epsilon to matter
            self._put(f"{name}.bn.running_var", self.rng.uniform(0.02, 2, out))
        s = self.state
        y = self.f.conv2d(x, s[f"{name}.conv.weight"], stride=stride, padding=padding)
        statistics = (s[f"{name}.bn.running_mean"], s[f"{name}.bn.running_var"])
        y = self.f.batch_norm(
            y, *statistics, s[f"{name}.bn.weight"], s[f"{name}.bn.bias"], eps=0.001
        )
        return self.f.relu(y)

    def _put(self, name, value):
        self.state[name] = self.torch.tensor(value, dtype=self.torch.float32)

    def average(self, x):
        return self.f.avg_pool2d(x, 3, 1, 1, count_include_pad=self.count_padding)

    def a(self, b, x, pooled):
        five = self.conv(f"{b}.branch5x5_1", x, 48)
        five = self.conv(f"{b}.branch5x5_2", five, 64, 5, padding=2)
        three = self.conv(f"{b}.branch3x3dbl_1", x, 64)
        three = self.conv(f"{b}.branch3x3dbl_2", three, 96, 3, padding=1)
        three = self.conv(f"{b}.branch3x3dbl_3", three, 96, 3, padding=1)
        one = self.conv(f"{b}.branch1x1", x, 64)
        pool = self.conv(f"{b}.branch_pool", self.average(x), pooled)
        return self.torch.cat([one, five, three, pool], 1)

    def c(self, b, x, seven):
        across, down = {"kernel": (1, 7), "padding": (0, 3)}, {"kernel": (7, 1), "padding": (3, 0)}
        one = self.conv(f"{b}.branch1x1", x, 192)
        y = self.conv(f"{b}.branch7x7_1", x, seven)
        y = self.conv(f"{b}.branch7x7_2", y, seven, **across)
        y = self.conv(f"{b}.branch7x7_3", y, 192, **down)
        z = self.conv(f"{b}.branch7x7dbl_1", x, seven)
        z = self.conv(f"{b}.branch7x7dbl_2", z, seven, **down)
        z = self.conv(f"{b}.branch7x7dbl_3", z, seven, **across)
        z = self.conv(f"{b}.branch7x7dbl_4", z, seven, **down)
        z = self.conv(f"{b}.branch7x7dbl_5", z, 192, **across)
        pool = self.conv(f"{b}.branch_pool", self.average(x), 192)
        return self.torch.cat([one, y, z, pool], 1)

    def e(self, b, x, pooled):
        across, down = {"kernel": (1, 3), "padding": (0, 1)}, {"kernel": (3, 1), "padding": (1, 0)}
        one = self.conv(f"{b}.branch1x1", x, 320)
        y = self.conv(f"{b}.branch3x3_1", x, 384)
        y = [
            self.conv(f"{b}.branch3x3_2a", y, 384, **across),
            self.conv(f"{b}.branch3x3_2b", y, 384, **down),
        ]
        z = self.conv(f"{b}.branch3x3dbl_1", x, 448)
        z = self.conv(f"{b}.branch3x3dbl_2", z, 384, 3, padding=1)
        z = [
            self.conv(f"{b}.branch3x3dbl_3a", z, 384, **across),
            self.conv(f"{b}.branch3x3dbl_3b", z, 384, **down),
        ]
        pool = self.conv(f"{b}.branch_pool", pooled, 192)
        return self.torch.cat([one, *y, *z, pool], 1)

    def __call__(self, x):
        """[B, H, W, 3] in [0, 1] -> [B, 2048 / narrow]."""
        f, cat = self.f, self.torch.cat
        x = self.torch.tensor(x).permute(0, 3, 1, 2)
        x = 2 * f.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1
        x = self.conv("Conv2d_1a_3x3", x, 32, 3, 2)
        x = self.conv("Conv2d_2a_3x3", x, 32, 3)
        x = f.max_pool2d(self.conv("Conv2d_2b_3x3", x, 64, 3, padding=1), 3, 2)
        x = self.conv("Conv2d_3b_1x1", x, 80)
        x = f.max_pool2d(self.conv("Conv2d_4a_3x3", x, 192, 3), 3, 2)
        for b, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
            x = self.a(f"Mixed_{b}", x, pooled)
        y = self.conv("Mixed_6a.branch3x3dbl_1", x, 64)
        y = self.conv("Mixed_6a.branch3x3dbl_2", y, 96, 3, padding=1)
        y = self.conv("Mixed_6a.branch3x3dbl_3", y, 96, 3, 2)
        x = cat([self.conv("Mixed_6a.branch3x3", x, 384, 3, 2), y, f.max_pool2d(x, 3, 2)], 1)
        for b, seven in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = self.c(f"Mixed_{b}", x, seven)
        y = self.conv("Mixed_7a.branch3x3_1", x, 192)
        y = self.conv("Mixed_7a.branch3x3_2", y, 320, 3, 2)
        z = self.conv("Mixed_7a.branch7x7x3_1", x, 192)
        z = self.conv("Mixed_7a.branch7x7x3_2", z, 192, (1, 7), padding=(0, 3))
        z = self.conv("Mixed_7a.branch7x7x3_3", z, 192, (7, 1), padding=(3, 0))
        z = self.conv("Mixed_7a.branch7x7x3_4", z, 192, 3, 2)
        x = cat([y, z, f.max_pool2d(x, 3, 2)], 1)
        x = self.e("Mixed_7b", x, self.average(x))
        last = f.max_pool2d(x, 3, 1, 1) if self.last_pool == "max" else self.average(x)
        return self.e("Mixed_7c", x, last).mean((2, 3)).numpy()


def assert_features_of(network, torch, x, got):
    """Of 8-bit images; pools as torchvision's network has them would be seen."""
    eight_bits = np.round(255 * np.clip(x, 0, 1)) / np.float32(255)
    expected = network(eight_bits)
    assert expected.shape == (len(x), 128)
    off = np.abs(got - expected).max()
    assert off < 1e-4 * np.abs(expected).max()
    for options in ({"count_padding": True}, {"last_pool": "average"}):
        other = TorchNetwork(torch, **options)
        other.state = network.state
        assert np.abs(got - other(eight_bits)).max() > 20 * off
    return off


def drawn(torch, x):
    """A network with its weights, whose shapes alone depend on the images."""
    network = TorchNetwork(torch)
    network(x)
    return network


def test_pytorch_features_are_those_of_pytorchs_operations(tmp_path):
    torch = pytest.importorskip("torch")
    x = images(2, 40, 32)
    network = drawn(torch, x)
    others = {"num_batches_tracked": torch.tensor(0), "fc.weight": torch.zeros([1008, 2048])}
    torch.save({**network.state, **others}, tmp_path / "weights.pth")
    extractor = inception.extractor(tmp_path / "weights.pth")
    assert extractor.name == "inception_2015_pytorch"
    got = extractor(x)
    off = assert_features_of(network, torch, x, got)
    # the unrounded image
    assert np.abs(got - network(np.clip(x, 0, 1))).max() > 5 * off


def test_pytorch_files_of_something_else_are_refused(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    torch.save({"fc.weight": torch.zeros([2, 2])}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="470 of 470 arrays are missing, such as Conv2d_1a_3x3"):
        inception.extractor(tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="is no PyTorch state dict"):
        inception.extractor(tmp_path / "broken.pth")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"tf_structvae\[benchmark\]"):
        inception.extractor(tmp_path / "other.pth")
