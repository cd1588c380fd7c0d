"""The worked examples at a small size, and the program of docs/drop_in.md."""

import functools
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tf_structvae as sv

ROOT = Path(__file__).parents[2]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Keras looks for the class there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _data(data_dir, monkeypatch):
    """The programs keep prepared data where TFDS does by default; the tests elsewhere."""
    here = functools.partial(sv.datasets.load, data_dir=data_dir)
    monkeypatch.setattr(sv.datasets, "load", here)


@pytest.mark.parametrize(
    "name",
    [
        "fill_in",
        *(
            pytest.param(n, marks=pytest.mark.long)
            for n in ("convolutional_vae", "hierarchical_vae")
        ),
    ],
)
def test_example(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = {"train": 60, "held_out": 30, "epochs": 1, "width": 4, "rank": 2, "columns": 3}
    results = load(name).main(**sizes)
    assert results.keys() == {"low rank", "independent"}
    for found in results.values():
        assert all(np.isfinite(v) for v in found.values())
    printed = capsys.readouterr().out
    for head, found in results.items():
        assert f"{head} " in printed
        assert str(round(float(found["log_prob"]), 3)) in printed
    picture = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert picture.std() > 10


@pytest.mark.long
def test_the_program_of_the_page(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "drop_in.md").read_text()
    program = re.search(r"^```python\n(.*?)^```", text, re.M | re.S).group(1)
    assert len(program.splitlines()) < 30
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(program.replace("epochs=10", "epochs=1"), names)
    assert names["fillings"].shape == (3, 8, 392)
    assert names["means"].shape == (500, 392)
    found = names["model"].evaluate(names["x"], names["y"], verbose=0, return_dict=True)
    np.testing.assert_allclose(found["log_prob"], -found["loss"], rtol=1e-5)
    # better after an epoch than one normal for all numbers of the lower halves
    y = names["y"]
    one = -0.5 * 392 * (np.log(2 * np.pi * y.var()) + 1)
    assert found["log_prob"] > one
    rest = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)[1:]
    for block in rest:
        exec(block, names)
    np.testing.assert_allclose(names["model"].predict(names["x"], verbose=0)[:64].shape, (64, 392))
    assert (tmp_path / "saved_models/mine/1/saved_model.pb").exists()
