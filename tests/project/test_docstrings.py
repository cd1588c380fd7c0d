"""The examples in docstrings, run as they stand."""

import doctest
import importlib
from pathlib import Path

import keras
import pytest

import tf_structvae as sv

ROOT = Path(__file__).parents[2]
PATHS = sorted(p for p in (ROOT / "tf_structvae").rglob("*.py") if ">>> " in p.read_text())


def _module(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _small_vae():
    """What examples call vae: a built model of 8x8 pixels."""
    encoder = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2 * 4)]
    )
    decoder = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(64 * 5),
            keras.layers.Reshape((8, 8, 5)),
            sv.layers.LowRankNormalHead(channels=3, rank=2),
        ]
    )
    return sv.StructuredVAE(encoder, decoder)


@pytest.mark.filterwarnings("ignore")
def test_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    names, report = [], []
    for path in PATHS:
        module = importlib.import_module(_module(path))
        for example in finder.find(module, module.__name__, globs={"vae": None}):
            if not example.examples:
                continue
            if "(vae," in example.docstring:
                example.globs["vae"] = _small_vae()
            runner.run(example, out=report.append, clear_globs=False)
            names.append(example.name)
    assert runner.failures == 0, "".join(report)
    for module in ("distributions", "layers", "losses", "constraints", "editing", "datasets"):
        assert any(f".{module}." in name for name in names), f"{module} has no example"
    assert len(names) >= 20
