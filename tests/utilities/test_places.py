"""Modules under short names and under those of earlier versions."""

import importlib
import json
import pickle
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from forked import run
from small_vae import LATENT, make

import tf_structvae as sv
from tf_structvae.utilities import places


@pytest.mark.parametrize(("name", "place"), [*places.SHORT.items(), *places.OLD.items()])
def test_both_names_are_one_module(name, place):
    module = importlib.import_module(f"tf_structvae.{name}")
    assert module is importlib.import_module(f"tf_structvae.{place}")
    assert module.__spec__.name == module.__name__ == f"tf_structvae.{place}"


def test_short_names_are_attributes():
    for name in places.SHORT:
        assert getattr(sv, name) is importlib.import_module(f"tf_structvae.{name}")


def test_no_name_hides_a_module_of_its_own():
    package = Path(sv.__path__[0])
    for name in (*places.SHORT, *places.OLD):
        path = package / name.replace(".", "/")
        assert not path.exists(), name
        assert not path.with_suffix(".py").exists(), name


def test_pickles_that_name_old_places(tmp_path):
    """As `tf_structvae.editing.Edit` was pickled before it moved."""
    edit = sv.editing.Edit((1, 2), (0.0, 0.5, 1.0))
    now = pickle.dumps(edit, protocol=0)
    before = now.replace(b"tf_structvae.distributions.editing", b"tf_structvae.editing")
    assert before != now
    (tmp_path / "edit").write_bytes(before)
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')))"
    done = run("-c", code, tmp_path / "edit")
    assert done.stdout == f"{edit}\n", done.stderr


def test_keras_files_that_name_old_places(tmp_path):
    model = make(constraints=[sv.Constraint("kl", 0.3, initial_multiplier=1.5)])
    model.save(tmp_path / "now.keras")
    with zipfile.ZipFile(tmp_path / "now.keras") as now:
        config = now.read("config.json").decode()
        assert "tf_structvae.models" in config
        old = config.replace("tf_structvae.models.", "tf_structvae.")
        with zipfile.ZipFile(tmp_path / "before.keras", "w") as before:
            for name in now.namelist():
                before.writestr(name, old if name == "config.json" else now.read(name))
    assert json.loads(old)["module"] == "tf_structvae.vae"
    again = keras.models.load_model(tmp_path / "before.keras")
    assert type(again) is sv.StructuredVAE
    z = np.ones([2, LATENT], np.float32)
    np.testing.assert_array_equal(again.decode(z).mean(), model.decode(z).mean())
    assert float(again.constraints[0].multiplier.value) == 1.5
