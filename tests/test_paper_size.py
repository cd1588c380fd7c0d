"""Float32 at 218 x 178 x 3, rank 25, D = 1e-5 I, against float64 on the same numbers."""

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)

PIXELS, CHANNELS, RANK, EPSILON = 218 * 178, 3, 25, np.float32(1e-5)
N = PIXELS * CHANNELS


def with_singular_values(squares, rng, n=N):
    q = np.linalg.qr(rng.normal(size=(n, len(squares))))[0]
    v = np.linalg.qr(rng.normal(size=(len(squares), len(squares))))[0]
    return (q * np.sqrt(squares)) @ v


def parallel(rng):
    p = rng.normal(size=(N, RANK)) * 0.05
    p[:, 3] = p[:, 4] = p[:, 5]
    p[:, 6:9] = 0
    return p


FACTORS = {
    "initial": lambda rng: rng.normal(size=(N, RANK)) * 1e-5,
    "strong": lambda rng: with_singular_values(np.geomspace(1000, 1, RANK), rng),
    "strong_to_weak": lambda rng: with_singular_values(np.geomspace(1000, 1e-6, RANK), rng),
    "entries_of_order_one": lambda rng: rng.normal(size=(N, RANK)),
    "parallel_and_zero": parallel,
}


def relative(got, exact):
    return np.linalg.norm(np.asarray(got, np.float64) - exact) / np.linalg.norm(exact)


def errors(make, parameters, factor, loc, rng, gradient_of):
    """log_prob in and off the model, entropy, and gradients of one distribution.

    Yields:
      What was measured, its error against float64 and the tolerance of that error.
    """
    exact = reference.Capacitance(loc, factor, EPSILON)
    noise = rng.normal(size=factor.shape[1]), rng.normal(size=len(loc))
    inside = (loc + factor @ noise[0] + np.sqrt(EPSILON) * noise[1]).astype(np.float32)
    outside = rng.uniform(size=len(loc)).astype(np.float32)
    off_tolerance = 1e-6 * abs(exact.log_prob(outside))
    for where, x, tolerance in (("in", inside, 0.1), ("off", outside, off_tolerance)):
        tensors = [tf.constant(p) for p in parameters]
        tx = tf.constant(x)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([tx, *tensors])
            d = make(*tensors)
            log_prob, entropy = d.log_prob(tx), d.entropy()
        yield f"log_prob {where}", abs(float(log_prob) - exact.log_prob(x)), tolerance
        yield "entropy", abs(float(entropy) - exact.entropy), 0.1
        by_x, by_p, entropy_by_p = exact.gradients(x)
        yield f"log_prob {where} by x", relative(tape.gradient(log_prob, tx), by_x), 1e-3
        for name, value, expected in (
            (f"log_prob {where}", log_prob, by_p),
            ("entropy", entropy, entropy_by_p),
        ):
            gradients = tape.gradient(value, tensors)
            for i, (got, wanted) in enumerate(zip(gradients, gradient_of(expected), strict=True)):
                yield f"{name} by parameter {i}", relative(got, wanted), 1e-3


def check(*problem):
    for name, error, tolerance in errors(*problem):
        assert error < tolerance, name


def dense_problem(factor, loc, rng):
    """Arguments of `errors` for P [N, R] and loc [N], float32."""
    return (
        lambda p: LowRankMultivariateNormal(loc, p, EPSILON),
        [factor],
        factor.astype(np.float64),
        loc.astype(np.float64),
        rng,
        lambda g: [g],
    )


def features_problem(features, kernel, loc, rng):
    """Arguments of `errors` for features [S, F], kernel [F, C, R] and loc [S * C], float32."""
    h, w = features.astype(np.float64), kernel.astype(np.float64)

    def by_product(g):
        g = g.reshape(len(h), *w.shape[1:])
        return [
            np.einsum("scr,fcr->sf", g, w, optimize=True),
            np.einsum("sf,scr->fcr", h, g, optimize=True),
        ]

    return (
        lambda f, k: FeatureLowRankMultivariateNormal(loc, f, k, EPSILON),
        [features, kernel],
        reference.dense_factor(h, w),
        loc.astype(np.float64),
        rng,
        by_product,
    )


@pytest.mark.parametrize("name", FACTORS)
def test_dense_factor(name):
    rng = np.random.default_rng(0)
    factor = FACTORS[name](rng).astype(np.float32)
    loc = rng.uniform(size=N).astype(np.float32)
    check(*dense_problem(factor, loc, rng))


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 0.15])
def test_factor_of_features(scale):
    """64 ReLU features, as a network has them; kernels from initialisation to order one."""
    rng = np.random.default_rng(1)
    features = np.maximum(rng.normal(size=(PIXELS, 64)), 0).astype(np.float32)
    kernel = (scale * rng.normal(size=(64, CHANNELS, RANK))).astype(np.float32)
    kernel[..., 1] = kernel[..., 0]
    kernel[..., 2] = 0
    kernel[..., 3] *= 1e-3
    loc = rng.uniform(size=N).astype(np.float32)
    check(*features_problem(features, kernel, loc, rng))


def test_items_of_a_batch_that_differ_wildly():
    rng = np.random.default_rng(2)
    scales = [1e-6, 1e-3, 1.0, 30.0]
    n = 5000
    factor = np.stack([s * rng.normal(size=(n, 4)) for s in scales]).astype(np.float32)
    d = LowRankMultivariateNormal(np.zeros([4, n], np.float32), factor, EPSILON)
    x = d.sample(seed=(0, 1)).numpy()
    log_prob, entropy = d.log_prob(x).numpy(), d.entropy().numpy()
    for i in range(4):
        exact = reference.Capacitance(np.zeros(n), factor[i], EPSILON)
        assert abs(log_prob[i] - exact.log_prob(x[i])) < 0.1
        assert abs(entropy[i] - exact.entropy) < 0.1


def test_more_components_than_entries():
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(20, 50)).astype(np.float32)
    d = LowRankMultivariateNormal(np.zeros(20, np.float32), factor, EPSILON)
    x = (factor @ rng.normal(size=50)).astype(np.float32)
    np.testing.assert_allclose(
        d.log_prob(x), reference.log_prob(x, np.zeros(20), factor, EPSILON), atol=0.1
    )
    np.testing.assert_allclose(d.entropy(), reference.entropy(factor, EPSILON), atol=0.01)


def test_the_float64_reference_equals_the_dense_one():
    rng = np.random.default_rng(4)
    loc, factor, x = rng.normal(size=30), rng.normal(size=(30, 4)), rng.normal(size=30)
    exact = reference.Capacitance(loc, factor, 0.1)
    np.testing.assert_allclose(exact.log_prob(x), reference.log_prob(x, loc, factor, 0.1))
    np.testing.assert_allclose(exact.entropy, reference.entropy(factor, 0.1))
    by_x, by_p, _ = reference.log_prob_gradients(x, loc, factor, 0.1)
    got = exact.gradients(x)
    np.testing.assert_allclose(got[0], by_x)
    np.testing.assert_allclose(got[1], by_p)
    np.testing.assert_allclose(got[2], reference.entropy_gradients(factor, 0.1)[0])
