"""An evaluation in pieces, by whoever, comes to the numbers of one in a single process."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from small_run import save_untrained

from tf_structvae.studies import dealt_evaluation, evaluate, run_labels
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.evaluated_model import Places
from tf_structvae.studies.evaluation_features import extractors
from tf_structvae.studies.part_store import PartStore
from tf_structvae.utilities import pipelines
from tf_structvae.utilities.pipelines import Runner

NAMES = ("random_cnn",)
TINY = Settings(
    images=40, importance_images=10, importance_samples=3, resamples=3,
    priors=("own", "normal", "posterior"),
)  # fmt: skip


def numbers(written):
    text = written.numbers.read_text()
    return json.loads(text)["data_sets"]


def leaves(found, path=""):
    if not isinstance(found, dict):
        return {path: found}
    return {k: v for key, value in found.items() for k, v in leaves(value, f"{path}/{key}").items()}


def alone(runs, output, settings=TINY):
    return evaluate.evaluate(runs, extractors(NAMES, None), settings, output)


@pytest.fixture(scope="module")
def runs(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    ours = save_untrained(folder / "ours", data_dir)
    plain = save_untrained(
        folder / "plain", data_dir, **{"name": "plain", "model.likelihood": "independent"}
    )
    return run_labels.check_runs([ours, plain], "last")


def check_same(found, want):
    found, want = leaves(found), leaves(want)
    assert found.keys() == want.keys()
    for key, value in want.items():
        if isinstance(value, float):
            np.testing.assert_allclose(found[key], value, rtol=1e-3, atol=1e-6, err_msg=key)
        elif not key.endswith("workdir"):
            assert found[key] == value, key


def test_pieces_in_any_order(runs, tmp_path, monkeypatch, capsys):
    pieces = []

    def backwards(work, some, *_, **__):
        for piece in reversed(some):
            pieces.append(piece)
            pickle.loads(pickle.dumps(work))(piece)

    monkeypatch.setattr(pipelines, "run", backwards)
    ours = dict(list(runs.items())[:1])
    settings = dataclasses.replace(TINY, priors=("normal", "posterior"))
    output = tmp_path / "dealt"
    places = Places.within(output, None, None)
    dealt_evaluation.run(ours, NAMES, None, settings, places, Runner())
    # references and a fitted prior; measures and three rows of each
    assert len(pieces) == len(set(pieces)) == 2 + 2 + 6
    capsys.readouterr()
    found = alone(ours, output, settings)
    assert capsys.readouterr().err == ""  # no progress: nothing is computed again
    check_same(numbers(found), numbers(alone(ours, tmp_path / "alone", settings)))
    assert not (places.parts / ".done").exists()


def test_parts_that_two_processes_put_into_one_file(tmp_path):
    path = tmp_path / "parts.json"
    first, second = PartStore(path), PartStore(path)
    first.put("x", {}, 1)
    second.put("y", {}, 2)
    first.put("z", {}, 3)
    there = PartStore(path)
    assert [there.get(k, {}, lambda: None) for k in "xyz"] == [1, 2, 3]
    PartStore(path, force=True).put("x", {}, 4)  # all that was there is old
    assert not PartStore(path).has("y", {})


@pytest.mark.long
def test_workers_of_beam(runs, tmp_path):
    found = []
    for workers in (1, 2):
        output = tmp_path / str(workers)
        places = Places.within(output, None, None)
        dealt_evaluation.run(runs, NAMES, None, TINY, places, Runner(workers=workers))
        found.append(numbers(alone(runs, output)))
    assert found[0] == found[1]  # to the last bit
    check_same(found[0], numbers(alone(runs, tmp_path / "alone")))
