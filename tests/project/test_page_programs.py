"""Every page's Python runs as it is pasted: all its blocks in order, from nothing.

Only numbers of steps and epochs, and the sizes of drawn data sets, are smaller here. A page that
reads a file of the reader's finds one.
"""

import functools
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import page_programs
import pytest

import tf_structvae as sv
from tf_structvae.datasets import small
from tf_structvae.datasets.drawn.avatars import Avatars

_COUNTS = {"train": 64, "validation": 32, "test": 32}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Where the data sets of the pages are kept."""
    return str(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def _small_data(prepared, monkeypatch):
    split_indices = small.split_indices
    first = {split: slice(count) for split, count in _COUNTS.items()}
    monkeypatch.setattr(
        small, "split_indices", lambda y: {s: r[first[s]] for s, r in split_indices(y).items()}
    )
    for config in Avatars.BUILDER_CONFIGS:
        for split, count in _COUNTS.items():
            monkeypatch.setattr(config, split, count)
    here = functools.partial(sv.datasets.load, data_dir=prepared)
    monkeypatch.setattr(sv.datasets, "load", here)


def _photos(folder):
    """Enough that each split has some."""
    (folder / "photos").mkdir()
    for k in range(40):
        image = np.random.default_rng(k).integers(0, 256, [9, 12, 3], np.uint8)
        keras.utils.save_img(folder / f"photos/{k}.png", image)


def _session(folder):
    """The shipped model, and a session of the editor."""
    shutil.copytree(page_programs.ROOT / "saved_models/demo", folder / "saved_models/demo")
    card = json.loads((folder / "saved_models/demo/1/model_card.json").read_text())
    ones = [1.0] * card["rank"]
    state = {"latents": [0.0] * card["latent_dim"], "noise": ones, "coefficients": ones}
    (folder / "session.json").write_text(json.dumps({"at": 0, "states": [state]}))


_READERS_FILES = {"image_folder.md": _photos, "editing.md": _session}


def _check_distribution(names):
    np.testing.assert_allclose(names["picture"][:3], 1.0, atol=1e-3)  # as painted
    assert names["others"].shape == (4, 12)


def _check_logs(names):
    header, row = Path("log.csv").read_text().splitlines()
    assert {"step", "kl", "val_component_square_max", "val_displacement"} <= set(header.split(","))
    assert len(row.split(",")) == len(header.split(","))


def _check_constraints(names):
    multipliers = {c.name: float(c.multiplier) for c in names["vae"].constraints}
    assert multipliers.keys() == {"kl", "edge_error"}
    assert np.isfinite(list(multipliers.values())).all()


def _check_first_model(names):
    assert int(names["vae"].steps) == 3
    assert keras.utils.img_to_array(keras.utils.load_img("samples.png")).shape == (99, 264, 3)


def _check_readme(names):
    known, other = names["edited"].numpy(), names["faces"].numpy()[::-1]
    np.testing.assert_allclose(known[:, :1536], other[:, :1536], atol=1e-3)


_CHECKS = {
    "README.md": _check_readme,
    "distribution.md": _check_distribution,
    "index.md": _check_first_model,
    "logs.md": _check_logs,
    "training.md": _check_constraints,
}
_LONG = {"tfp.md"}  # test_tfp_reuse.py runs its sections


def _case(page):
    marks = [pytest.mark.long] if page.name in _LONG else []
    return pytest.param(page, id=page.name, marks=marks)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", map(_case, page_programs.PAGES))
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _READERS_FILES.get(page.name, lambda folder: None)(tmp_path)
    names = {"__name__": "__main__"}
    for block in page_programs.blocks(page):
        if not block.reason:
            block.run(names)
    _CHECKS.get(page.name, lambda names: None)(names)


def test_few_blocks_are_not_run():
    left_out = [b for p in page_programs.PAGES for b in page_programs.blocks(p) if b.reason]
    assert len(left_out) <= 2
    assert all(len(block.reason.split()) >= 4 for block in left_out)


def test_a_block_that_needs_what_no_block_before_defines_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\na = 1\n```\n\ntext\n\n```python\nb = a\nc = undefined\n```\n")
    first, second = page_programs.blocks(page)
    names = {}
    first.run(names)
    with pytest.raises(NameError, match="undefined") as error:
        second.run(names)
    assert error.traceback[-1].lineno + 1 == 9  # of the page
    assert names["b"] == 1
