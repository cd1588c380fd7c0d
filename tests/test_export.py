import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from test_vae import LATENT, SHAPE, N, images, make

from tf_structvae.constraints import Constraint
from tf_structvae.export import export, next_version
from tf_structvae.layers import IndependentNormalHead


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = make()
    return model, export(model, tmp_path_factory.mktemp("models") / "vae")


def test_sample_rows_depend_on_their_own_seed(exported):
    model, path = exported
    sample = tf.saved_model.load(str(path)).signatures["sample"]
    seeds = tf.constant([[1, 2], [3, 4], [1, 2]])
    out = sample(seeds=seeds)
    assert set(out) == {"images", "means", "latents", "factor_noise"}
    assert out["images"].shape == (3, *SHAPE)
    np.testing.assert_array_equal(out["images"][0], out["images"][2])
    np.testing.assert_allclose(sample(seeds=seeds[1:2])["latents"][0], out["latents"][1])
    p = model.decode(out["latents"])
    np.testing.assert_allclose(np.reshape(out["means"], (3, N)), p.mean(), atol=1e-5)
    y = tf.clip_by_value(p.sample_from_noise(out["factor_noise"]), 0, 1)
    np.testing.assert_allclose(np.reshape(out["images"], (3, N)), y, atol=1e-5)


def test_condition_equals_the_model(exported):
    model, path = exported
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(2, LATENT)).astype(np.float32)
    values = images(2)
    mask = (rng.uniform(size=(2, *SHAPE[:2], 1)) < 0.2).astype(np.float32)
    noise = np.array([0.0, 0.3], np.float32)
    out = tf.saved_model.load(str(path)).signatures["condition"](
        latents=latents, values=values, mask=mask, noise_variance=noise
    )
    full = np.broadcast_to(mask > 0.5, values.shape).reshape(2, N)
    q = model.decode(latents).condition(full, values.reshape(2, N), noise[:, None])
    mean = np.clip(q.mean(), 0, 1)
    np.testing.assert_allclose(np.reshape(out["images"], (2, N)), mean, atol=1e-5)
    np.testing.assert_allclose(np.reshape(out["variances"], (2, N)), q.variance(), atol=1e-6)
    exact = full[0]
    np.testing.assert_array_equal(np.reshape(out["images"][0], N)[exact], values[0].ravel()[exact])


def test_multipliers_are_exported(tmp_path):
    model = make(constraints=[Constraint("kl", 2.0, initial_multiplier=7.5)])
    path = export(model, tmp_path / "vae")
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    scalars = [reader.get_tensor(k) for k, s in reader.get_variable_to_shape_map().items() if not s]
    assert 7.5 in [v for v in scalars if isinstance(v, np.floating)]


def test_runs_without_this_package(exported):
    _, path = exported
    code = (
        "import sys, tensorflow as tf; m = tf.saved_model.load(sys.argv[1]);"
        "print(m.signatures['sample'](seeds=tf.constant([[1, 2]]))['images'].shape);"
        "assert 'tf_structvae' not in sys.modules"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "(1, 6, 5, 2)"


def test_standard_vae_exports_too(tmp_path):
    model = make(IndependentNormalHead(2, epsilon=0.05))
    signatures = tf.saved_model.load(str(export(model, tmp_path / "m"))).signatures
    out = signatures["sample"](seeds=tf.constant([[1, 2], [1, 3]]))
    assert np.std(out["images"] - out["means"]) > 0.05
    values = images(2)
    out = signatures["condition"](
        latents=out["latents"],
        values=values,
        mask=np.ones((2, *SHAPE[:2], 1), np.float32),
        noise_variance=np.zeros(2, np.float32),
    )
    np.testing.assert_allclose(out["images"], np.clip(values, 0, 1))


def test_versions_are_never_overwritten(tmp_path):
    model = make()
    assert next_version(tmp_path / "m") == 1
    assert export(model, tmp_path / "m").name == "1"
    assert export(model, tmp_path / "m", version=7).name == "7"
    assert export(model, tmp_path / "m").name == "8"
    with pytest.raises(FileExistsError, match="never overwritten"):
        export(model, tmp_path / "m", version=7)
    with pytest.raises(ValueError, match="version must be"):
        export(model, tmp_path / "m", version=0)
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == ["1", "7", "8"]
