"""Standard errors by the jackknife and otherwise, against the spread that fresh draws show."""

import math

import numpy as np
import pytest

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.evaluation import generation
from tf_structvae.evaluation.calibration import CalibrationMeter
from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.evaluation.jackknife import BLOCKS, BlockVariance, jackknife_error

DRAWS, IMAGES, N = 200, 200, 6
SCALES = np.array([3.0, 2.0, 1.0, 1.0, 0.5, 0.1])


def draws(seed):
    rng = np.random.default_rng([7, seed])
    mixing = np.random.default_rng(0).normal(size=(N, N))
    return 5 + (rng.normal(size=(IMAGES, N)) * SCALES) @ mixing


def agree(values, errors):
    """The spread of 200 values is told to 5%, an error by 20 blocks to 16%, all of them to 2%."""
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values, ddof=1), rel=0.2)


def test_an_estimate_is_a_mean_and_goes_through_json():
    e = Estimate.of(np.array([1.0, 2.0, 6.0]))
    assert e.value == 3
    assert e.error == pytest.approx(np.sqrt(7 / 3))
    assert Estimate.from_json(e.as_json()) == e
    one = Estimate.of(np.array([4.0]))
    assert (one.value, str(one)) == (4, "4")
    assert math.isnan(one.error)
    assert one.as_json() == {"value": 4.0, "standard_error": None}
    assert math.isnan(Estimate.from_json(one.as_json()).error)


@pytest.mark.parametrize("sizes", [[200], [1, 99, 100], [7] * 28 + [4]])
def test_block_variance_is_numpys_whatever_the_batches(sizes):
    x = 1e4 + draws(0)
    meter = BlockVariance.of_batches(np.split(x, np.cumsum(sizes)[:-1]))
    assert meter.seen == IMAGES
    assert meter.total() == pytest.approx(x.var(0, ddof=1).sum(), rel=1e-10)
    without = [np.delete(x, np.s_[b::BLOCKS], 0).var(0, ddof=1).sum() for b in range(BLOCKS)]
    np.testing.assert_allclose(meter.left_out(), without, rtol=1e-10)


def test_block_variance_tells_its_own_spread():
    found = [BlockVariance.of_batches([draws(i)]).estimate() for i in range(DRAWS)]
    agree(*np.transpose(found))


def test_variance_ratio_tells_its_own_spread():
    found = []
    for i in range(DRAWS):
        samples, data = (BlockVariance.of_batches([x]) for x in (2 * draws(i), draws(1000 + i)))
        found.append(generation.ratio(samples, data))
    values, errors = np.transpose(found)
    assert values[0] == pytest.approx(generation.variance_ratio(2 * draws(0), draws(1000)))
    agree(values, errors)


def test_jackknife_of_a_mean_is_the_usual_error():
    x = np.random.default_rng(1).normal(size=50)
    left_out = [np.delete(x, i).mean() for i in range(50)]
    assert jackknife_error(np.array(left_out)) == pytest.approx(Estimate.of(x).error)


def test_too_few_images():
    meter = BlockVariance.of_batches([draws(0)[:39]])
    assert math.isnan(meter.estimate().error)
    with pytest.raises(ValueError, match="at least 40 images, got 39"):
        meter.left_out()
    for count in (0, 1):
        with pytest.raises(ValueError, match=f"at least 2 images, got {count}"):
            BlockVariance.of_batches([draws(0)[:count]] if count else []).total()


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_calibration_tells_its_own_spread(offset):
    """Data drawn from the model, and data displaced along a column of P."""
    rng = np.random.default_rng(2)
    factor = (np.linalg.qr(rng.normal(size=(N, 2)))[0] * [2.0, 1.0]).astype(np.float32)
    found: dict[str, list] = {}
    for _ in range(100):
        noise, pixels = rng.normal(size=(IMAGES, 2)), rng.normal(size=(IMAGES, N))
        x = (noise @ factor.T + offset * factor[:, 0] + 0.3 * pixels).astype(np.float32)
        meter = CalibrationMeter()
        loc = np.zeros([IMAGES, N], np.float32)
        factors = np.broadcast_to(factor, [IMAGES, N, 2])
        meter.update(LowRankMultivariateNormal(loc, factors, np.float32(0.09)), x)
        result = meter.result()
        assert {k: v.value for k, v in result.estimates().items()} == result.summary()
        for name, estimate in result.estimates().items():
            found.setdefault(name, []).append(estimate)
    agree(*np.transpose(found["residual_square"]))
    values, errors = np.transpose(found["displacement"])
    ratio = np.sqrt(np.mean(errors**2)) / np.std(values, ddof=1)
    # on purpose up to a third too large where there is no displacement; 100 values tell it to 7%
    assert 0.8 < ratio < (1.2 if offset else 1.6)
    # of the two components the lesser is picked, which narrows its spread: no more than that
    values, errors = np.transpose(found["component_square_min"])
    assert 0.7 < np.std(values, ddof=1) / np.mean(errors) < 1.1
