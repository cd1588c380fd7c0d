"""Calibration of distributions whose truth is known, and the spread of samples."""

import numpy as np
import pytest
import reference
import tensorflow_probability as tfp

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.evaluation import generation
from tf_structvae.evaluation.calibration import CalibrationMeter
from tf_structvae.studies import plots

IMAGES, N, R = 4000, 30, 3
rng = np.random.default_rng(0)
# columns of unlike length, so that the order of the components is certain
FACTOR = (np.linalg.qr(rng.normal(size=(N, R)))[0] * [3.0, 1.0, 0.2]).astype(np.float32)
LOC = rng.normal(size=N).astype(np.float32)
# the mean square of 4000 normal draws is off by 4 standard errors once in 16000 times
TOLERANCE = 4 * np.sqrt(2 / IMAGES)


def draw(factor, diag, seed=1):
    noise = np.random.default_rng(seed)
    structured = noise.normal(size=(IMAGES, R)) @ factor.T
    return (LOC + structured + np.sqrt(diag) * noise.normal(size=(IMAGES, N))).astype(np.float32)


def measure(factor, diag, x):
    meter = CalibrationMeter()
    for part in np.split(x, 4):
        shape = (len(part), N, R)
        p = LowRankMultivariateNormal(
            np.broadcast_to(LOC, (len(part), N)), np.broadcast_to(factor, shape), diag
        )
        meter.update(p, part)
    return meter.result()


@pytest.mark.parametrize("per_pixel", [False, True])
def test_standardized_residual_against_the_dense_formula(per_pixel):
    diag = np.random.default_rng(2).uniform(0.01, 0.1, N if per_pixel else 1).astype(np.float32)
    x = draw(FACTOR, diag)[:5]
    p = LowRankMultivariateNormal(LOC, FACTOR, diag)
    full = np.broadcast_to(diag, N).astype(np.float64)
    c = np.stack([reference.noise_posterior(v, LOC, FACTOR, full)[0] for v in x])
    left = x - LOC - c @ FACTOR.astype(np.float64).T
    precision = np.linalg.inv(reference.covariance(FACTOR, full))
    # r - P c = D Sigma^-1 r, whose covariance is D Sigma^-1 D
    sd = full * np.sqrt(np.diag(precision))
    got = np.stack([p.standardized_residual(v) for v in x])
    np.testing.assert_allclose(got, left / sd, rtol=1e-3, atol=1e-4)


def test_point_mass_has_no_residual():
    mask = np.arange(N) < 4
    p = LowRankMultivariateNormal(LOC, FACTOR, np.float32(0.1)).condition(mask, LOC)
    assert np.all(p.standardized_residual(LOC)[:4] == 0)


@pytest.mark.parametrize("scale", [1.0, 2.0, 0.5])
def test_scale_of_the_samples_is_seen(scale):
    """Data from P, a model with scale * P: E[c^2] = 1 / scale^2 but for the noise."""
    found = measure(FACTOR * np.float32(scale), np.float32(0.01), draw(FACTOR, 0.01))
    own, truth = scale**2 * np.array([9, 1, 0.04]), np.array([9, 1, 0.04])
    # c = s r / (s^2 + d) along a component on which r has variance truth + d
    expected = own * (truth + 0.01) / (own + 0.01) ** 2
    np.testing.assert_allclose(found.mean_square, expected, rtol=TOLERANCE)
    np.testing.assert_allclose(found.standard_error, np.sqrt(2 / IMAGES) * expected, rtol=0.1)
    np.testing.assert_allclose(found.share, own / own.sum(), rtol=1e-4)
    assert len(found.judged) == 2  # the third carries 0.4%
    summary = found.summary()
    assert summary["component_square_max"] == found.mean_square[:2].max()
    np.testing.assert_allclose(found.displacement, 0, atol=5 * R / IMAGES * expected.max())


def test_residual_is_seen_pixel_by_pixel():
    diag = np.full(N, 0.04)
    diag[7] = 0.16
    found = measure(FACTOR, np.float32(0.04), draw(FACTOR, diag))
    np.testing.assert_allclose(np.delete(found.residual, 7).mean(), 1, rtol=0.03)
    assert 3 < found.residual[7] < 4.1  # four, less what P takes of it


def test_displaced_mean_is_seen():
    found = measure(FACTOR, np.float32(0.01), draw(FACTOR, 0.01) + 2 * FACTOR[:, 1])
    np.testing.assert_allclose(found.displacement, 4 * (1 / 1.01) ** 2, rtol=0.05)


def test_independent_normal_has_a_residual_only():
    meter = CalibrationMeter()
    x = np.random.default_rng(3).normal(0.5, 0.2, size=(IMAGES, N)).astype(np.float32)
    meter.update(
        tfp.distributions.MultivariateNormalDiag(
            np.full([IMAGES, N], 0.5, "f4"), np.full(N, 0.1, "f4")
        ),
        x,
    )
    found = meter.result()
    assert found.summary().keys() == {"residual_square"}
    np.testing.assert_allclose(found.residual.mean(), 4, rtol=TOLERANCE)
    assert len(plots.calibration(found, (5, 3, 2), "independent").axes) == 3


def test_plot_shows_every_component():
    found = measure(FACTOR, np.float32(0.01), draw(FACTOR, 0.01))
    left = plots.calibration(found, (5, 3, 2), "title").axes[0]
    drawn = np.concatenate([c[0].get_ydata() for c in left.containers])
    np.testing.assert_allclose(np.sort(drawn), np.sort(found.mean_square))


def test_no_images():
    with pytest.raises(ValueError, match="at least one image"):
        CalibrationMeter().result()


def test_spread_of_samples():
    x = np.array([[[0.0], [1.0]], [[-0.1], [0.5]], [[2.0], [1.1]]])
    np.testing.assert_array_equal(generation.saturation(x), [0, 0.5, 1])
    data = np.random.default_rng(4).normal(size=(500, 4, 4, 1))
    np.testing.assert_allclose(generation.variance_ratio(3 * data + 1, data), 9)
