"""What is on the disk after an export: the weights once, the same bytes, whole versions."""

import exports
import numpy as np
import pytest
import tensorflow as tf
from small_vae import make

from tf_structvae.export import export, next_version, warmup
from tf_structvae.layers import StockLowRankNormalHead
from tf_structvae.models.constraints import Constraint


def variables(path):
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    return [reader.get_tensor(k) for k in sorted(shapes) if k.startswith("weights/")]


def test_weights_are_stored_once_and_no_optimiser():
    model, path = exports.exported("low_rank")
    weights = [v.numpy() for v in model.weights]
    assert sorted(v.size for v in variables(path)) == sorted(v.size for v in weights)
    total = sum(v.nbytes for v in weights)
    data = (path / "variables" / "variables.data-00000-of-00001").stat().st_size
    names = 150 * len(weights)  # the graph of the objects, which is of this order for each
    assert total <= data < total + names < 2 * total
    # 0.74 MB are ten signatures of this model; without `shorten` about twice as much
    assert (path / "saved_model.pb").stat().st_size < 900_000


def test_exports_of_a_model_are_the_same_bytes(tmp_path):
    model, first = exports.exported("low_rank")
    tf.function(lambda x: x + 1)(1)  # TensorFlow numbers functions on
    second = export(model, tmp_path / "low_rank", version=1)
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert len(files) >= 4
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file


def test_trained_weights_and_multipliers_are_exported(tmp_path):
    model = make(constraints=[Constraint("kl", 2.0, initial_multiplier=7.5)])
    model.compile("adam")
    model.fit(np.full((8, *model.image_shape), 0.5, np.float32), verbose=0)
    path = export(model, tmp_path / "vae")
    found = variables(path)
    assert len(found) == len(model.weights)
    multiplier = model.constraints[0].multiplier.numpy()
    assert multiplier in [v for v in found if not v.shape and v.dtype == np.float32]
    latents = tf.ones([2, model.latent_dim])
    out = tf.saved_model.load(str(path)).signatures["decode"](latents=latents)
    np.testing.assert_allclose(
        np.reshape(out["means"], [2, -1]), model.decode(latents).mean(), atol=1e-5
    )


def test_versions_are_never_overwritten(tmp_path, monkeypatch):
    model = make()
    assert next_version(tmp_path / "m") == 1
    assert export(model, tmp_path / "m", version=7).name == "7"
    assert export(model, tmp_path / "m").name == "8"
    with pytest.raises(FileExistsError, match="never overwritten"):
        export(model, tmp_path / "m", version=7)
    for version in (0, -1, 1.5, True, "2"):
        with pytest.raises(ValueError, match="version must be a positive number"):
            export(model, tmp_path / "m", version=version)
    with pytest.raises(ValueError, match="about must have keys"):
        export(model, tmp_path / "m", about={"colour": 1})
    with pytest.raises(ValueError, match="about must be JSON"):
        export(model, tmp_path / "m", about={"metrics": {"elbo": np.nan}})
    monkeypatch.setattr(warmup, "available", lambda: False)
    with pytest.raises(ImportError, match=r"tf_structvae\[serving\]"):
        export(model, tmp_path / "m", warm_up=True)
    path = export(model, tmp_path / "m")
    assert not (path / warmup.FILE).exists()
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["7", "8", "9"]


def test_a_stock_distribution_is_refused(tmp_path):
    with pytest.raises(ValueError, match="decodes to a StockLowRankNormal"):
        export(make(StockLowRankNormalHead(2, rank=3, epsilon=0.05, noise="fixed")), tmp_path / "m")
    assert not (tmp_path / "m").exists()
