"""What was saved with classes of the package loads in a process that only imported the package."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import conditional
import keras
import numpy as np
import pytest
import small_vae

import tf_structvae as sv
from tf_structvae.models import networks
from tf_structvae.utilities import registration

SHAPE = (6, 5, 2)
HEADS = (
    sv.layers.LowRankNormalHead,
    sv.layers.StockLowRankNormalHead,
    sv.layers.IndependentNormalHead,
)

LOAD = """
import sys
import {first}
import {second}
import numpy as np
import tf_structvae as sv
assert "tf_structvae.layers" not in sys.modules
folder, names = sys.argv[1], sys.argv[2:]
saved = np.load(folder + "/given.npz")
found = {{}}
for name in names:
    model = keras.models.load_model(f"{{folder}}/{{name}}")  # safe mode is the default
    assert model.optimizer.iterations == 2, name
    inputs = [saved[k] for k in ("images", "labels")[: 2 if "vae" in name else 1]]
    p = model.distribution() if "density" in name else model(*inputs)
    found[name + " mean"] = p.mean()
    found[name + " sample"] = p.sample(2, seed=(1, 2))
    found[name + " log_prob"] = p.log_prob(saved["flat"])
    if "head" in name:
        loss, *measured = model.evaluate(saved["images"], saved["flat"], verbose=0)
        found[name + " evaluated"] = [loss, *measured]
    if "vae" in name:
        multipliers = [float(c.multiplier) for c in model.constraints]
        found[name + " state"] = [*multipliers, int(model.steps), float(model.mixing_rate(1000))]
np.savez(folder + "/found.npz", **found)
"""


def trained_head(kind):
    keras.utils.set_random_seed(0)
    head = kind(2, epsilon=0.1, noise="learned")
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Dense(4, "tanh"), head])
    metrics = [sv.metrics.LogProb(), sv.metrics.Entropy(), sv.metrics.MahalanobisDistance()]
    metrics.append(sv.metrics.RootMeanSquaredError())
    if kind is sv.layers.LowRankNormalHead:
        metrics.append(sv.metrics.NoiseSquare())
    loss = sv.losses.NegativeLogLikelihood()
    model.compile("adam", loss, metrics=metrics, run_eagerly=True)  # no graphs: it is faster
    x = small_vae.images(8)
    model.fit(x, x, batch_size=4, verbose=0)
    return model


def trained_vae():
    keras.utils.set_random_seed(0)
    stages, classes = [(4, 2)], conditional.CLASSES
    head = sv.layers.LowRankNormalHead(
        2, rank=2, factor_scale="closed_form", noise="fixed", epsilon=1e-5, mean_initial=0.5
    )
    model = sv.StructuredVAE(
        networks.residual_encoder(SHAPE, 3, 4, stages, classes=classes),
        networks.residual_decoder(
            SHAPE, 3, head, stages, 4, upsample="transposed", classes=classes
        ),
        [sv.Constraint("kl", 1.0), sv.Constraint("squared_error", 1.0, "upper_bound")],
        mixing_rate=keras.optimizers.schedules.CosineDecay(0.02, 2000),
        classes=classes,
    )
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    model.fit(*conditional.batch(8), batch_size=4, verbose=0)
    return model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of models, and what they predict."""
    folder = tmp_path_factory.mktemp("saved")
    images, labels = conditional.batch(8, seed=1)
    flat = images.reshape(8, -1)
    np.savez(folder / "given.npz", images=images, labels=labels, flat=flat)
    models = {f"head_{kind.__name__}.keras": trained_head(kind) for kind in HEADS}
    models["head_legacy.h5"] = models["head_LowRankNormalHead.keras"]
    models["vae.keras"] = trained_vae()
    density = sv.density.LowRankDensity(SHAPE, rank=2, constraints=[sv.Constraint("entropy", -9.0)])
    density.compile(keras.optimizers.SGD(1e-3), run_eagerly=True)
    density.fit(small_vae.images(8), batch_size=4, verbose=0)
    models["density.keras"] = density
    expected = {}
    for name, model in models.items():
        model.save(folder / name)
        inputs = (images, labels) if "vae" in name else (images,)
        p = model.distribution() if "density" in name else model(*inputs)
        expected[f"{name} mean"] = p.mean()
        expected[f"{name} sample"] = p.sample(2, seed=(1, 2))
        expected[f"{name} log_prob"] = p.log_prob(flat)
        if "head" in name:
            expected[f"{name} evaluated"] = model.evaluate(images, flat, verbose=0)
        if "vae" in name:
            multipliers = [float(c.multiplier) for c in model.constraints]
            rate = float(model.mixing_rate(1000))
            expected[f"{name} state"] = [*multipliers, int(model.steps), rate]
    assert all(np.isfinite(value).all() for value in expected.values())
    return folder, list(models), expected


def check_loads(saved, first, second):
    folder, names, expected = saved
    code = LOAD.format(first=first, second=second)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(  # not a fork of a process that has the modules already
        [sys.executable, "-c", code, folder, *names],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(folder / "found.npz")
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


def test_a_fresh_process_loads_all_that_was_saved(saved):
    check_loads(saved, "tf_structvae", "keras")


@pytest.mark.long
def test_with_keras_imported_first(saved):
    check_loads(saved, "keras", "tf_structvae")


def test_every_registered_class_has_a_stand_in():
    """As the sources have it, whatever this process has imported."""
    pattern = r'register_keras_serializable\(package="tf_structvae"\)\nclass (\w+)'
    sources = Path(sv.__file__).parent.rglob("*.py")
    registered = [name for path in sources for name in re.findall(pattern, path.read_text())]
    listed = [name for names in registration.CLASSES.values() for name in names]
    assert sorted(listed) == sorted(registered)
    for module, names in registration.CLASSES.items():
        for name in names:
            known = f"tf_structvae>{name}"
            cls = getattr(importlib.import_module(f"tf_structvae.{module}"), name)
            assert keras.saving.get_registered_object(known) is cls
            assert keras.saving.get_registered_name(cls) == known


def test_a_stand_in_is_the_class_where_keras_uses_it():
    stand_in = registration.StandIn("constraints", "Constraint")
    config = sv.Constraint("kl", 2.0).get_config()
    assert isinstance(stand_in.from_config(config), sv.Constraint)
    assert isinstance(stand_in(**config), sv.Constraint)
    assert not hasattr(stand_in, "__deepcopy__")


BACKEND = """
import sys
{before}
try:
    import tf_structvae
except ImportError as error:
    print(error)
else:
    print("imported")
assert "tensorflow" not in sys.modules
"""
LOADED = """
import types
keras = sys.modules["keras"] = types.ModuleType("keras")
keras.config = types.SimpleNamespace(backend=lambda: "torch")
"""


def run_import(home, before="", **environment):
    kept = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", BACKEND.format(before=before)],
        capture_output=True,
        text=True,
        env={**kept, "KERAS_HOME": str(home), **environment},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1
    return done.stdout


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_another_backend_is_refused_at_import(name, tmp_path):
    told = run_import(tmp_path, KERAS_BACKEND=name)
    assert f"'tensorflow', but the environment variable KERAS_BACKEND is '{name}'" in told
    (tmp_path / "keras.json").write_text(json.dumps({"backend": name}))
    told = run_import(tmp_path)
    assert f"'backend' in {tmp_path}/keras.json is '{name}'" in told
    assert "set the environment variable KERAS_BACKEND=tensorflow" in told
    assert run_import(tmp_path, KERAS_BACKEND="tensorflow") == "imported\n"


def test_a_backend_that_is_loaded_already_counts_most(tmp_path):
    told = run_import(tmp_path, LOADED, KERAS_BACKEND="tensorflow")
    assert "Keras, which is already imported, is 'torch'" in told


def test_settings_that_keras_ignores(tmp_path):
    assert run_import(tmp_path) == "imported\n"
    (tmp_path / "keras.json").write_text("no json")
    assert run_import(tmp_path, KERAS_BACKEND="") == "imported\n"
