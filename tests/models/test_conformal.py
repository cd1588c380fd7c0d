"""Conformal regions: coverage whatever the model, volumes and shapes against their definitions."""

import math

import keras
import numpy as np
import pytest
import scipy.stats

import tf_structvae as sv
from tf_structvae import conformal

LEVELS = (0.8, 0.9, 0.95)
N, R = 10, 3
_RNG = np.random.default_rng(0)
FACTOR = _RNG.normal(size=[N, R]) * [2.0, 1.0, 0.5]
DIAG = _RNG.uniform(0.05, 0.2, N)


def constant(factor, diag):
    """Inputs [B, N], which are the means -> the normal with these about them."""

    def model(x):
        x = np.asarray(x, np.float32)
        return sv.distributions.LowRankMultivariateNormal(
            x, np.broadcast_to(np.float32(factor), [len(x), *factor.shape]), np.float32(diag)
        )

    return model


RIGHT = constant(FACTOR, DIAG)
MODELS = {
    "right": RIGHT,
    "too narrow": constant(0.3 * FACTOR, 0.1 * DIAG),
    "other directions": constant(np.roll(FACTOR, 3, 0), DIAG),
}


def draw(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=[count, N])
    noise = rng.standard_normal([count, R]) @ FACTOR.T
    y = x + noise + np.sqrt(DIAG) * rng.standard_normal([count, N])
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("kind", conformal.KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_coverage_is_what_was_promised(name, kind):
    """Over fresh calibration sets of n and fresh examples, k / (n + 1): the mean of a beta-binomial
    of which every set adds its own draw."""
    sets, n, fresh = 200, 99, 50
    x, y = draw(sets * (n + fresh), seed=1)
    scores = np.asarray(conformal.score(kind, MODELS[name](x), conformal.flat(y)))
    scores = scores.reshape(sets, n + fresh)
    for level in LEVELS:
        inside = [np.mean(s[n:] <= conformal.threshold(s[:n], level)) for s in scores]
        k = math.ceil(100 * level)
        coverage = scipy.stats.beta(k, n + 1 - k)
        variance = coverage.var() + coverage.expect(lambda c: c * (1 - c)) / fresh
        assert abs(np.mean(inside) - k / (n + 1)) < 4 * np.sqrt(variance / sets)


def test_the_threshold_is_the_right_order_statistic():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 20.0))
    assert conformal.threshold(scores, 0.95) == 19  # (19 + 1) 0.95 = 19
    assert conformal.threshold(scores, 0.5) == 10
    assert conformal.threshold(scores, 0.501) == 11
    with pytest.raises(ValueError, match=r"at least 19 examples for a level of 0.95, got 18"):
        conformal.threshold(scores[:18], 0.95)
    with pytest.raises(ValueError, match=r"at least 9 examples for a level of 0.9, got 0"):
        conformal.threshold(scores[:0], 0.9)


@pytest.mark.parametrize("kind", conformal.KINDS)
def test_a_region_is_its_definition(kind):
    x, y = draw(200, seed=2)
    found = conformal.calibrate(RIGHT, (x, y), 0.9, kind)
    in_batches = [(x[k : k + 7], y[k : k + 7]) for k in range(0, 200, 7)]
    np.testing.assert_allclose(
        conformal.calibrate(RIGHT, in_batches, 0.9, kind).threshold, found.threshold, rtol=1e-4
    )
    assert found.count == 200
    inside = found.contains(x, y)
    assert inside.sum() in (181, 180)  # rounding may move the last one
    covariance = FACTOR @ FACTOR.T + np.diag(DIAG)
    residual = (y - x).astype(np.float64)
    t = found.threshold
    if kind == "ellipsoid":
        square = np.einsum("bn,nm,bm->b", residual, np.linalg.inv(covariance), residual)
        wanted = np.sqrt(square)
        ball = N / 2 * math.log(math.pi) - math.lgamma(N / 2 + 1) + N * math.log(t)
        volume = ball + 0.5 * np.linalg.slogdet(covariance)[1]
    elif kind == "pixels":
        wanted = np.max(np.abs(residual) / np.sqrt(np.diag(covariance)), -1)
        volume = np.sum(np.log(2 * t * np.sqrt(np.diag(covariance))))
    else:
        units, scales, _ = np.linalg.svd(FACTOR, full_matrices=False)
        spread = np.sqrt(scales**2 + DIAG @ units**2)
        rest = np.sqrt(np.trace(covariance) - np.sum(spread**2))
        widest = scipy.stats.norm.ppf(0.5 + 0.5 * 0.95 ** (1 / R))
        longest = np.sqrt(scipy.stats.chi2.ppf(0.95, N - R) / (N - R))
        along = residual @ units
        beside = np.linalg.norm(residual - along @ units.T, axis=-1)
        wanted = np.maximum(np.max(np.abs(along) / spread, -1) / widest, beside / rest / longest)
        radius, m = t * longest * rest, N - R
        ball = m / 2 * math.log(math.pi) - math.lgamma(m / 2 + 1) + m * math.log(radius)
        volume = np.sum(np.log(2 * t * widest * spread)) + ball
    np.testing.assert_allclose(np.asarray(conformal.score(kind, RIGHT(x), y)), wanted, rtol=1e-3)
    np.testing.assert_allclose(found.volume(x[:3]), volume, rtol=1e-3)


@pytest.mark.parametrize("kind", conformal.KINDS)
def test_intervals_and_extremes_touch_the_region(kind):
    """Of many points on the region's border none is outside an interval, and some come near."""
    x, y = draw(200, seed=3)
    found = conformal.calibrate(RIGHT, (x, y), 0.9, kind)
    at = x[:1]
    rng = np.random.default_rng(0)
    for component in range(R):
        for end in found.extremes(at, component):
            for scale, inside in ((0.999, True), (1.001, False)):
                moved = (at + scale * (end - at)).astype(np.float32)
                assert found.contains(at, moved)[0] == inside
    low, high = zip(*(found.interval(at, i) for i in range(N)), strict=True)
    low, high = np.ravel(low), np.ravel(high)
    # random directions, and those to each entry's farthest point, out to the border
    covariance = FACTOR @ FACTOR.T + np.diag(DIAG)
    directions = np.concatenate([rng.standard_normal([3000, N]), covariance, np.eye(N)])
    at_all = np.repeat(at, len(directions), 0)
    scores = np.asarray(conformal.score(kind, RIGHT(at_all), at_all + directions), np.float64)
    border = at_all + directions * (found.threshold / scores)[:, None]
    slack = 1e-3 * (high - low)
    assert (border >= low - slack).all()
    assert (border <= high + slack).all()
    if kind != "components":
        np.testing.assert_allclose(border.max(0), high, rtol=0.02, atol=0.05)


def test_a_rank_of_all_entries_and_more_leaves_nothing_beside_the_box():
    factor = np.random.default_rng(3).normal(size=[4, 6])
    model = constant(factor, np.full(4, 0.1))
    rng = np.random.default_rng(4)
    x = np.zeros([300, 4], np.float32)
    y = rng.standard_normal([300, 6]) @ factor.T + np.sqrt(0.1) * rng.standard_normal([300, 4])
    found = conformal.calibrate(model, (x, y), 0.9, "components")
    assert 0.5 < found.threshold < 2
    scales = np.linalg.svd(factor, compute_uv=False)
    widest = scipy.stats.norm.ppf(0.5 + 0.5 * 0.95 ** (1 / 4))
    volume = np.sum(np.log(2 * found.threshold * widest * np.sqrt(scales**2 + 0.1)))
    np.testing.assert_allclose(found.volume(x[:2]), volume, rtol=1e-3)
    low, high = found.interval(x[:1], 2)
    assert np.isfinite([low, high]).all()


def test_the_ellipsoid_is_smaller_than_the_boxes_on_correlated_data():
    x, y = draw(1000, seed=4)
    volume = {
        k: conformal.calibrate(RIGHT, (x, y), 0.9, k).volume(x[:1])[0] for k in conformal.KINDS
    }
    assert volume["ellipsoid"] < volume["components"] < volume["pixels"]


def test_regions_are_saved_with_a_wrapped_model_and_as_files(tmp_path):
    frozen = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    model = sv.wrap(frozen, rank=2, width=8)
    model.compile("adam")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=[60, 6, 5, 1]).astype(np.float32) for _ in range(2))
    model.fit(x, y, verbose=0)
    found = [conformal.calibrate(model, (x, y), level, "pixels") for level in (0.8, 0.9, 0.8)]
    conformal.calibrate(model, (x, y), 0.8)
    assert len(model.calibration) == 3
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.fit(x, y, verbose=0)  # it is another model now
    assert loaded.calibration == []
    loaded = keras.models.load_model(tmp_path / "model.keras")
    again = conformal.saved(loaded, 0.9, "pixels")
    np.testing.assert_array_equal(again.contains(x, y), found[1].contains(x, y))
    with pytest.raises(ValueError, match=r"calibrated for \(0.7, 'pixels'\), got one for \["):
        conformal.saved(loaded, 0.7, "pixels")
    found[0].save(tmp_path / "regions.json")
    from_file = conformal.Regions.load(model, tmp_path / "regions.json")
    assert from_file.as_dict() == found[0].as_dict()
    assert "threshold" in repr(from_file)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match=r"file of Regions.save, got .*other.json"):
        conformal.Regions.load(model, tmp_path / "other.json")
    # a place names the same entry as its number, and ends have the form of the output
    np.testing.assert_array_equal(
        found[0].interval(x[:2], (3, 4, 0)), found[0].interval(x[:2], 3 * 5 + 4)
    )
    assert found[0].extremes(x[:2], 1)[0].shape == (2, 6, 5, 1)
    for pixel in (30, -1, (6, 0, 0), "a", (1, 2)):
        with pytest.raises(ValueError, match=r"pixel must be a number below 30 or a place in"):
            found[0].interval(x[:2], pixel)
    for component in (2, -1, 0.5):
        with pytest.raises(ValueError, match=r"component must be an integer in \[0, 2\), got"):
            found[0].extremes(x[:2], component)


def test_wrong_input():
    x, y = draw(40, seed=5)
    for arguments, pattern in (
        ({"level": 1.0}, "level must be a number between 0 and 1, got 1.0"),
        ({"level": 0.99}, "at least 99 examples for a level of 0.99, got 40"),
        ({"kind": "ball"}, "kind must be one of .* got 'ball'"),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"data": x}, r"data must be \(inputs, targets\), got one ndarray"),
        ({"data": (x, y[:3])}, "as many targets as inputs, got 40 inputs, 3 targets"),
        ({"data": (x, np.nan * y)}, "finite scores under the model, got 40 of 40 that are not"),
    ):
        with pytest.raises(ValueError, match=pattern):
            conformal.calibrate(RIGHT, **{"data": (x, y), **arguments})

    def independent(x):
        return sv.layers.IndependentNormalHead(N)(np.ones([len(x), 4]))

    with pytest.raises(ValueError, match="need a distribution with a factor P"):
        conformal.calibrate(independent, (x, y), kind="components")
    assert conformal.calibrate(independent, (x, y), kind="pixels").volume(x).shape == (40,)
