"""Precision, recall, density and coverage against their definitions, one pair at a time."""

import numpy as np
import pytest

from tf_structvae.evaluation import manifold


def slow(data, drawn):
    def radius(x, i, k):
        return sorted(np.linalg.norm(x[i] - x[j]) for j in range(len(x)) if j != i)[k - 1]

    three = [radius(data, i, 3) for i in range(len(data))]
    own = [radius(drawn, j, 3) for j in range(len(drawn))]
    five = [radius(data, i, 5) for i in range(len(data))]
    d = [[np.linalg.norm(a - b) for a in data] for b in drawn]
    n, m = range(len(data)), range(len(drawn))
    return {
        "precision": np.mean([any(d[j][i] <= three[i] for i in n) for j in m]),
        "recall": np.mean([any(d[j][i] <= own[j] for j in m) for i in n]),
        "density": np.mean([sum(d[j][i] <= five[i] for i in n) / 5 for j in m]),
        "coverage": np.mean([any(d[j][i] <= five[i] for j in m) for i in n]),
    }


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_definitions(shift, monkeypatch):
    rng = np.random.default_rng(0)
    data, drawn = rng.normal(size=(40, 3)), 0.7 * rng.normal(size=(31, 3)) + shift
    expected = slow(data, drawn)
    for block in (1000, 7):
        monkeypatch.setattr(manifold, "_BLOCK", block)
        found = manifold.fidelity_and_diversity(data, drawn)
        assert {k: v.value for k, v in found.items()} == pytest.approx(expected)
    share = expected["precision"]
    error = np.sqrt(share * (1 - share) / 30)
    np.testing.assert_allclose(found["precision"].error, error, rtol=1e-6)


def test_what_they_tell_apart():
    """Few modes: all that is drawn is like the data, and much of the data is not drawn."""
    rng = np.random.default_rng(1)
    modes = 10.0 * np.eye(4)
    data = modes[rng.integers(4, size=400)] + rng.normal(size=(400, 4))
    same = modes[rng.integers(4, size=400)] + rng.normal(size=(400, 4))
    one = modes[np.zeros(400, int)] + rng.normal(size=(400, 4))
    wide = modes[rng.integers(4, size=400)] + 4 * rng.normal(size=(400, 4))
    of = {
        name: {k: v.value for k, v in manifold.fidelity_and_diversity(data, x).items()}
        for name, x in (("same", same), ("one", one), ("wide", wide))
    }
    # of the same distribution: density 1 and coverage 1 - 2^-5, up to the error of 400 images
    assert abs(of["same"]["density"] - 1) < 0.15
    assert abs(of["same"]["coverage"] - (1 - 0.5**5)) < 0.05
    assert of["one"]["precision"] > 0.8
    assert of["one"]["coverage"] < 0.35
    assert of["one"]["recall"] < 0.4
    assert of["wide"]["precision"] < 0.5
    assert of["wide"]["density"] < 0.5


def test_wrong_input():
    x = np.zeros([10, 3])
    for data, drawn, pattern in (
        (x, np.zeros([10, 2]), r"features must be \[n, F\] and \[m, F\], got \(10, 3\) and"),
        (x, x[:5], "neighbours need more than 5 images, got 10 and 5"),
        (x, np.nan * x, "features must be finite"),
    ):
        with pytest.raises(ValueError, match=pattern):
            manifold.fidelity_and_diversity(data, drawn)
