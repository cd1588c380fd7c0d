"""`FeatureLocalLowRankNormal` against the same distribution with its P built."""

import numpy as np
import pytest
import tensorflow as tf
from dense_local import random_parts

from tf_structvae.distributions import FeatureLocalLowRankNormal, LocalLowRankNormal
from tf_structvae.distributions.local.window import Window

GRID, RANK, FEATURES = (4, 3, 2), 3, 5
SIZE, PIXELS = 24, 12


def parameters(shared, channels, batch=(2,)):
    """Those of both, float64: loc, scale, features, kernel, neighbours, channels."""
    rng = np.random.default_rng(7)
    neighbours, v, scale = random_parts(Window(GRID, 1), batch, shared=shared)
    v = {"pixel": v, "constant": rng.normal(size=(1, 1, 2, 2)), "none": None}[channels]
    features = rng.normal(size=(*batch, PIXELS, FEATURES))
    kernel = rng.normal(size=(FEATURES, 2, RANK))
    loc = rng.normal(size=(*batch, SIZE))
    given = (loc, scale.reshape(*batch, SIZE), features, kernel, neighbours, v)
    return [None if x is None else tf.constant(x) for x in given]


def both(given, mask=None):
    """The distribution, and the one with P built."""
    loc, scale, features, kernel, neighbours, v = given
    p = FeatureLocalLowRankNormal(loc, scale, GRID, features, kernel, neighbours, v, mask=mask)
    factor = tf.reshape(tf.einsum("bsf,fcr->bscr", features, kernel), [-1, SIZE, RANK])
    return p, LocalLowRankNormal(loc, scale, GRID, neighbours, v, factor, mask=mask)


CASES = [(s, c, m) for s in (True, False) for c in ("pixel", "constant", "none") for m in (0, 1)]


@pytest.mark.parametrize(("shared", "channels", "masked"), CASES)
def test_it_is_the_normal_with_p_built(shared, channels, masked):
    rng = np.random.default_rng(1)
    mask = rng.uniform(size=SIZE) < 0.7 if masked else None
    p, q = both(parameters(shared, channels), mask)
    x, noise = rng.normal(size=(2, SIZE)), rng.normal(size=(4, 2, RANK))
    assert p.rank == q.rank == RANK
    for f, w in zip(p.summarize(x), q.summarize(x), strict=True):
        np.testing.assert_allclose(f, w, rtol=1e-8, atol=1e-9)
    for name, arguments in (
        ("log_prob", (x,)),
        ("entropy", ()),
        ("entropy_floor", ()),
        ("sample_from_noise", (noise,)),
        ("covariance_row", (7,)),
        ("variance", ()),
        ("standardized_residual", (x,)),
    ):
        found, wanted = getattr(p, name)(*arguments), getattr(q, name)(*arguments)
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(p.cov_factor, q._factor().dense(), atol=1e-12)
    np.testing.assert_allclose(
        p.principal_components().scales, q.principal_components().scales, rtol=1e-8
    )
    scaled = [d.scale_components([0.5, 2.0, 0.0]).entropy() for d in (p, q)]
    np.testing.assert_allclose(*scaled, rtol=1e-9)
    seen = rng.uniform(size=SIZE) < 0.4
    conditional = [d.condition(seen, x[0], 0.1, tolerance=1e-12).mean() for d in (p, q)]
    np.testing.assert_allclose(*conditional, atol=1e-8)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("shared", "channels"), [c[:2] for c in CASES if not c[2]])
def test_derivatives_are_those_with_p_built(shared, channels, fused):
    given = [x for x in parameters(shared, channels) if x is not None]
    x = np.random.default_rng(1).normal(size=(2, SIZE))
    found = []
    for which in (0, 1):
        with tf.GradientTape() as tape:
            tape.watch(given)
            p = both([*given, *[None] * (6 - len(given))])[which]
            p.fused = fused and not which
            s = p.summarize(x)
            total = tf.reduce_sum(s.log_prob + 2.0 * s.entropy) + tf.reduce_sum(s.noise_mean**2)
            total += tf.reduce_sum(p.log_prob(x[:, tf.newaxis, :1] * np.ones([2, 1, SIZE])) ** 2)
        found.append(tape.gradient(total, given))
    for f, w in zip(*found, strict=True):
        assert np.abs(w).max() > 0.1
        np.testing.assert_allclose(f, w, rtol=1e-7, atol=1e-8)


def test_wrong_parameters_are_errors():
    loc = np.zeros(SIZE, np.float32)
    for features, kernel, message in (
        (np.zeros([12, 5]), np.zeros([4, 2, 3]), "features .* end in F = 5"),
        (np.zeros([11, 5]), np.zeros([5, 2, 3]), "features x kernel describes 22 entries"),
        (np.zeros([5]), np.zeros([5, 2, 3]), "features must have shape"),
        (np.zeros([12, 5]), np.zeros([2, 3]), "kernel must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            FeatureLocalLowRankNormal(loc, 1.0, GRID, np.float32(features), np.float32(kernel))
