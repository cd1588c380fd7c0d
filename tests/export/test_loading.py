"""sv.load: an export, a run and a file of a model give the numbers of the model in memory."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import binding
import conditional
import exports
import keras
import numpy as np
import pytest
import small_run
import small_vae
from small_vae import SHAPE

import tf_structvae as sv
from tf_structvae.export import card
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities import shipped

HEADS = (
    sv.layers.LowRankNormalHead,
    sv.layers.StockLowRankNormalHead,
    sv.layers.IndependentNormalHead,
)

KINDS = ("grey", "standard", "conditional")


@pytest.fixture(scope="module")
def given():
    """For each kind, its model and what is loaded of its export and its file."""
    found = {}
    for kind in KINDS:
        model, version = exports.exported(kind)
        file = version.parent / f"{kind}.keras"
        model.save(file)
        found[kind] = model, {"export": sv.load(version.parent), "file": sv.load(file)}
    return found


def numbers(loaded, x, labels, z, mask):
    """All that a loaded model gives, by name."""
    size = len(x)
    p, q = loaded.decode(z, labels), loaded.encode(x, labels)
    prior = loaded.sample(size, seed=5, labels=labels)
    noise_variance = 0.01
    return {
        "loc": p.mean(),
        "covariance": p.covariance(),
        "log_prob": p.log_prob(x.reshape(size, -1)),
        "encoded": q.mean(),
        "spread": q.stddev(),
        "condition": loaded.condition(mask, x, z, labels=labels),
        "of images": loaded.condition(mask, x, images=x, labels=labels),
        "noisy": loaded.condition(mask, x, z, labels=labels, noise_variance=noise_variance),
        "reconstruct": loaded.reconstruct(x, labels),
        "sample": prior,
        "at latents": loaded.sample(seed=5, latents=z, labels=labels),
    }


def inputs(model, count=3):
    rng = np.random.default_rng(3)
    x = rng.uniform(size=(count, *model.image_shape)).astype(np.float32)
    z = rng.normal(size=(count, model.latent_dim)).astype(np.float32)
    labels = rng.integers(0, model.classes, count) if model.classes else None
    return x, labels, z, rng.uniform(size=model.image_shape[:2]) < 0.3


def truth(model, x, labels, z, mask):
    """The same by the model in memory, where it has a method for it."""
    given = () if labels is None else (labels,)
    p, q = model.decode(z, *given), model.encode(x, *given)
    flat = x.reshape(len(x), -1)
    found = {
        "loc": p.mean(),
        "covariance": p.covariance(),
        "log_prob": p.log_prob(flat),
        "encoded": q.mean(),
        "spread": q.stddev(),
    }
    if hasattr(p, "condition"):
        observed = np.repeat(mask.ravel(), model.image_shape[2])
        for name, variance, at in (
            ("condition", 0.0, z),
            ("noisy", 0.01, z),
            ("of images", 0.0, q.mean()),
        ):
            r = model.decode(at, *given).condition(observed, flat, variance)
            found[name] = np.clip(r.mean(), 0, 1).reshape(x.shape)
    return found


def same(found, expected, tolerance=2e-5):
    for name, value in expected.items():
        value = np.asarray(value)
        np.testing.assert_allclose(
            found[name], value, rtol=tolerance, atol=tolerance * np.abs(value).max(), err_msg=name
        )


@pytest.mark.parametrize("kind", KINDS)
def test_export_and_file_are_the_model_in_memory(given, kind):
    model, loaded = given[kind]
    arguments = inputs(model)
    expected = truth(model, *arguments)
    of_file = numbers(loaded["file"], *arguments)
    same(of_file, expected)
    same(numbers(loaded["export"], *arguments), {**of_file, **expected})
    for m in loaded.values():
        assert m.image_shape == model.image_shape
        assert m.latent_dim == model.latent_dim
        assert m.rank == getattr(model.head, "rank", 0)
        assert len(m.classes) == model.classes
        assert set(m.about) == {"name", "training", "metrics", "data"}
        assert m.about["name"] == kind
        assert f"{m.latent_dim} latents" in repr(m)


def perturb(model, seed):
    rng = np.random.default_rng(seed)
    for weight in model.trainable_variables:
        weight.assign_add(0.1 * rng.normal(size=weight.shape))


@pytest.mark.long
@pytest.mark.parametrize("label", ["", "glasses"])
def test_a_run_its_export_and_its_file_are_one_model(data_dir, tmp_path, label):
    if label:
        config = binding.config(small_run.smoke(data_dir, tmp_path))
        config.data.label = "glasses"
    else:
        config = small_run.smoke(data_dir, tmp_path)
    experiment = Experiment(config, tmp_path / "run")
    experiment.start()
    model = experiment.model
    perturb(model, 0)
    experiment.checkpoints.save(0, 1.0)
    best = model.get_weights()
    perturb(model, 1)
    experiment.checkpoints.save(1, 0.0)
    about = card.of_experiment(experiment)
    sv.export.export(model, tmp_path / "out/faces", about=about, warm_up=False)
    model.save(tmp_path / "faces.keras")
    arguments = inputs(model)
    expected = truth(model, *arguments)
    keras.config.set_dtype_policy("mixed_bfloat16")
    of_run = sv.load(tmp_path / "run")
    assert keras.config.dtype_policy().name == "mixed_bfloat16"  # that of the run is its own
    keras.config.set_dtype_policy("float32")
    same(numbers(of_run, *arguments), expected)
    for path in ("out/faces/1", "faces.keras"):
        same(numbers(sv.load(tmp_path / path), *arguments), expected, 1e-4)
    exported = sv.load(tmp_path / "out/faces")
    assert of_run.about == {**exported.about, "name": config.name}
    assert of_run.about["data"]["name"] == "avatars/16x16_tiny"
    assert of_run.classes == exported.classes == experiment.class_names
    model.set_weights(best)
    same(
        numbers(sv.load(tmp_path / "run", checkpoint="best"), *arguments), truth(model, *arguments)
    )


def test_samples_depend_on_their_seed_and_number_alone(given):
    for kind in ("standard", "conditional"):
        model, loaded = given[kind]
        labels = 1 if model.classes else None
        for m in loaded.values():
            many = m.sample(70, seed=-4, labels=labels)  # more than are computed at once
            np.testing.assert_allclose(m.sample(66, seed=-4, labels=labels), many[:66], atol=1e-5)
            assert np.std(many, axis=0).min() > 0
            assert not np.allclose(m.sample(3, seed=0, labels=labels), many[:3])
            drawn = m._source.run["sample"](
                seeds=np.array([[-4, 0], [-4, 1]], np.int32),
                **({"labels": np.array([1, 1], np.int32)} if labels else {}),
            )
            again = m.sample(seed=-4, latents=drawn["latents"], labels=labels)
            np.testing.assert_allclose(again, many[:2], atol=1e-5)


def test_names_and_newest_versions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exported = exports.exported("standard")[1]
    for version in (2, 10):
        shutil.copytree(exported, f"saved_models/mine/{version}")
    newest = repr(sv.load("saved_models/mine/10"))
    assert "mine/10" in newest
    assert repr(sv.load("mine")) == repr(sv.load("saved_models/mine")) == newest
    demo = sv.load("demo")  # not of this folder
    assert (demo.image_shape, demo.latent_dim, demo.rank) == ((64, 64, 3), 64, 25)
    assert "Pablo Stanley" in demo.about["data"]["license"]
    picture = demo.sample(1)
    assert demo.condition(np.eye(64), picture, images=picture).shape == (1, 64, 64, 3)


def test_what_cannot_be_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"dmeo is neither.*saved_models holds.*demo"):
        sv.load("dmeo")
    (tmp_path / "some").mkdir()
    (tmp_path / "some/weights.bin").touch()
    with pytest.raises(FileNotFoundError, match=r"some holds no .* and no run .*holds weights.bin"):
        sv.load("some")
    with pytest.raises(ValueError, match=r"NAME\.keras, got the file some/weights\.bin"):
        sv.load("some/weights.bin")
    (tmp_path / "some/saved_model.pb").touch()
    with pytest.raises(
        FileNotFoundError, match=r"some holds a SavedModel without model_card\.json"
    ):
        sv.load("some")
    with pytest.raises(ValueError, match=r"checkpoint must be None, got 'best': some is not"):
        sv.load("some", checkpoint="best")


def test_networks_that_are_no_models_of_images(tmp_path):
    dense = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    flat = keras.Sequential([keras.Input((4,)), sv.layers.IndependentNormalHead(2)])
    for model, message in (
        (dense, r"m\.keras must be a StructuredVAE, a LowRankDensity or a network"),
        (flat, r"m\.keras emits events of the shape \(2,\), not images"),
    ):
        model.save(tmp_path / "m.keras")
        with pytest.raises(ValueError, match=message):
            sv.load(tmp_path / "m.keras")


def test_code_in_a_file_is_not_run(tmp_path):
    layers = [keras.Input(SHAPE), keras.layers.Lambda(lambda x: 2 * x)]
    head = sv.layers.IndependentNormalHead(2)
    keras.Sequential([*layers, head]).save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"[Ll]ambda"):
        sv.load(tmp_path / "m.keras")


def decoder(kind, latent=3):
    """A network from latents to a head, with weights that matter."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((latent,)),
            keras.layers.Dense(6 * 5 * 4, "tanh"),
            keras.layers.Reshape((6, 5, 4)),
            kind(2, epsilon=0.1, noise="learned"),
        ]
    )
    perturb(model, 2)
    return model


def saved_files(folder):
    """Models of all kinds in files; by name, the model."""
    models = {f"decoder_{kind.__name__}": decoder(kind) for kind in HEADS}
    for kind in HEADS:
        x = keras.Input(SHAPE)
        y = kind(2, epsilon=0.1)(keras.layers.Dense(4, "tanh")(x))
        models[f"functional_{kind.__name__}"] = keras.Model(x, y)
    models["vae"] = small_vae.make()
    models["vae_stock"] = small_vae.make(sv.layers.StockLowRankNormalHead(2, rank=2, epsilon=0.1))
    models["conditional"] = conditional.make()
    models["density"] = sv.density.LowRankDensity(SHAPE, rank=2, noise="learned", epsilon=0.1)
    for name, model in models.items():
        perturb(model, 3)
        model.save(folder / f"{name}.keras")
    return models


FRESH = """
import sys
import numpy as np
import tf_structvae as sv
assert "tensorflow" not in sys.modules
folder, *names = sys.argv[1:]
given = np.load(folder + "/given.npz")
found = {}
for name in names:
    m = sv.load(f"{folder}/{name}.keras")
    x, mask = given["images"], given["mask"]
    labels = given["labels"] if m.classes else None
    z = {0: None, 3: given["latents"], 60: x}[m.latent_dim]
    p = m.decode(z, labels)
    found[name + " mean"] = p.mean()
    found[name + " log_prob"] = p.log_prob(x.reshape(3, -1))
    found[name + " condition"] = m.condition(mask, x, z, labels=labels)
np.savez(folder + "/found.npz", **found)
"""


@pytest.mark.long
def test_files_of_all_kinds_load_in_a_fresh_process(tmp_path):
    models = saved_files(tmp_path)
    x, labels, z, mask = inputs(models["conditional"])
    np.savez(tmp_path / "given.npz", images=x, labels=labels, latents=z, mask=mask)
    done = subprocess.run(  # not a fork of a process that has the modules already
        [sys.executable, "-c", FRESH, tmp_path, *models], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(tmp_path / "found.npz")
    observed, flat = np.repeat(mask.ravel(), 2), x.reshape(3, -1)
    for name, model in models.items():
        if isinstance(model, StructuredVAE):
            p = model.decode(z, *((labels,) if model.classes else ()))
        else:
            p = model(z if name.startswith("decoder") else x)
        expected = {"mean": np.broadcast_to(p.mean(), found[f"{name} mean"].shape)}
        expected["log_prob"] = p.log_prob(flat)
        if hasattr(p, "condition"):
            filled = np.clip(p.condition(observed, flat).mean(), 0, 1)
            expected["condition"] = filled.reshape(x.shape)
        same({k: found[f"{name} {k}"] for k in expected}, expected, 1e-4)
        shown = found[f"{name} condition"]
        np.testing.assert_allclose(shown[:, mask], x[:, mask], atol=1e-6)


def test_what_a_model_lacks_is_told(tmp_path):
    decoder(HEADS[0]).save(tmp_path / "decoder.keras")
    sv.density.LowRankDensity(SHAPE, rank=2).save(tmp_path / "density.keras")
    x = np.full((2, *SHAPE), 0.5, np.float32)
    network, density = (sv.load(tmp_path / f"{n}.keras") for n in ("decoder", "density"))
    assert (density.latent_dim, density.rank, network.latent_dim) == (0, 2, 3)
    assert density.decode().batch_shape == [1]
    assert density.sample(3).shape == (3, *SHAPE)
    assert network.sample(latents=np.zeros([3, 3])).shape == (3, *SHAPE)
    assert density.condition(np.ones(SHAPE[:2]), x).shape == x.shape
    for call, message in (
        (lambda: network.sample(1), r"decoder\.keras has no prior to sample from"),
        (lambda: network.encode(x), r"decoder\.keras has no encoder: it cannot encode"),
        (lambda: network.condition(x[0, :, :, 0], x, images=x), "has no encoder"),
        (lambda: density.reconstruct(x), "has no encoder: it cannot reconstruct"),
    ):
        with pytest.raises(NotImplementedError, match=message):
            call()
    with pytest.raises(ValueError, match=r"latents must be None: .*density.keras has 0 of them"):
        density.decode(np.zeros([1, 3]))


def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs/loading.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert len(blocks) == 3
    found = []
    for block in blocks:
        names = {}
        exec(block, names)
        found.append(names)
    assert found[0]["faces"].shape == (16, 64, 64, 3)
    background = found[1]["edited"][0, :4, -6:].mean((0, 1))
    assert background[0] > max(background[1:])
    assert found[2]["pictures"].shape == (2, 8, 8, 3)


def test_models_of_an_installation(tmp_path, monkeypatch):
    """Where there is no checkout around the package."""
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "a/b/shipped.py"))
    assert shipped.saved_models() == tmp_path / "saved_models"
    share = tmp_path / "share/tf_structvae/saved_models"
    monkeypatch.setattr(
        shipped, "installed", lambda: {"saved_models/demo/1/a.pb": share / "demo/1/a.pb"}
    )
    assert shipped.saved_models() == share
