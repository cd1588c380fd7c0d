"""What is made of P and D, for no batch, one and two dimensions of it, against dense matrices."""

import numpy as np
import pytest

from tf_structvae.distributions import LowRankMultivariateNormal

N, R = 9, 4
BATCHES = pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
CHOSEN = [7, 0, 3]


class Stacked:
    """Distributions of scales from 1 to 1e-9, and their covariances."""

    def __init__(self, batch):
        rng = np.random.default_rng(0)
        count = int(np.prod(batch, dtype=int))
        scale = np.logspace(0, -9, max(count, 2))[:count].reshape(*batch, 1, 1)
        self.loc = rng.normal(size=(*batch, N))
        self.p = scale * rng.normal(size=(*batch, N, R))
        self.diag = (scale[..., 0] ** 2) * rng.uniform(0.1, 1.0, (*batch, N))
        self.sigma = self.p @ np.swapaxes(self.p, -1, -2) + self.diag[..., None] * np.eye(N)
        self.d = LowRankMultivariateNormal(self.loc, self.p, self.diag)
        self.rng = rng
        self.scale = scale[..., 0]

    def close(self, found, wanted, power):
        """Both over the scale to a power."""
        unit = self.scale**power
        unit = unit.reshape(*unit.shape, *[1] * (np.ndim(wanted) - unit.ndim))
        np.testing.assert_allclose(found / unit, wanted / unit, rtol=1e-7, atol=1e-8)


@BATCHES
def test_variances(batch):
    c = Stacked(batch)
    c.close(c.d.covariance_row(5), c.sigma[..., 5, :], 2)
    c.close(c.d.structured_variance(), (c.p**2).sum(-1), 2)
    c.close(c.d.pixel_influence(), (c.sigma**2).sum(-1), 4)


@BATCHES
def test_marginal(batch):
    c = Stacked(batch)
    wanted = c.sigma[..., CHOSEN, :][..., CHOSEN]
    found = c.d.marginal(CHOSEN)
    np.testing.assert_array_equal(found.mean(), c.loc[..., CHOSEN])
    c.close(found.covariance(), wanted, 2)
    isotropic = LowRankMultivariateNormal(c.loc, c.p, 0.5).marginal(CHOSEN)
    own = (c.p @ np.swapaxes(c.p, -1, -2))[..., CHOSEN, :][..., CHOSEN] + 0.5 * np.eye(3)
    np.testing.assert_allclose(isotropic.covariance(), own, atol=1e-12)


@BATCHES
def test_components(batch):
    """All of a P of full rank, however small it is beside the others of its batch."""
    c = Stacked(batch)
    directions, scales, rotation = (np.asarray(x) for x in c.d.principal_components())
    c.close(scales, np.linalg.svd(c.p)[1], 1)
    c.close((directions * scales[..., None, :]) @ np.swapaxes(rotation, -1, -2), c.p, 1)
    wanted = c.rng.uniform(-2, 2, (*batch, R))  # others for each of the batch
    u, s, vt = np.linalg.svd(c.p, full_matrices=False)
    scaled = c.d.scale_components(wanted)
    c.close(scaled.cov_factor, (u * (s * wanted)[..., None, :]) @ vt, 1)
    np.testing.assert_array_equal(scaled.mean(), c.loc)
    np.testing.assert_array_equal(scaled.cov_diag, c.diag)


@BATCHES
@pytest.mark.parametrize("samples", [(), (5,), (2, 5)])
def test_sample_from_noise(batch, samples):
    c = Stacked(batch)
    factor_noise = c.rng.normal(size=(*samples, *batch, R))
    diag_noise = c.rng.normal(size=(*samples, *batch, N))
    structured = c.loc + np.einsum("...nr,...r->...n", c.p, factor_noise)
    np.testing.assert_allclose(c.d.sample_from_noise(factor_noise), structured, atol=1e-12)
    wanted = structured + np.sqrt(c.diag) * diag_noise
    np.testing.assert_allclose(c.d.sample_from_noise(factor_noise, diag_noise), wanted, atol=1e-12)


@BATCHES
def test_standardized_residual(batch):
    c = Stacked(batch)
    x = c.loc + c.scale * c.rng.normal(size=(*batch, N))
    left = np.einsum("...n,...nm->...nm", c.diag, np.linalg.inv(c.sigma))  # D Sigma^-1
    residual = np.einsum("...nm,...m->...n", left, x - c.loc)
    deviation = np.sqrt(c.diag * np.einsum("...nn->...n", left))
    np.testing.assert_allclose(c.d.standardized_residual(x), residual / deviation, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_residual_of_an_entry_that_the_factor_explains_wholly(dtype):
    """Its leverage rounds to one: nothing is left, over a variance of a millionth of its D."""
    p = np.array([[1e6], [0.5], [0.0]], dtype)
    d = LowRankMultivariateNormal(np.zeros(3, dtype), p, np.full(3, 1e-4, dtype))
    found = d.standardized_residual(np.array([2e6, 1.0, 0.03], dtype)).numpy()
    assert np.isfinite(found).all()
    assert abs(found[0]) < 1.0
    assert found[2] == pytest.approx(3.0, rel=1e-5)


def test_an_entry_without_noise_of_its_own_cannot_be_given_exactly():
    """Its weight, (D + noise_variance)^-1, is infinite; with noise it is not."""
    diag = [0.1, 0.0, 0.1]
    d = LowRankMultivariateNormal(np.zeros(3), np.ones((3, 1)), np.array(diag))
    mask, value = [False, True, False], np.array([0.0, 2.0, 0.0])
    with pytest.raises(ValueError, match="cov_diag must be positive wherever the row of P is not"):
        d.condition(mask, value)
    given = d.condition(mask, value, noise_variance=1.0)
    np.testing.assert_allclose(given.mean(), [1.0, 1.0, 1.0], rtol=1e-12)
    np.testing.assert_allclose(given.variance(), [0.6, 0.5, 0.6], rtol=1e-12)
