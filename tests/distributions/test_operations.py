"""Structure of the covariance, divergences and the noise's great circles."""

import numpy as np
import pytest
import reference
import tensorflow as tf
import tensorflow_probability as tfp
from cases import DIAGONALS, KINDS, B, Case, N, R

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
    from_tfp_covariance,
)
from tf_structvae.distributions.editing import slerp

tfd = tfp.distributions


def sigma_of(case):
    return case.each(lambda m, p, e, b: reference.covariance(p, e))


@KINDS
@DIAGONALS
def test_marginal(kind, diagonal):
    case = Case(diagonal)
    chosen = [7, 0, 12, 31]
    d = case.make(kind).marginal(chosen)
    assert (d.batch_shape, d.event_shape) == ((B,), (4,))
    np.testing.assert_allclose(d.mean(), case.loc[:, chosen])
    np.testing.assert_allclose(d.covariance(), sigma_of(case)[:, chosen][:, :, chosen], atol=1e-12)


@KINDS
@DIAGONALS
@pytest.mark.parametrize("rank", [1, R, N + 3])
def test_pixel_influence(kind, diagonal, rank):
    case = Case(diagonal, rank)
    expected = (sigma_of(case) ** 2).sum(-1)
    np.testing.assert_allclose(case.make(kind).pixel_influence(), expected, rtol=1e-9)


@KINDS
def test_principal_components(kind):
    case = Case("scalar")
    u, s, v = case.make(kind).principal_components()
    for b in range(B):
        np.testing.assert_allclose(s[b], np.linalg.svd(case.factor[b])[1], rtol=1e-9)
        np.testing.assert_allclose((u[b] * s[b]) @ np.transpose(v[b]), case.factor[b], atol=1e-9)
        np.testing.assert_allclose(np.transpose(u[b]) @ u[b], np.eye(R), atol=1e-9)
        np.testing.assert_allclose(np.transpose(v[b]) @ v[b], np.eye(R), atol=1e-12)


@KINDS
@DIAGONALS
@pytest.mark.parametrize("scales", [np.ones(R), np.array([0.0, -2.0, 1.0, 0.5, 3.0])])
def test_scale_components(kind, diagonal, scales):
    case = Case(diagonal)
    d = case.make(kind)
    scaled = d.scale_components(scales)
    for b in range(B):
        u, s, vt = np.linalg.svd(case.factor[b], full_matrices=False)
        expected = (u * (s * scales)) @ vt
        np.testing.assert_allclose(scaled.cov_factor[b], expected, atol=1e-9)
    assert type(scaled) is type(d)
    np.testing.assert_allclose(scaled.mean(), d.mean())


def test_components_of_a_rank_deficient_factor():
    rng = np.random.default_rng(0)
    p = rng.normal(size=(N, 3)) @ rng.normal(size=(3, R))
    p[:, 0] = 0
    d = LowRankMultivariateNormal(np.zeros(N), p, np.float64(0.1))
    u, s, v = d.principal_components()
    assert np.count_nonzero(s) == np.linalg.matrix_rank(p) == 3
    np.testing.assert_allclose((u * s) @ np.transpose(v), p, atol=1e-9)
    assert not np.any(u[:, 3:])
    scaled = d.scale_components(np.array([1.0, 1, 1, 50, 50])).cov_factor
    np.testing.assert_allclose(scaled, p, atol=1e-5)


def dense_kl(mean_p, sigma_p, mean_q, sigma_q):
    inverse = np.linalg.inv(sigma_q)
    r = mean_p - mean_q
    log_dets = np.linalg.slogdet(sigma_q)[1] - np.linalg.slogdet(sigma_p)[1]
    return 0.5 * (np.trace(inverse @ sigma_p) + r @ inverse @ r - len(r) + log_dets)


@KINDS
@pytest.mark.parametrize("diagonals", [("scalar", "one"), ("full", "scalar"), ("scalar", "full")])
def test_kl_between_low_rank_normals(kind, diagonals):
    one, two = Case(diagonals[0], seed=1), Case(diagonals[1], rank=3, seed=2)
    p, q = one.make(kind), two.make("dense")
    s, t = sigma_of(one), sigma_of(two)
    expected = [dense_kl(one.loc[b], s[b], two.loc[b], t[b]) for b in range(B)]
    np.testing.assert_allclose(p.kl_divergence(q), expected, rtol=1e-9)
    entropy = one.each(lambda m, f, e, b: reference.entropy(f, e))
    np.testing.assert_allclose(p.cross_entropy(q), expected + entropy, rtol=1e-9)
    np.testing.assert_allclose(p.kl_divergence(p), [0, 0], atol=1e-10)


@KINDS
@pytest.mark.parametrize("stock", ["tril", "diag", "low_rank_scale", "low_rank_covariance"])
def test_kl_against_stock_normals(kind, stock):
    case = Case("full")
    d = case.make(kind)
    rng = np.random.default_rng(5)
    loc = rng.normal(size=N)
    diag, u = rng.uniform(0.5, 1.5, N), rng.normal(size=(N, 2)) * 0.3
    other = {
        "tril": lambda: tfd.MultivariateNormalTriL(
            loc, np.linalg.cholesky(np.diag(diag) + u @ u.T)
        ),
        "diag": lambda: tfd.MultivariateNormalDiag(loc, diag),
        "low_rank_scale": lambda: tfd.MultivariateNormalDiagPlusLowRank(loc, diag, u),
        "low_rank_covariance": lambda: tfd.MultivariateNormalDiagPlusLowRankCovariance(
            loc, diag, u
        ),
    }[stock]()
    sigma, theirs = sigma_of(case), other.covariance().numpy()
    forward = [dense_kl(case.loc[b], sigma[b], loc, theirs) for b in range(B)]
    backward = [dense_kl(loc, theirs, case.loc[b], sigma[b]) for b in range(B)]
    np.testing.assert_allclose(d.kl_divergence(other), forward, rtol=1e-8)
    np.testing.assert_allclose(other.kl_divergence(d), backward, rtol=1e-8)


def test_from_tfp_covariance():
    rng = np.random.default_rng(6)
    theirs = tfd.MultivariateNormalDiagPlusLowRankCovariance(
        rng.normal(size=N), rng.uniform(0.5, 1, N), rng.normal(size=(N, 2))
    )
    ours = from_tfp_covariance(theirs)
    np.testing.assert_allclose(ours.covariance(), theirs.covariance(), atol=1e-12)
    x = rng.normal(size=N)
    np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-9)


def test_slerp_is_equation_7():
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(2, 4, R))
    t = np.array([0.0, 0.3, 0.5, 1.0])
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    w = np.arccos(cosine)[:, None]
    expected = (np.sin((1 - t[:, None]) * w) * a + np.sin(t[:, None] * w) * b) / np.sin(w)
    np.testing.assert_allclose(slerp(a, b, t), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tilt", [0.0, 1e-7, 1e-5, 1e-3])
def test_slerp_survives_degenerate_ends(dtype, tilt):
    rng = np.random.default_rng(8)
    a = rng.normal(size=R)
    turned = a + tilt * rng.normal(size=R)
    for b in (turned, -turned, 3 * a, 0 * a):
        for t in (0.0, 0.25, 0.5, 1.0):
            y = slerp(a.astype(dtype), b.astype(dtype), t).numpy()
            assert np.isfinite(y).all()
            wanted = a if t == 0 else b
            if t in (0.0, 1.0):
                np.testing.assert_allclose(y, wanted, atol=2e-3 if tilt else 1e-5)
        # between nearly opposite ends of unlike lengths eq. 7 itself leaves the shell
        if not np.any(b) or (tilt == 1e-3 and b is not turned):
            continue
        middle = np.linalg.norm(slerp(a.astype(dtype), b.astype(dtype), 0.5))
        lengths = sorted([np.linalg.norm(a), np.linalg.norm(b)])
        assert lengths[0] * 0.99 < middle < lengths[1] * 1.01
    zero = np.zeros(R, dtype)
    np.testing.assert_array_equal(slerp(zero, zero, 0.5), zero)


@KINDS
@pytest.mark.parametrize("jit", [False, True])
def test_compiled_float32_with_its_choices_at_run_time(kind, jit):
    """Strong, weak and parallel columns at a small D: both exact sums and refinement are taken."""
    rng = np.random.default_rng(9)
    case = Case("scalar")
    case.kernel[..., 1] = case.kernel[..., 0]
    case.kernel[..., 2] *= 1e-3
    case.factor = np.stack([reference.dense_factor(h, case.kernel) for h in case.features])
    case.diag = np.asarray(1e-5)
    case.full_diag = np.full((B, N), np.float64(np.float32(1e-5)))
    d = case.make(kind, np.float32)
    noise = rng.normal(size=(B, R)), rng.normal(size=(B, N))
    x = d.sample_from_noise(*noise).numpy()

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            log_prob = d.log_prob(x)
        return log_prob, tape.gradient(log_prob, x)

    log_prob, by_x = tf.function(gradient, jit_compile=jit)(tf.constant(x))
    double = LowRankMultivariateNormal(
        *(np.asarray(v, np.float64) for v in (d.loc, d.cov_factor, d.cov_diag))
    )
    np.testing.assert_allclose(log_prob, double.log_prob(x.astype(np.float64)), atol=0.1)
    with tf.GradientTape() as tape:
        wide = tf.constant(x, tf.float64)
        tape.watch(wide)
        value = double.log_prob(wide)
    exact = tape.gradient(value, wide).numpy()
    assert np.linalg.norm(by_x - exact) < 1e-3 * np.linalg.norm(exact)


@KINDS
def test_operations_in_graphs_and_with_unknown_shapes(kind):
    case = Case("scalar")

    def everything(d, x, mask):
        q = d.condition(mask, x)
        return [
            d.log_prob(x),
            d.entropy(),
            d.pixel_influence(),
            d.scale_components(tf.ones([R], tf.float64)).variance(),
            q.mean(),
            q.variance(),
            d.kl_divergence(d),
        ]

    d = case.make(kind)
    eager = everything(d, case.x, case.mask)
    for jit in (False, True):
        compiled = tf.function(everything, jit_compile=jit)
        for a, b in zip(compiled(d, case.x, case.mask), eager, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec([None, None, None], tf.float64),
            tf.TensorSpec([None, None], tf.float64),
            tf.TensorSpec([None, None], tf.bool),
        ]
    )
    def dynamic(loc, factor, x, mask):
        d = LowRankMultivariateNormal(loc, factor, tf.constant(0.3, tf.float64))
        return [*everything(d, x, mask)[:2], d.sample(seed=(0, 1))]

    out = dynamic(case.loc, case.factor, case.x, case.mask)
    np.testing.assert_allclose(out[0], eager[0])
    np.testing.assert_allclose(out[1], eager[1])
    assert out[2].shape == (B, N)


@KINDS
@pytest.mark.parametrize("epsilon", [1e-5, 3e-3])
def test_condition_on_alike_pixels_is_as_exact_as_float32(kind, epsilon):
    """Given a background the rest hangs on directions of which its pixels tell little.

    Sums in float32, accurate enough for the density, were 4e-4 off here.
    """
    rng = np.random.default_rng(0)
    pixels, observed, channels = 512, 200, 3
    features = rng.normal(size=(pixels, 6))
    features[:observed] = features[0] + 0.01 * features[:observed]
    parameters = {
        "loc": rng.uniform(size=pixels * channels),
        "features": features,
        "kernel": 0.3 * rng.normal(size=(6, channels, 6)),
        "cov_diag": np.asarray(epsilon),
    }
    # what float32 holds is the truth
    p = {k: v.astype(np.float32).astype(np.float64) for k, v in parameters.items()}
    factor = reference.dense_factor(p["features"], p["kernel"])
    if kind == "dense":
        factor = factor.astype(np.float32).astype(np.float64)
        d = LowRankMultivariateNormal(
            *(tf.cast(x, tf.float32) for x in (p["loc"], factor, epsilon))
        )
    else:
        d = FeatureLowRankMultivariateNormal(**{k: tf.cast(v, tf.float32) for k, v in p.items()})
    value = (p["loc"] + factor @ rng.normal(size=6)).astype(np.float32)
    mask = np.arange(len(value)) < observed * channels
    diag = np.full(len(value), p["cov_diag"])
    mean, covariance = reference.condition(mask, value.astype(float), p["loc"], factor, diag)
    given = d.condition(mask, value)
    # a few roundings of 6e-8 of means of order 4; the reference inverts a matrix of condition 1e7
    np.testing.assert_allclose(given.mean(), mean, rtol=0, atol=3e-6)
    np.testing.assert_allclose(
        given.variance(), np.diag(covariance), rtol=0, atol=1e-5 * np.diag(covariance).max()
    )
