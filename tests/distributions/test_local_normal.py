"""`LocalLowRankNormal` against dense float64 formulas, its limits, masks and conditionals."""

import numpy as np
import pytest
import tensorflow as tf
from dense_local import dense_operator, random_parts

from tf_structvae.distributions import LocalLowRankNormal, LowRankMultivariateNormal
from tf_structvae.distributions.local.window import Window

CASES = [((6, 5, 1), 1, 3), ((5, 4, 3), 1, 2), ((6, 5, 2), 2, 4), ((9, 2), 2, 2),
         ((3, 4, 3, 1), 1, 2), ((6, 5, 1), 1, 0), ((4, 3, 2), 0, 2),
         ((16, 16, 3), 1, 5)]  # fmt: skip


class Dense:
    """The same, with matrices of N x N."""

    def __init__(self, grid, radius, rank, batch=(2,), mask=None):
        self.window = window = Window(grid, radius)
        rng = np.random.default_rng(5)
        self.loc = rng.normal(size=(*batch, window.size))
        self.parts = random_parts(window, batch)
        self.factor = rng.normal(size=(*batch, window.size, rank))
        a = dense_operator(window, *self.parts)
        self.local = np.linalg.inv(a)
        self.covariance = self.local @ self.local.swapaxes(-1, -2)
        self.covariance = self.covariance + self.factor @ self.factor.swapaxes(-1, -2)

    def ours(self, dtype=tf.float64, **options):
        neighbours, channels, scale = (tf.constant(x, dtype) for x in self.parts)
        loc = tf.constant(self.loc, dtype)
        factor = tf.constant(self.factor, dtype) if self.factor.shape[-1] else None
        scale = tf.reshape(scale, tf.shape(loc))
        return LocalLowRankNormal(
            loc, scale, self.window.grid, neighbours, channels, factor, self.window.radius,
            **options,
        )  # fmt: skip

    def log_prob(self, x):
        r = x - self.loc
        form = np.sum(r * np.linalg.solve(self.covariance, r[..., np.newaxis])[..., 0], -1)
        log_det = np.linalg.slogdet(2 * np.pi * self.covariance)[1]
        return -0.5 * (form + log_det)


@pytest.mark.parametrize(("grid", "radius", "rank"), CASES)
def test_it_is_the_dense_normal(grid, radius, rank):
    dense = Dense(grid, radius, rank)
    p = dense.ours()
    x = np.random.default_rng(1).normal(size=dense.loc.shape)
    np.testing.assert_allclose(p.log_prob(x), dense.log_prob(x), rtol=1e-9)
    entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * dense.covariance)[1]
    np.testing.assert_allclose(p.entropy(), entropy, rtol=1e-9)
    np.testing.assert_allclose(p.covariance(), dense.covariance, rtol=1e-8, atol=1e-9)
    diagonal = np.diagonal(dense.covariance, axis1=-2, axis2=-1)
    np.testing.assert_allclose(p.variance(), diagonal, rtol=1e-8)
    np.testing.assert_allclose(p.covariance_row(7), dense.covariance[..., 7], atol=1e-8)
    summary = p.summarize(x)
    np.testing.assert_allclose(summary.log_prob, dense.log_prob(x), rtol=1e-9)
    np.testing.assert_allclose(summary.entropy, entropy, rtol=1e-9)
    # E[omega_p | x] = P^T Sigma^-1 (x - loc)
    r = np.linalg.solve(dense.covariance, (x - dense.loc)[..., np.newaxis])
    mean = (dense.factor.swapaxes(-1, -2) @ r)[..., 0]
    np.testing.assert_allclose(summary.noise_mean, mean, rtol=1e-7, atol=1e-9)
    inner = dense.factor.swapaxes(-1, -2) @ np.linalg.solve(dense.covariance, dense.factor)
    np.testing.assert_allclose(summary.noise_covariance, np.eye(rank) - inner, atol=1e-8)
    noise = np.random.default_rng(2).normal(size=dense.loc.shape)
    omega = np.random.default_rng(3).normal(size=(2, rank))
    wanted = dense.loc + (dense.factor @ omega[..., np.newaxis])[..., 0]
    np.testing.assert_allclose(p.sample_from_noise(omega), wanted, atol=1e-9)
    wanted = wanted + (dense.local @ noise[..., np.newaxis])[..., 0]
    np.testing.assert_allclose(p.sample_from_noise(omega, noise), wanted, atol=1e-8)


@pytest.mark.parametrize(("grid", "radius", "rank"), CASES)
def test_float32_is_within_a_tenth_of_a_nat(grid, radius, rank):
    dense = Dense(grid, radius, rank)
    x = np.float32(np.random.default_rng(1).normal(size=dense.loc.shape))
    p = dense.ours(tf.float32)
    np.testing.assert_allclose(p.log_prob(x), dense.log_prob(x), rtol=0, atol=0.1)


def test_float32_with_little_noise_is_within_a_tenth_of_a_nat():
    """Standard deviations of 0.003, the paper's D = 1e-5, beside a factor of size one."""
    dense = Dense((12, 12, 3), 1, 10)
    neighbours, channels, scale = dense.parts
    dense.parts = (neighbours, channels, np.float32(0.00316) * np.ones_like(scale))
    dense.parts = tuple(np.float64(np.float32(x)) for x in dense.parts)
    dense.factor, dense.loc = (np.float64(np.float32(x)) for x in (dense.factor, dense.loc))
    local = np.linalg.inv(dense_operator(dense.window, *dense.parts))
    dense.covariance = local @ local.swapaxes(-1, -2) + dense.factor @ dense.factor.swapaxes(-1, -2)
    drawn = dense.ours().sample(seed=(0, 1))
    x = np.float32(drawn)
    wanted = dense.ours().log_prob(x.astype(np.float64))
    np.testing.assert_allclose(wanted, dense.log_prob(np.float64(x)), rtol=1e-6)
    np.testing.assert_allclose(dense.ours(tf.float32).log_prob(x), wanted, rtol=0, atol=0.1)


def test_derivatives_of_the_density_are_those_of_the_dense_formula():
    dense = Dense((4, 3, 2), 1, 2, batch=())
    parts = [tf.constant(v) for v in (dense.loc, dense.factor, *dense.parts)]
    x = tf.constant(np.random.default_rng(1).normal(size=24))

    def ours(loc, factor, neighbours, channels, scale):
        p = LocalLowRankNormal(
            loc, tf.reshape(scale, [24]), (4, 3, 2), neighbours, channels, factor
        )
        return p.log_prob(x) + 2.0 * p.entropy()

    def slow(loc, factor, neighbours, channels, scale):
        operator = LocalLowRankNormal(
            loc, tf.reshape(scale, [24]), (4, 3, 2), neighbours, channels
        ).local()
        a = operator.matmul(tf.eye(24, dtype=tf.float64))
        local = tf.linalg.inv(a)
        sigma = tf.matmul(local, local, transpose_b=True)
        sigma += tf.matmul(factor, factor, transpose_b=True)
        r = (x - loc)[:, tf.newaxis]
        log_det = tf.linalg.logdet(2 * np.pi * sigma)
        form = tf.reduce_sum(r * tf.linalg.solve(sigma, r))
        return -0.5 * (form + log_det) + log_det + 24

    found = []
    for function in (ours, slow):
        with tf.GradientTape() as tape:
            tape.watch(parts)
            value = function(*parts)
        found.append(tape.gradient(value, parts))
    for f, w in zip(*found, strict=True):
        assert np.abs(w).max() > 0.1
        np.testing.assert_allclose(f, w, rtol=1e-7, atol=1e-8)


def test_without_predecessors_it_is_the_low_rank_normal():
    rng = np.random.default_rng(0)
    loc, scale, factor = rng.normal(size=24), rng.uniform(0.5, 2, 24), rng.normal(size=(24, 3))
    p = LocalLowRankNormal(loc, scale, (4, 3, 2), cov_factor=factor)
    q = LowRankMultivariateNormal(loc, factor, scale**2)
    x = rng.normal(size=(5, 24))
    np.testing.assert_allclose(p.log_prob(x), q.log_prob(x), rtol=1e-10)
    np.testing.assert_allclose(p.entropy(), q.entropy(), rtol=1e-10)
    np.testing.assert_allclose(p.noise_posterior(x[0])[0], q.noise_posterior(x[0])[0], rtol=1e-8)
    noise = rng.normal(size=(3,)), rng.normal(size=(24,))
    np.testing.assert_allclose(p.sample_from_noise(*noise), q.sample_from_noise(*noise), rtol=1e-9)
    found = p.standardized_residual(x[0])
    np.testing.assert_allclose(found, q.standardized_residual(x[0]), rtol=1e-7)
    mask = rng.uniform(size=24) < 0.4
    wanted = q.condition(mask, x[0]).mean()
    np.testing.assert_allclose(p.condition(mask, x[0], tolerance=1e-12).mean(), wanted, atol=1e-8)


def test_without_a_factor_it_is_the_sparse_precision_of_dorta():
    """Sigma^-1 = A^T A, zero between entries that share no neighbourhood."""
    dense = Dense((6, 6, 1), 1, 0, batch=())
    precision = np.linalg.inv(dense.ours().covariance().numpy())
    a = dense_operator(dense.window, *dense.parts)
    np.testing.assert_allclose(precision, a.T @ a, atol=1e-8)
    rows = np.arange(36) // 6
    far = np.abs(rows[:, np.newaxis] - rows) > 2
    np.testing.assert_allclose(precision[far], 0.0, atol=1e-9)


@pytest.mark.parametrize("rank", [0, 2])
def test_samples_have_the_moments(rank):
    dense = Dense((4, 3, 1), 1, rank, batch=())
    count = 20_000
    drawn = dense.ours().sample(count, seed=(1, 2)).numpy()
    root = np.sqrt(np.diag(dense.covariance))
    assert np.all(np.abs(drawn.mean(0) - dense.loc) < 5 * root / np.sqrt(count))
    errors = np.sqrt((dense.covariance**2 + np.outer(root, root) ** 2) / count)
    assert np.all(np.abs(np.cov(drawn.T) - dense.covariance) < 5 * errors)


def test_estimated_variances_are_within_their_errors():
    dense = Dense((6, 5, 1), 1, 2, batch=())
    p = dense.ours()
    found, errors = p.estimate_variance(400, seed=3)
    wanted = p.variance()
    assert np.all(np.abs(found - wanted) < 5 * errors)
    part = wanted - np.sum(dense.factor**2, -1)
    np.testing.assert_allclose(errors, part * np.sqrt(2 / 400), rtol=0.4)


def test_traces_are_those_of_both_parts():
    dense = Dense((6, 5, 1), 1, 2)
    of_factor, of_local = dense.ours().variance_parts(4000, seed=3)
    np.testing.assert_allclose(of_factor, np.sum(dense.factor**2, (1, 2)), rtol=1e-9)
    local = dense.local @ dense.local.swapaxes(-1, -2)
    # of n draws of w^T S w the standard error is sqrt(2 tr S^2 / n)
    errors = np.sqrt(2 * np.sum(local**2, (1, 2)) / 4000)
    assert np.all(np.abs(of_local - np.trace(local, axis1=1, axis2=2)) < 5 * errors)


def test_entries_that_do_not_count_change_nothing():
    """The density is that of the others alone, whatever stands there."""
    dense = Dense((5, 4, 2), 1, 3, batch=())
    rng = np.random.default_rng(4)
    mask = np.repeat(rng.uniform(size=20) < 0.7, 2)
    p = dense.ours(mask=mask)
    a = dense_operator(dense.window, *dense.parts)
    # without the weights of what does not count
    scale = dense.parts[2].ravel()
    w = np.eye(40) - a * scale[:, np.newaxis]
    w = w * np.outer(mask, mask)
    local = np.linalg.inv((np.eye(40) - w) / scale[:, np.newaxis])[np.ix_(mask, mask)]
    factor = dense.factor[mask]
    sigma = local @ local.T + factor @ factor.T
    x = rng.normal(size=40)
    r = (x - dense.loc)[mask]
    wanted = -0.5 * (r @ np.linalg.solve(sigma, r) + np.linalg.slogdet(2 * np.pi * sigma)[1])
    np.testing.assert_allclose(p.log_prob(x), wanted, rtol=1e-9)
    np.testing.assert_allclose(p.log_prob(np.where(mask, x, 1e6)), wanted, rtol=1e-9)
    np.testing.assert_allclose(p.entropy(), 0.5 * np.linalg.slogdet(2 * np.pi * np.e * sigma)[1])
    np.testing.assert_allclose(p.covariance().numpy()[mask][:, mask], sigma, atol=1e-9)
    np.testing.assert_allclose(p.covariance().numpy()[~mask], 0.0)
    index = np.flatnonzero(mask)[3]
    np.testing.assert_allclose(p.covariance_row(index), p.covariance()[index], atol=1e-9)
    drawn = p.sample(3, seed=(0, 1)).numpy()
    np.testing.assert_array_equal(
        drawn[:, ~mask], np.broadcast_to(dense.loc[~mask], [3, sum(~mask)])
    )


@pytest.mark.parametrize(("grid", "radius", "rank"), CASES[:7])
@pytest.mark.parametrize("noise", [None, 0.3])
def test_conditional_is_that_of_the_dense_formula(grid, radius, rank, noise):
    dense = Dense(grid, radius, rank)
    p = dense.ours()
    rng = np.random.default_rng(6)
    size = dense.window.size
    mask, value = rng.uniform(size=size) < 0.4, rng.normal(size=size)
    q = p.condition(mask, value, noise, tolerance=1e-12)
    seen = dense.covariance[:, mask]
    inner = seen[:, :, mask] + (noise or 0.0) * np.eye(mask.sum())
    gain = np.linalg.solve(inner, seen).swapaxes(-1, -2)
    wanted = dense.loc + (gain @ (value - dense.loc)[:, mask, np.newaxis])[..., 0]
    np.testing.assert_allclose(q.mean(), wanted, atol=1e-8)
    if noise is None:  # the very numbers
        np.testing.assert_array_equal(q.mean().numpy()[:, mask], np.tile(value[mask], [2, 1]))
        drawn = q.sample(2, seed=1).numpy()
        np.testing.assert_array_equal(drawn[..., mask], np.tile(value[mask], [2, 2, 1]))
    assert 0 < int(q.iterations) <= 4 * size
    assert np.all(q.relative_residual <= 1e-12)
    few = p.condition(mask, value, noise, tolerance=1e-12, max_iterations=2)
    assert np.max(few.relative_residual) > 1e-12  # it says that it did not get there


def test_noise_of_an_observation_may_differ_between_rows_and_entries():
    """Zero is exact; some entries of the last row are, others are not."""
    dense = Dense((5, 4, 1), 1, 2, batch=(3,))
    rng = np.random.default_rng(6)
    mask, value = rng.uniform(size=(3, 20)) < 0.5, rng.normal(size=(3, 20))
    noise = np.zeros([3, 20])
    noise[1], noise[2, :10] = 0.3, 1e-4
    q = dense.ours().condition(mask, value, noise, tolerance=1e-12)
    for k in range(3):
        seen = dense.covariance[k][:, mask[k]]
        inner = seen[mask[k]] + np.diag(noise[k][mask[k]])
        wanted = dense.loc[k] + seen @ np.linalg.solve(inner, (value - dense.loc)[k][mask[k]])
        np.testing.assert_allclose(q.mean()[k], wanted, atol=1e-7)
    by_row = dense.ours().condition(mask, value, noise[:, :1], tolerance=1e-12)
    np.testing.assert_allclose(by_row.mean()[:2], q.mean()[:2], atol=1e-7)


@pytest.mark.parametrize("noise", [None, 0.3])
def test_conditional_samples_have_its_moments(noise):
    dense = Dense((4, 3, 1), 1, 2, batch=())
    rng = np.random.default_rng(6)
    mask, value = rng.uniform(size=12) < 0.4, rng.normal(size=12)
    q = dense.ours().condition(mask, value, noise, tolerance=1e-10)
    count = 4000
    drawn = q.sample(count, seed=(0, 1)).numpy()
    seen = dense.covariance[mask]
    inner = seen[:, mask] + (noise or 0.0) * np.eye(mask.sum())
    left = dense.covariance - seen.T @ np.linalg.solve(inner, seen)
    root = np.sqrt(np.maximum(np.diag(left), 0))
    assert np.all(np.abs(drawn.mean(0) - q.mean()) < 5 * root / np.sqrt(count) + 1e-6)
    errors = np.sqrt((left**2 + np.outer(root, root) ** 2) / count)
    assert np.all(np.abs(np.cov(drawn.T) - left) < 5 * errors + 1e-6)


def test_components_are_those_of_p():
    dense = Dense((4, 3, 1), 1, 2, batch=())
    p = dense.ours()
    scales = np.linalg.svd(dense.factor)[1]
    np.testing.assert_allclose(p.principal_components().scales, scales, rtol=1e-8)
    q = p.scale_components([0.0, 2.0])
    own = dense.ours().covariance() - dense.factor @ dense.factor.T
    kept = q.covariance() - own
    np.testing.assert_allclose(np.linalg.eigvalsh(kept)[-1], 4 * scales[1] ** 2, rtol=1e-7)
    np.testing.assert_allclose(np.linalg.eigvalsh(kept)[:-1], 0.0, atol=1e-8)


def normal(**changes):
    given = {"loc": np.zeros(24), "scale": 1.0, "grid": (4, 3, 2), **changes}
    return LocalLowRankNormal(**given)


WRONG = [
    ({"loc": np.zeros(23)}, r"loc must have shape .* N = 24 entries of the grid \(4, 3, 2\), got"),
    ({"scale": np.ones(23)}, "scale describes 23 entries"),
    ({"neighbours": np.zeros([4, 3, 2, 3, 2])}, r"neighbours must have shape .*4, 3, 2, 4, 2"),
    ({"channels": np.zeros([4, 3, 2])}, "channels must have shape"),
    ({"cov_factor": np.zeros([23, 2])}, "cov_factor describes 23 entries"),
    ({"grid": (24,)}, "grid must be 1 to 3 numbers"),
    ({"radius": -1}, "radius"),
    ({"mask": np.ones(23, bool)}, "mask describes 23 entries"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_parameters_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        normal(**changes)


def test_wrong_uses_are_errors():
    p = normal()
    for run, message in (
        (lambda: p.log_prob(np.zeros(23)), "value must have shape"),
        (lambda: p.condition(np.zeros(24), np.zeros(24)), "mask must be bool"),
        (lambda: p.condition(np.ones(23, bool), np.zeros(24)), "mask must have shape"),
        (lambda: p.condition(np.ones(24, bool), np.zeros(24), -1.0), "noise_variance must be"),
        (lambda: p.principal_components(), "cov_factor must have at least one column"),
        (lambda: p.covariance_row(24), "index must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            run()
    with pytest.raises(NotImplementedError, match="no marginal"):
        p.marginal([0])
    large = LocalLowRankNormal(np.zeros(5000), 1.0, (5000, 1))
    with pytest.raises(NotImplementedError, match="exact up to 4096 entries"):
        large.variance()
    with pytest.raises(tf.errors.InvalidArgumentError, match="scale must be positive"):
        normal(scale=tf.constant(-1.0, tf.float64), validate_args=True).entropy()
