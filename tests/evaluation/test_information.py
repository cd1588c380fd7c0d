"""The parts of the KL divergence: against posteriors whose aggregate is known."""

import numpy as np
import pytest

from tf_structvae import priors
from tf_structvae.evaluation.information import information

rng = np.random.default_rng(0)
L = 3
MEAN = np.array([1.0, -2.0, 0.5])
ROOT = np.array([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 1.5]])
NOISE = np.array([0.3, 0.2, 0.4])


def linear(count, labels=None):
    """Posteriors of a linear Gaussian model, whose aggregate is N(MEAN, ROOT ROOT^T + NOISE^2)."""
    loc = MEAN + np.random.default_rng(1).standard_normal([count, L]) @ ROOT.T
    if labels is not None:
        loc += 3.0 * labels[:, np.newaxis]
    return priors.AggregatedPosterior(loc, np.broadcast_to(NOISE, loc.shape), labels)


def divergence(mean, covariance):
    """KL(N(mean, covariance) || N(0, I))."""
    return 0.5 * (np.trace(covariance) + mean @ mean - len(mean) - np.linalg.slogdet(covariance)[1])


def test_of_normal_posteriors_both_parts_are_those_of_the_formula():
    posterior = linear(4000)
    covariance = ROOT @ ROOT.T + np.diag(NOISE**2)
    found = information(posterior, priors.StandardNormal(L))
    told = 0.5 * np.linalg.slogdet(covariance)[1] - np.log(NOISE).sum()  # I(x; z)
    wanted = {
        "kl": divergence(MEAN, covariance) + told,
        "prior_mismatch": divergence(MEAN, covariance),
        "mutual_information": told,
    }
    for name, value in wanted.items():
        assert abs(found[name].value - value) < 4 * found[name].error, name
        assert 0 < found[name].error < 0.1 * value
    # z and the number of the image: close to I(x; z), as long as that is far below log N
    assert abs(found["mutual_information_found"].value - told) < 0.1 * told
    total = found["prior_mismatch"].value + found["mutual_information"].value
    np.testing.assert_allclose(total, found["kl"].value, rtol=1e-9)


def test_a_prior_that_fits_has_no_mismatch():
    posterior = linear(4000)
    for kind in ("normal", "mixture"):
        found = information(posterior, priors.fit(kind, posterior, components=2))
        assert found["prior_mismatch"].value < 0.02
    standard = information(posterior, priors.StandardNormal(L))
    spent = standard["mutual_information"].value
    np.testing.assert_allclose(found["mutual_information"].value, spent, rtol=0.02)


def test_the_information_found_is_at_most_the_logarithm_of_the_number_of_images():
    loc = 100.0 * np.arange(20)[:, np.newaxis] * np.ones(L)
    found = information(
        priors.AggregatedPosterior(loc, np.ones_like(loc)), priors.StandardNormal(L)
    )
    np.testing.assert_allclose(found["mutual_information_found"].value, np.log(20), rtol=1e-6)


def test_with_too_few_images_for_a_covariance_the_mismatch_is_not_found():
    found = information(linear(7), priors.StandardNormal(L))
    assert found["prior_mismatch"].value == 0.0
    assert found["mutual_information"] == found["kl"]


@pytest.mark.parametrize("by_label", [False, True])
def test_of_a_prior_by_label_all_is_given_the_label(by_label):
    labels = np.arange(4000) % 2
    posterior = linear(4000, labels)
    prior = priors.fit("normal", posterior, by_label=by_label)
    found = information(posterior, prior)
    assert found["prior_mismatch"].value < 0.02
    covariance = ROOT @ ROOT.T + np.diag(NOISE**2)
    told = 0.5 * np.linalg.slogdet(covariance)[1] - np.log(NOISE).sum()
    if by_label:
        assert abs(found["mutual_information"].value - told) < 4 * found["mutual_information"].error
    else:  # the label is information, too
        assert found["mutual_information"].value > told + 0.3
