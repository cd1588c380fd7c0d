"""The network of PyTorch's weights where PyTorch is not installed: the same wiring in NumPy."""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import numpy_torch
import pytest
import tensorflow as tf
from test_inception import assert_features_of, drawn, images

from tf_structvae.evaluation import inception, inception_network


@pytest.fixture
def saved(monkeypatch):
    """A function that lets a file hold a state dict, or fail to be read."""

    def hold(found):
        def load(path, map_location, weights_only):
            assert weights_only  # no code of the file is run
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(load=load))

    return hold


def test_features_are_those_of_the_wiring_in_numpy(saved, tmp_path):
    x = images(2, 40, 32)
    network = drawn(numpy_torch, x)
    saved({**network.state, "fc.weight": numpy_torch.tensor(np.zeros([1008, 2048]))})
    (tmp_path / "weights.pth").write_bytes(b"of the version")
    tf.config.run_functions_eagerly(True)
    try:
        extractor = inception.extractor(tmp_path / "weights.pth")
        got = extractor(x)
    finally:
        tf.config.run_functions_eagerly(False)
    assert extractor.name == "inception_2015_pytorch"
    assert_features_of(network, numpy_torch, x, got)


def test_other_files_are_refused(saved, tmp_path, monkeypatch):
    path = tmp_path / "other.pth"
    path.write_bytes(b"")
    saved({"fc.weight": numpy_torch.tensor([1.0])})
    with pytest.raises(ValueError, match="470 of 470 arrays are missing, such as Conv2d_1a_3x3"):
        inception.extractor(path)
    for error, reason in (
        (pickle.UnpicklingError("invalid load key\nand more"), "invalid load key"),
        (EOFError(), "EOFError"),
    ):
        saved(error)
        with pytest.raises(ValueError, match=rf"is no PyTorch state dict: {reason}$"):
            inception_network.read(path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"tf_structvae\[benchmark\]"):
        inception_network.read(path)
