import sys

import numpy as np
import pytest
import reference
import scipy.linalg
from gaussian_images import SHAPE, VARIANCES, N, components, data, dense, images_with, reading
from scipy import optimize

from tf_structvae.studies.density import closed_form, pca


def mean_log_prob(x, loc, factor, epsilon):
    """By the dense normal, from the moments of the images [n, ...]."""
    flat = x.reshape(len(x), -1) - loc
    sigma = reference.covariance(factor, epsilon)
    scatter = flat.T @ flat / len(flat)
    log_det = np.linalg.slogdet(2 * np.pi * sigma)[1]
    return -0.5 * (log_det + np.trace(np.linalg.solve(sigma, scatter)))


# The closed form.


@pytest.mark.parametrize(
    ("count", "rank"), [(400, 1), (400, 5), (400, N), (9, 3), (9, 8), (30, 29)]
)
def test_leading_components_are_those_of_the_dense_covariance(count, rank):
    """With and without as many images as entries; a block of all that there is, and of less."""
    shape = (5, 8, 3) if count == 30 else SHAPE
    rng = np.random.default_rng(count)
    x = 0.5 + rng.normal(size=(count, *shape)) * np.geomspace(1, 0.05, shape[1])[:, None]
    c = closed_form.leading_components(reading(x, 7), rank, tolerance=1e-9, max_passes=500)
    mean, values, vectors = dense(x)
    np.testing.assert_allclose(c.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(c.variances, values[:rank], rtol=1e-9)
    np.testing.assert_allclose(c.total_variance, values.sum(), rtol=1e-12)
    np.testing.assert_allclose(c.directions.T @ c.directions, np.eye(rank), atol=1e-12)
    agree = np.abs(np.sum(c.directions * vectors[:, :rank], axis=0))
    np.testing.assert_allclose(agree, 1, atol=1e-8)
    left = len(mean) - rank
    np.testing.assert_allclose(c.discarded, values[rank:].sum() / max(left, 1), atol=1e-12)
    assert (c.images, c.rank) == (count, rank)


def test_a_far_origin_costs_no_digits():
    x = np.rint(data() * 2**30) / 2**30  # so that adding 2^20 is exact
    near, far = (components(4, x + shift) for shift in (0, 2.0**20))
    np.testing.assert_allclose(far.variances, near.variances, rtol=1e-9)
    np.testing.assert_allclose(far.total_variance, near.total_variance, rtol=1e-9)


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_the_unit_of_the_images_does_not_matter(unit):
    """Neither to the components nor to what counts as no variance at all."""
    c, scaled = components(3), components(3, unit * data())
    np.testing.assert_allclose(scaled.variances, unit**2 * c.variances, rtol=1e-9)
    p, q = closed_form.optimum(c), closed_form.optimum(scaled)
    np.testing.assert_allclose(q.cov_diag, unit**2 * p.cov_diag.numpy(), rtol=1e-9)


def test_two_images_have_one_component():
    x = data()[:2]
    c = closed_form.leading_components(reading(x), 1)
    half = (x[1] - x[0]).reshape(-1) / 2
    np.testing.assert_allclose(c.variances, [half @ half], rtol=1e-12)
    np.testing.assert_allclose(c.mean, x.mean(0).reshape(-1), rtol=1e-12)


@pytest.mark.parametrize("budget", [0.1, 0.5, 0.8])
def test_shrinkage_where_some_directions_are_below_or_near_the_noise(budget):
    """Ratios to epsilon of 4, 1.5 and 0.2: from the definition, by bisection."""
    variances, epsilon = np.array([4.0, 1.5, 0.2]), 1.0

    def entropy(kappa):
        return 0.5 * np.log(np.maximum(kappa * variances, epsilon) / epsilon).sum()

    kappa = optimize.brentq(lambda k: entropy(k) - budget, 0.25, 1.0, xtol=1e-14)
    assert closed_form.shrinkage(variances, epsilon, budget) == pytest.approx(kappa, rel=1e-9)
    limit = entropy(1.0)
    with pytest.raises(ValueError, match=f"below {limit:.4g}"):
        closed_form.shrinkage(variances, epsilon, limit)


def test_images_of_less_rank_than_asked_for_have_components_of_no_variance():
    x, axes = images_with([2.0, 1.0], 50, np.random.default_rng(0), SHAPE)
    c = components(5, x)
    np.testing.assert_allclose(c.variances, [2, 1, 0, 0, 0], atol=1e-9)
    assert closed_form.principal_angles(c.directions[:, :2], axes)[0] < 1e-5
    with pytest.raises(ValueError, match="rank = 5 leaves no variance for a free epsilon"):
        closed_form.optimum(c)


def test_components_that_do_not_converge_are_said_to():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 10, 10, 1))
    seen = []
    with pytest.warns(UserWarning, match="exact to .* only, after 3 passes"):
        closed_form.leading_components(reading(x), 1, max_passes=3, report=seen.append)
    assert len(seen) == 3
    assert seen[0] > seen[-1] > 1e-5


@pytest.mark.parametrize(
    ("batches", "rank", "message"),
    [
        ([], 1, "at least 2 images, got 0"),
        ([np.ones((1, *SHAPE))], 1, "at least 2 images, got 1"),
        ([np.full((5, *SHAPE), 0.1)], 1, "the 5 images are all alike"),
        ([np.ones((2, *SHAPE), np.uint8)], 1, "floating-point images"),
        ([data()[:6]], 6, "rank = 6: must be an integer from 1 to 5"),
        ([data()], 25, "rank = 25: must be an integer from 1 to 24"),
        ([data()], 0, "rank = 0"),
        ([data()], 2.0, "rank = 2.0"),
        ([np.full((2, *SHAPE), np.nan)], 1, "image 0 .* not finite"),
    ],
)
def test_images_without_these_components_are_refused(batches, rank, message):
    with pytest.raises(ValueError, match=message):
        closed_form.leading_components(lambda: batches, rank)


@pytest.mark.parametrize("epsilon", [None, 1e-3, 0.12, 0.9, 10.0])
@pytest.mark.parametrize("rank", [1, 3, pytest.param(6, marks=pytest.mark.long)])
def test_optimum_is_what_a_general_optimiser_finds(rank, epsilon):
    """Of mean, P and epsilon together; at 0.9 and 10 some or all of the scales are zero."""
    x = data()
    p = closed_form.optimum(components(rank, x), epsilon)
    best = mean_log_prob(x, p.loc.numpy(), p.cov_factor.numpy(), p.cov_diag.numpy()[0])
    mean, values, vectors = dense(x)
    scales = np.maximum(values[:rank] - p.cov_diag.numpy()[0], 0)
    wanted = vectors[:, :rank] * scales @ vectors[:, :rank].T
    factor = p.cov_factor.numpy()
    np.testing.assert_allclose(factor @ factor.T, wanted, atol=1e-4)
    if epsilon is None:
        assert p.cov_diag.numpy()[0] == pytest.approx(values[rank:].mean(), rel=1e-9)

    size = N * rank

    def loss(v):
        return -mean_log_prob(x, mean, v[:size].reshape(N, rank), epsilon or np.exp(v[-1]))

    def slope(v):
        epsilon_now = epsilon or np.exp(v[-1])
        p_now = v[:size].reshape(N, rank)
        inverse = np.linalg.inv(reference.covariance(p_now, epsilon_now))
        scatter = vectors * values @ vectors.T
        by_sigma = 0.5 * (inverse - inverse @ scatter @ inverse)
        by_noise = 0.0 if epsilon else np.trace(by_sigma) * epsilon_now
        return np.append(2 * by_sigma @ p_now, by_noise)

    rng = np.random.default_rng(1)
    starts = [np.append(rng.normal(size=size) * 0.3, -1.0) for _ in range(3)]
    found = min(
        optimize.minimize(loss, s, jac=slope, options={"maxiter": 2000}).fun for s in starts
    )
    assert -found == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("budget", [0.5, 4.0, 9.0])
@pytest.mark.parametrize("epsilon", [1e-3, 0.25])
def test_optimum_under_a_budget_is_what_a_general_optimiser_finds(budget, epsilon):
    """Over the variances of all components, with the entropy as a constraint."""
    values = np.array(VARIANCES[:5])
    limit = 0.5 * np.log(np.maximum(values / epsilon, 1)).sum()
    c = components(5)
    if budget >= limit:
        with pytest.raises(ValueError, match=f"must be above 0 and below {limit:.4g}"):
            closed_form.optimum(c, epsilon, budget)
        return
    p = closed_form.optimum(c, epsilon, budget)
    np.testing.assert_allclose(p.entropy() - p.entropy_floor(), budget, rtol=1e-6)
    found = optimize.minimize(
        lambda u: np.sum(u * epsilon + values * np.exp(-u)),  # u = log v / epsilon
        np.full(5, 2 * budget / 5),
        jac=lambda u: epsilon - values * np.exp(-u),
        bounds=[(0, None)] * 5,
        constraints={"type": "eq", "fun": lambda u: 0.5 * u.sum() - budget},
        options={"ftol": 1e-14, "maxiter": 2000},
        method="SLSQP",
    )  # fmt: skip
    assert found.success
    scales = p.principal_components().scales.numpy()
    np.testing.assert_allclose(scales**2, epsilon * np.expm1(found.x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("epsilon", "budget", "message"),
    [
        (0.0, None, "epsilon = 0.0: must be"),
        (float("nan"), None, "epsilon = nan"),
        (-1.0, None, "epsilon = -1"),
        (None, 3.0, "entropy_budget = 3 needs a fixed epsilon"),
        (0.01, 0.0, "entropy_budget = 0 nats"),
        (0.01, -4.0, "entropy_budget = -4 nats"),
        (0.01, float("nan"), "entropy_budget = nan nats"),
        (0.01, 1e3, "entropy_budget = 1000 nats"),
    ],
)
def test_an_impossible_optimum_is_refused(epsilon, budget, message):
    with pytest.raises(ValueError, match=message):
        closed_form.optimum(components(3), epsilon, budget)


@pytest.mark.parametrize("size", [1, 4, 20])
def test_principal_angles_are_scipys(size):
    rng = np.random.default_rng(size)
    a, b = rng.normal(size=(2, 20, size))
    want = np.degrees(scipy.linalg.subspace_angles(a, b))
    np.testing.assert_allclose(closed_form.principal_angles(a, b), want, atol=1e-8)


def test_small_and_right_principal_angles_keep_their_digits():
    """arccos alone has eight digits near zero, arcsin near ninety degrees."""
    a, b = np.eye(7)[:, :3], np.eye(7)[:, :3]
    tilts = np.radians([90 - 1e-7, 30, 1e-9])
    for k, t in enumerate(tilts):
        b[[k, k + 3], k] = np.cos(t), np.sin(t)
    np.testing.assert_allclose(closed_form.principal_angles(a, b), np.degrees(tilts), rtol=1e-12)
    for bad in (np.eye(6)[:, :3], np.eye(7)[:, :2], np.ones(7)):
        with pytest.raises(ValueError, match="two matrices"):
            closed_form.principal_angles(a, bad)


# PCA.


def test_pca_of_one_chunk_is_exact_and_its_variances_are_those_of_the_likelihood():
    x = data(dtype=np.float32)
    c, exact = pca.fit(reading(x)(), 4), components(4, x)
    np.testing.assert_allclose(c.mean, exact.mean, atol=1e-6)
    np.testing.assert_allclose(c.variances, exact.variances, rtol=1e-5)
    np.testing.assert_allclose(c.total_variance, exact.total_variance, rtol=1e-5)
    assert closed_form.principal_angles(c.directions, exact.directions)[0] < 1e-2
    assert c.images == 400


def test_pca_in_chunks_is_scikit_learns_and_leaves_the_images_alone():
    from sklearn.decomposition import IncrementalPCA

    x = data(110)
    before = x.copy()
    c = pca.fit(reading(x, 12)(), 3, chunk=40)
    np.testing.assert_array_equal(x, before)
    model = IncrementalPCA(3)
    for part in np.split(x.reshape(110, -1), [40]):  # a third chunk would have 30
        model.partial_fit(part.copy())
    np.testing.assert_allclose(c.directions, model.components_.T, atol=1e-10)
    np.testing.assert_allclose(c.variances, model.explained_variance_ * 109 / 110, rtol=1e-10)
    np.testing.assert_allclose(c.total_variance, dense(x)[1].sum(), rtol=1e-10)


@pytest.mark.parametrize("chunk", [1, 40, 60, 500])
def test_chunks_are_never_smaller_than_asked_for(chunk):
    rows = list(pca._chunks(reading(data(120), 17)(), chunk))
    np.testing.assert_array_equal(np.concatenate(rows), data(120).reshape(120, N))
    assert all(chunk <= len(r) < 2 * chunk for r in rows) or len(rows) == 1


def test_pca_refuses():
    with pytest.raises(ValueError, match="rank = 6: must be at most 5, there are 5 images of 24"):
        pca.fit([data()[:5]], 6)
    with pytest.raises(ValueError, match="got 0"):
        pca.fit([], 2)
    with pytest.raises(ValueError, match="rank = 0"):
        pca.fit([data()[:5]], 0)


def test_a_missing_scikit_learn_is_answered_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(ImportError, match=r"pip install 'tf_structvae\[data\]'"):
        pca.fit([data()[:5]], 2)
