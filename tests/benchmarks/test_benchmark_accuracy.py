"""Errors against float64: what bin/benchmark --suite=accuracy measures, at a small size."""

import numpy as np
import pytest

from tf_structvae.benchmarks import accuracy, plot

EPSILON = float(np.float32(1e-5))


def _numbers(factor, seed=0):
    rng = np.random.default_rng(seed)
    loc = rng.uniform(size=len(factor)).astype(np.float32)
    noise = rng.normal(size=factor.shape[1]), rng.normal(size=len(factor))
    x = (loc + factor @ noise[0] + np.sqrt(EPSILON) * noise[1]).astype(np.float32)
    return loc, factor, x


def test_exact_is_the_dense_formula():
    loc, factor, x = _numbers(np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32))
    covariance = factor.astype(np.float64) @ factor.T.astype(np.float64) + EPSILON * np.eye(30)
    r = np.asarray(x, np.float64) - loc
    sign, log_det = np.linalg.slogdet(2 * np.pi * covariance)
    log_prob, entropy = accuracy.exact(loc, factor, x, EPSILON)
    assert sign == 1
    assert log_prob == pytest.approx(
        -0.5 * (log_det + r @ np.linalg.solve(covariance, r)), abs=1e-3
    )
    assert entropy == pytest.approx(0.5 * (log_det + 30), abs=1e-6)


@pytest.mark.parametrize("name", ["ours", *accuracy.FORMS])
def test_all_forms_are_the_same_number(name):
    """Where float32 is enough: a weak P, so that nothing large is subtracted."""
    loc, factor, x = _numbers(1e-3 * np.random.default_rng(2).normal(size=(400, 3)).astype("f"))
    evaluate = {**accuracy.CLASSES, **accuracy.FORMS}[name]
    found = evaluate(loc, factor.astype(np.float32), EPSILON, x)
    np.testing.assert_allclose(found, accuracy.exact(loc, factor, x, EPSILON), atol=0.01)


def test_ours_is_exact_where_the_forms_fail():
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(3000, 5)))[0]
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    factor = ((basis * np.sqrt(np.geomspace(1000, 1e-6, 5))) @ turn).astype(np.float32)
    loc, factor, x = _numbers(factor)
    truth = accuracy.exact(loc, factor, x, EPSILON)[0]
    errors = {
        name: accuracy._errors(evaluate, (truth, 0.0), loc, factor, EPSILON, x)[0]
        for name, evaluate in {"ours": accuracy._ours, **accuracy.FORMS}.items()
    }
    assert errors["ours"] < 0.1
    for name in accuracy.FORMS:
        assert isinstance(errors[name], str) or not errors[name] < 1.0, errors


def test_table_and_figure_show_failures():
    found = {
        "a factor": {name: [0.5, 2e-5] for name in (*accuracy.CLASSES, *accuracy.FORMS)},
        "another": {name: [float("nan")] * 2 for name in (*accuracy.CLASSES, *accuracy.FORMS)},
    }
    found["another"]["torch"] = ["_LinAlgError"] * 2
    table = accuracy.table(found)
    assert "| another | nan | nan | nan | nan | _LinAlgError | _LinAlgError |" in table
    figure = plot.errors(found)
    crosses = [line for axis in figure.axes for line in axis.lines if line.get_marker() == "x"]
    assert len(crosses) == 2 * 5
    without = {f: {**row, "torch": ["not installed"] * 2} for f, row in found.items()}
    labels = plot.errors(without).axes[1].get_legend_handles_labels()[1]
    assert "torch" not in labels
    assert "ours" in labels
