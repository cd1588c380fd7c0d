"""Scores of label maps against the same, pixel by pixel and pair by pair."""

import itertools

import numpy as np
import pytest

from tf_structvae.evaluation import segmentation as seg


def maps(count, classes=3, seed=0):
    return np.random.default_rng(seed).integers(0, classes, [count, 4, 3])


def slow_iou(a, b, classes):
    scores = []
    for c in range(1, classes):
        known = [(i, j) for i, j in zip(a.ravel(), b.ravel(), strict=True) if i >= 0 and j >= 0]
        both = sum(i == c and j == c for i, j in known)
        either = sum(i == c or j == c for i, j in known)
        scores.append(both / either if either else 1.0)
    return np.mean(scores)


def test_overlaps():
    a, b = maps(3), maps(2, seed=1)
    a[0, 0, 0] = b[1, 2, 2] = -1
    a[1] = 0
    wanted = [[slow_iou(x, y, 3) for y in b] for x in a]
    np.testing.assert_allclose(seg.intersection_over_union(a, b, 3), wanted)
    of_two = seg.intersection_over_union(a > 0, b > 0)
    np.testing.assert_allclose(seg.dice(a > 0, b > 0), 2 * of_two / (1 + of_two))
    nothing = np.zeros([1, 4, 3], int)
    assert seg.intersection_over_union(nothing, nothing) == 1
    assert seg.dice(nothing, np.ones([1, 4, 3], int)) == 0


def test_distances():
    s, y = maps(4), maps(3, seed=1)

    def d(a, b):
        return np.mean([1 - slow_iou(i, j, 3) for i in a for j in b])

    np.testing.assert_allclose(
        seg.generalised_energy_distance(s, y, 3), 2 * d(s, y) - d(s, s) - d(y, y)
    )
    assert abs(seg.generalised_energy_distance(y, y, 3)) < 1e-12
    pairs = [1 - slow_iou(s[i], s[j], 3) for i in range(4) for j in range(4) if i != j]
    np.testing.assert_allclose(seg.diversity(s, 3), np.mean(pairs))
    assert seg.diversity(s[:1], 3) == 0


def test_the_matching_is_the_best_of_all():
    s, y = maps(2), maps(3, seed=1)
    ours = np.repeat(np.arange(2), 3)
    best = max(
        np.mean([slow_iou(s[i], y[j], 3) for i, j in zip(ours, order, strict=True)])
        for order in itertools.permutations(np.tile(np.arange(3), 2))
    )
    np.testing.assert_allclose(seg.hungarian_iou(s, y, 3), best)
    np.testing.assert_allclose(seg.hungarian_iou(y, y[::-1], 3), 1)


def test_an_annotator_without_a_map_does_not_count():
    s, y = maps(4), maps(3, seed=1)
    with_nothing = np.concatenate([y, np.full_like(y[:1], -1)])
    for score in (seg.generalised_energy_distance, seg.hungarian_iou):
        assert score(s, with_nothing, 3) == score(s, y, 3)
        with pytest.raises(ValueError, match="at least one map with a label"):
            score(s, with_nothing[3:], 3)


def test_wrong_input():
    for a, b, classes, pattern in (
        (np.zeros([2, 3]), maps(1), 2, r"a must be integer label maps .* got float64"),
        (maps(1), np.zeros([0, 3], int), 2, r"b must be integer label maps"),
        (maps(1), maps(1)[:, :2], 2, r"as many pixels, got \(1, 12\) and \(1, 6\)"),
        (maps(1), maps(1), 1, "classes must be at least 2, got 1"),
    ):
        with pytest.raises(ValueError, match=pattern):
            seg.intersection_over_union(a, b, classes)
