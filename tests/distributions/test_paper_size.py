"""Float32 at 218 x 178 x 3, rank 25, D = 1e-5 I, against float64 on the same numbers."""

import numpy as np
import pytest
import reference
from paper_size import (
    CHANNELS,
    EPSILON,
    PIXELS,
    RANK,
    N,
    check,
    dense_problem,
    features_problem,
    with_singular_values,
)

from tf_structvae.distributions import (
    LowRankMultivariateNormal,
)


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
