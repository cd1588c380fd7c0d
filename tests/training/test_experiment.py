"""An experiment before its first step, and the model of TFP's class that it rewrites with ours."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from small_run import smoke

from tf_structvae.training import cluster, workdir
from tf_structvae.training.experiment import Experiment


def test_a_batch_has_an_image_for_each_replica(data_dir, tmp_path, monkeypatch):
    three = SimpleNamespace(num_replicas_in_sync=3)
    monkeypatch.setattr(cluster, "build_strategy", lambda name: three)
    with pytest.raises(ValueError, match="batch_size = 2 is less than one image for each of 3"):
        Experiment(smoke(data_dir, tmp_path, batch_size=2), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_model_of_tfps_class_is_that_of_ours(data_dir, tmp_path, monkeypatch):
    c = smoke(data_dir, tmp_path)
    c.model.likelihood = "stock_low_rank"
    c.model.factor_scale = "kernel"
    c.model.factor_initial = 0.1
    experiment = Experiment(c, tmp_path / "run")
    rng = np.random.default_rng(0)
    for weight in experiment.model.decoder.trainable_variables:
        weight.assign_add(0.1 * rng.normal(size=weight.shape))
    exact = experiment.exact_model
    assert exact is not experiment.model
    shape = experiment.source.image_shape
    z = rng.normal(size=(3, exact.latent_dim)).astype(np.float32)
    x = rng.uniform(size=(3, np.prod(shape))).astype(np.float32)
    ours, stock = exact.decode(z), experiment.model.decode(z)
    assert type(ours) is not type(stock)
    np.testing.assert_allclose(ours.log_prob(x), stock.log_prob(x), rtol=1e-3)
    np.testing.assert_allclose(ours.mean(), stock.mean(), atol=1e-5)
    assert c.model.likelihood == "stock_low_rank"  # the config of the run is as it was

    # workers that do not see one directory would start at different steps
    monkeypatch.setattr(cluster, "gather", lambda strategy, value: [value, value + 5])
    with pytest.raises(ValueError, match=r"different steps, \[0, 5\]: workdir .*run must be one"):
        experiment.start()
    assert not (tmp_path / "run/config.json").exists()


def test_a_run_without_a_checkpoint_cannot_be_loaded(data_dir, tmp_path):
    c = smoke(data_dir, tmp_path)
    (tmp_path / "run").mkdir()
    workdir.write_config(tmp_path / "run", c)
    with pytest.raises(FileNotFoundError, match="run holds no best checkpoint"):
        Experiment.load(tmp_path / "run", "best")
    with pytest.raises(ValueError, match="must be 'last' or 'best', got 'first'"):
        Experiment.load(tmp_path / "run", "first")
    saved = json.loads((tmp_path / "run/config.json").read_text())
    for text, message in (
        (json.dumps({**saved, "train": {"steps": "many"}}), "is no config of this version"),
        ("{", "is not JSON"),
    ):
        (tmp_path / "run/config.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            Experiment.load(tmp_path / "run")
