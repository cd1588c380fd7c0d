"""The kernel distance, and what is kept of many features for it."""

import numpy as np
import pytest

from tf_structvae.evaluation import frechet_scores
from tf_structvae.evaluation.feature_set import FeatureCollector
from tf_structvae.evaluation.frechet import (
    Moments,
    frechet_distance,
    frechet_distance_of_features,
)
from tf_structvae.evaluation.kid import kernel_distance, squared_mmd


def slow(x, y):
    def kernel(a, b):
        return (float(np.dot(a, b)) / len(a) + 1) ** 3

    def within(v):
        pairs = [kernel(v[i], v[j]) for i in range(len(v)) for j in range(len(v)) if i != j]
        return sum(pairs) / len(pairs)

    between = [kernel(a, b) for a in x for b in y]
    return within(x) + within(y) - 2 * sum(between) / len(between)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (7, 7), (5, 9)])
def test_squared_mmd_is_the_double_loop(n, m):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=(n, 4)), 1 + rng.normal(size=(m, 4))
    assert squared_mmd(x, y) == pytest.approx(slow(x, y), rel=1e-12)


def test_points_that_are_all_one_have_the_kernels_distance():
    a, b = np.array([1.0, 2.0]), np.array([0.0, -1.0])
    # k(a, a) = 3.5^3, k(b, b) = 1.5^3, k(a, b) = 0
    found = kernel_distance(np.tile(a, [40, 1]), np.tile(b, [50, 1]))
    assert found.value == pytest.approx(42.875 + 3.375)
    assert found.error == pytest.approx(0, abs=1e-12)


def test_value_is_the_mean_over_disjoint_subsets_that_use_every_image_once():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(57, 3)), rng.normal(size=(57, 3))
    got = kernel_distance(x, y, subset=5, seed=4)
    shuffled = np.random.default_rng(4)
    parts = [np.array_split(shuffled.permutation(57), 12) for _ in range(2)]
    values = [slow(x[i], y[j]) for i, j in zip(*parts, strict=True)]
    assert got.value == pytest.approx(np.mean(values))
    assert got.error == pytest.approx(np.std(values, ddof=1) / np.sqrt(12))
    assert kernel_distance(x, y, subset=5, seed=5).value != got.value


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_value_and_error_agree_with_fresh_draws(shift):
    """Unbiased: zero for one distribution; the true value for two from 4000 images."""
    draws, n = 300, 100
    found = []
    for seed in range(draws):
        rng = np.random.default_rng([1, seed])
        found.append(kernel_distance(rng.normal(size=(n, 3)), shift + rng.normal(size=(n, 3))))
    values, errors = np.array(found).T
    rng = np.random.default_rng(2)
    true = squared_mmd(rng.normal(size=(4000, 3)), shift + rng.normal(size=(4000, 3)))
    true = true if shift else 0.0
    spread = values.std(ddof=1)
    # that of the 4000 is a quarter of that of the 300 x 100, hence 4.5 for 4
    assert abs(values.mean() - true) < 4.5 * spread / np.sqrt(draws)
    # the squared errors are unbiased; each is told to sqrt(2 / 9), all to 3%, the spread to 8%
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(spread, rel=0.25)


def test_scale_divides_the_features():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    got = kernel_distance(50 * x, 50 * y, scale=50.0)
    assert got.value == pytest.approx(kernel_distance(x, y).value, rel=1e-9)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros([30, 2]), np.zeros([30, 3]), {}, r"features must be .*\(30, 2\) and \(30, 3\)"),
        (np.zeros(30), np.zeros(30), {}, "features must be"),
        (np.zeros([19, 2]), np.zeros([30, 2]), {}, "at least 20 images, got 19"),
        (np.zeros([30, 2]), np.zeros([30, 2]), {"subset": 1}, "subset must be >= 2"),
        (np.zeros([30, 2]), np.zeros([30, 2]), {"scale": 0.0}, "scale > 0"),
    ],
)
def test_kernel_distance_refuses(x, y, options, message):
    with pytest.raises(ValueError, match=message):
        kernel_distance(x, y, **options)


# What is kept.


def collected(x, sizes, **options):
    collector = FeatureCollector(**options)
    for part in np.split(x, np.cumsum(sizes)[:-1]):
        collector.update(part)
    return collector.result()


def test_few_features_are_all_kept_in_order():
    x = np.random.default_rng(4).normal(size=(30, 5)).astype(np.float32)
    got = collected(x, [10, 1, 19], keep=30)
    np.testing.assert_array_equal(got.kept, x)
    np.testing.assert_allclose(got.moments.covariance, np.cov(x, rowvar=False), atol=1e-6)
    assert got.root_mean_square == pytest.approx(np.sqrt(np.mean(x**2)), rel=1e-6)


def test_of_many_features_each_is_kept_equally_often():
    x = np.arange(60.0)[:, None]
    trials, kept = 3000, np.zeros(60)
    for seed in range(trials):
        got = collected(x, [25, 35], keep=6, seed=seed)
        assert got.moments.count == 60
        np.add.at(kept, got.kept[:, 0].astype(int), 1)
    assert kept.sum() == 6 * trials
    # 60 shares with standard error sqrt(0.1 * 0.9 / 3000): 4.5 of them once in 2500 times
    assert np.abs(kept / trials - 0.1).max() < 4.5 * np.sqrt(0.09 / trials)


def test_the_sample_does_not_depend_on_batches():
    x = np.random.default_rng(5).normal(size=(100, 2))
    a, b = (collected(x, sizes, keep=9) for sizes in ([100], [3, 50, 47]))
    np.testing.assert_array_equal(a.kept, b.kept)


def test_no_features():
    with pytest.raises(ValueError, match="no batches"):
        FeatureCollector().result()


@pytest.mark.parametrize("size", [5, 200])
def test_distance_of_features_is_that_of_their_moments(size):
    """With fewer and with more images than features."""
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(30, size)), 0.5 + rng.normal(size=(40, size))
    counts = rng.integers(0, 3, 30)
    for repeated, given in ((x, None), (np.repeat(x, counts, axis=0), counts)):
        expected = frechet_distance(Moments.of(repeated), Moments.of(y))
        assert frechet_distance_of_features(x, y, given) == pytest.approx(expected, rel=1e-9)
        assert frechet_distance_of_features(y, x, None, given) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance_of_features(x, x) == pytest.approx(0, abs=1e-9 * size)
    for bad, message in ((y[:, 1:], "different sizes"), (y[:1], "at least 2 samples, got 1")):
        with pytest.raises(ValueError, match=message):
            frechet_distance_of_features(x, bad)


def test_bootstrap_of_a_part_tells_the_error_of_the_whole():
    """Against the spread that fresh draws of the whole size show."""
    rng = np.random.default_rng(7)
    n, part, shift = 600, 150, np.array([0.5, 0, 0])
    pairs = [(rng.normal(size=(n, 3)), shift + rng.normal(size=(n, 3))) for _ in range(150)]
    fresh = np.std([frechet_distance(*map(Moments.of, pair)) for pair in pairs], ddof=1)
    found = [
        frechet_scores.bootstrap(a[:part], b[:part], 40, seed, counts=(n, n)).error
        for seed, (a, b) in enumerate(pairs[:20])
    ]
    # the spread is told to 6%, each of the errors to 11% by resampling and to as much by the part
    assert np.mean(found) == pytest.approx(fresh, rel=0.25)
    of_the_part = frechet_scores.bootstrap(pairs[0][0][:part], pairs[0][1][:part], 40).error
    assert of_the_part > 1.4 * np.mean(found)
