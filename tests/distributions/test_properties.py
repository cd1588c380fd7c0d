"""Properties over shapes, ranks, scales and masks, found by hypothesis."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import reference
import tensorflow as tf

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)
from tf_structvae.distributions.editing import slerp

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=40)
hypothesis.settings.load_profile("repeatable")


@st.composite
def distributions(draw):
    """(ours, loc, factor, full diagonal, generator) of one distribution in float64."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pixels, channels = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    n, rank = pixels * channels, draw(st.integers(1, 8))
    scale = 10.0 ** draw(st.integers(-6, 2))
    loc = rng.normal(size=n)
    diag = 10.0 ** draw(st.integers(-3, 1)) * (
        rng.uniform(0.2, 1, n) if draw(st.booleans()) else np.ones(())
    )
    if draw(st.booleans()):
        h = rng.normal(size=(pixels, draw(st.integers(1, 4))))
        w = scale * rng.normal(size=(h.shape[1], channels, rank))
        factor = reference.dense_factor(h, w)
        d = FeatureLowRankMultivariateNormal(loc, h, w, diag)
    else:
        factor = scale * rng.normal(size=(n, rank))
        if draw(st.booleans()):
            factor[:, 0] = factor[:, -1]
        d = LowRankMultivariateNormal(loc, factor, diag)
    return d, loc, factor, np.broadcast_to(diag, n), rng


@hypothesis.given(distributions())
def test_density_entropy_and_moments(case):
    d, loc, factor, diag, rng = case
    x = loc + rng.normal(size=len(loc))
    np.testing.assert_allclose(
        d.log_prob(x), reference.log_prob(x, loc, factor, diag), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(d.entropy(), reference.entropy(factor, diag), rtol=1e-8, atol=1e-8)
    sigma = reference.covariance(factor, diag)
    np.testing.assert_allclose(d.variance(), np.diag(sigma), rtol=1e-9)
    np.testing.assert_allclose(d.pixel_influence(), (sigma**2).sum(-1), rtol=1e-7)
    assert d.sample(3, seed=(0, 1)).shape == (3, len(loc))


@hypothesis.given(distributions(), st.floats(0, 1), st.sampled_from([0.0, 1e-3, 1.0]))
def test_conditioning_on_any_mask(case, share, noise):
    d, loc, factor, diag, rng = case
    mask = rng.uniform(size=len(loc)) < share
    value = loc + rng.normal(size=len(loc))
    got = d.condition(mask, value, noise)
    mean, covariance = reference.condition(mask, value, loc, factor, diag, noise)
    size = 1 + np.abs(reference.covariance(factor, diag)).max()
    np.testing.assert_allclose(got.mean(), mean, atol=1e-6 * size)
    np.testing.assert_allclose(got.covariance(), covariance, atol=1e-8 * size)
    assert np.all(got.variance() <= d.variance() * (1 + 1e-9))


@hypothesis.given(distributions())
def test_divergence_from_itself_is_zero_and_from_others_positive(case):
    d, loc, factor, diag, _ = case
    assert abs(float(d.kl_divergence(d))) < 1e-6 * (1 + len(loc))
    other = LowRankMultivariateNormal(loc + 0.1, 0.5 * factor, diag)
    assert float(d.kl_divergence(other)) > 0
    assert float(other.kl_divergence(d)) > 0


@hypothesis.given(distributions())
def test_unit_scales_change_nothing(case):
    d, *_ = case
    same = d.scale_components(np.ones(d.rank))
    np.testing.assert_allclose(
        same.cov_factor, d.cov_factor, atol=1e-6 * np.abs(d.cov_factor).max()
    )


@hypothesis.given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6),
    st.integers(0, 1000),
    st.floats(0, 1),
)
def test_slerp_is_finite_and_meets_its_ends(a, seed, t):
    a = np.array(a)
    b = np.random.default_rng(seed).normal(size=len(a))
    assert np.isfinite(slerp(a, b, t)).all()
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-9)
    np.testing.assert_allclose(slerp(a, b, 1.0), b, atol=1e-9)
    same = tf.norm(slerp(a, a, t))
    np.testing.assert_allclose(same, np.linalg.norm(a), rtol=1e-9, atol=1e-12)
