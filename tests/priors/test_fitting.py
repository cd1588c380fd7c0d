"""Priors are found again from latents drawn from them; what cannot be fitted is an error."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae import priors
from tf_structvae.priors import AggregatedPosterior

L, N = 3, 20_000
MEANS = np.array([[4.0, 0.0, 0.0], [-4.0, 1.0, 0.0], [0.0, -4.0, 3.0]])
WEIGHTS = np.array([0.5, 0.3, 0.2])
SCALES = np.array([[1.0, 0.5, 0.7], [0.6, 1.2, 0.8], [0.9, 0.9, 1.5]])


def narrow(z, width=0.1):
    """Posteriors whose aggregate has the draws z and their width on top."""
    return AggregatedPosterior(z, np.full_like(z, width))


def test_a_full_normal_is_found_again():
    rng = np.random.default_rng(0)
    root = np.array([[1.0, 0, 0], [0.8, 0.5, 0], [-0.3, 0.2, 2.0]])
    z = 1.5 + rng.standard_normal([N, L]) @ root.T
    found = priors.fit("normal", narrow(z))
    wanted = root @ root.T + 0.01 * np.eye(L)
    variances = np.diag(wanted)
    errors = np.sqrt((np.outer(variances, variances) + wanted**2) / N)
    assert np.all(np.abs(found.covariance.numpy() - wanted) < 5 * errors)
    assert np.all(np.abs(found.mean.numpy() - 1.5) < 5 * np.sqrt(variances / N))
    assert not found.trainable_variables


def test_a_mixture_is_found_again():
    rng = np.random.default_rng(1)
    chosen = rng.choice(3, N, p=WEIGHTS)
    z = MEANS[chosen] + SCALES[chosen] * rng.standard_normal([N, L])
    found = priors.fit("mixture", narrow(z), components=3)
    order = [int(np.argmin(np.sum((found.means.numpy() - m) ** 2, 1))) for m in MEANS]
    assert sorted(order) == [0, 1, 2]
    counts = N * WEIGHTS
    weights = np.exp(found.logits.numpy()[order])
    np.testing.assert_allclose(weights, WEIGHTS, atol=5 * np.sqrt(0.25 / N))
    assert np.all(
        np.abs(found.means.numpy()[order] - MEANS) < 6 * SCALES / np.sqrt(counts)[:, None]
    )
    roots = found.roots.numpy()[order]
    variances = np.stack([np.diag(r @ r.T) for r in roots])
    relative = variances / (SCALES**2 + 0.01) - 1
    assert np.all(np.abs(relative) < 6 * np.sqrt(2 / counts)[:, None])


def test_the_seed_decides_a_mixture():
    z = np.random.default_rng(2).normal(size=(300, L))
    a, b, c = (priors.fit("mixture", narrow(z), components=4, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(a.means, b.means)
    assert not np.array_equal(a.means, c.means)


def test_a_flow_finds_what_no_normal_does():
    """A ring: the flow's held-out density is above the best normal's."""
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, 4000)
    z = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.standard_normal([4000, 2])
    posterior = narrow(z, 0.02)
    flow = priors.fit("flow", posterior, steps=400)
    normal = priors.fit("normal", posterior)
    angle = rng.uniform(0, 2 * np.pi, 4000)
    fresh = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.1 * rng.standard_normal([4000, 2])
    gain = flow.log_prob(fresh) - normal.log_prob(fresh)
    assert np.mean(gain) > 0.3 + 5 * np.std(gain) / np.sqrt(4000)


def encode(images):
    """Latents that are three of the pixels."""
    flat = tf.reshape(images, [-1, 4])[:, :L]
    return tfp.distributions.MultivariateNormalDiag(4.0 * flat, 0.1 + 0.0 * flat)


def images_of(z):
    return np.pad(z, ((0, 0), (0, 1))).reshape(-1, 2, 2, 1).astype(np.float32)


def test_pseudo_inputs_are_fitted():
    rng = np.random.default_rng(4)
    images = images_of(rng.choice([0.2, 0.8], (500, L)) + 0.02 * rng.standard_normal([500, L]))
    q = encode(images)
    posterior = AggregatedPosterior(q.loc, q.stddev())
    start = priors.VampPrior(L, (2, 2, 1), 8)
    start.attach(encode)
    start.start_at(images)
    options = {"components": 8, "encode": encode, "images": images, "steps": 300}
    fitted = priors.fit("vamp", posterior, **options)
    z = posterior.sample(2, 7).astype(np.float32)
    gain = fitted.log_prob(z) - start.log_prob(z)
    assert np.mean(gain) > 5 * np.std(gain) / np.sqrt(len(z))
    assert not fitted.trainable_variables


def test_a_prior_for_each_label():
    rng = np.random.default_rng(5)
    labels = np.arange(400) % 2
    z = np.where(labels[:, None] == 1, 3.0, -3.0) + rng.standard_normal([400, L])
    posterior = AggregatedPosterior(z, np.full_like(z, 0.1), labels)
    found = priors.fit("normal", posterior, by_label=True)
    for k in range(2):
        np.testing.assert_allclose(
            found.priors[k].mean, z[labels == k].mean(0), rtol=1e-5, atol=1e-6
        )
    alone = priors.fit("mixture", posterior, components=2, by_label=True)
    assert alone.classes == 2
    with pytest.raises(ValueError, match="got none of label 1"):
        priors.fit(
            "normal",
            posterior.subset(labels == 0).__class__(z, z**2 + 1, 2 * labels),
            by_label=True,
        )
    with pytest.raises(ValueError, match="conditional model"):
        priors.fit("normal", narrow(z), by_label=True)


def test_moments_are_those_of_draws():
    rng = np.random.default_rng(6)
    posterior = AggregatedPosterior(rng.normal(size=(50, L)), 0.3 + rng.random((50, L)))
    mean, covariance = posterior.moments()
    z = posterior.sample(2000, 0)
    np.testing.assert_allclose(mean, z.mean(0), atol=5 * z.std() / np.sqrt(len(z)))
    np.testing.assert_allclose(covariance, np.cov(z.T), atol=0.03)


def test_density_of_the_aggregate_is_the_mean_over_images():
    rng = np.random.default_rng(7)
    posterior = AggregatedPosterior(rng.normal(size=(7, L)), 0.3 + rng.random((7, L)))
    z = rng.normal(size=(4, L))
    q = tfp.distributions.MultivariateNormalDiag(posterior.loc, posterior.stddev)
    wanted = np.log(np.mean(np.exp(q.log_prob(z[:, None])), 1))
    np.testing.assert_allclose(posterior.log_prob(z, block=3), wanted, rtol=1e-10)


def test_a_degenerate_dimension_is_regularised():
    rng = np.random.default_rng(8)
    loc = rng.normal(size=(50, L)) * [1, 1, 0]
    stddev = np.full((50, L), 1e-1) * [1, 1, 1e-8]
    posterior = AggregatedPosterior(loc, stddev)
    found = priors.fit("normal", posterior)
    values = np.linalg.eigvalsh(found.covariance.numpy())
    assert 0.9e-6 < values[0] / values[-1] < 1.1e-6
    assert np.all(np.isfinite(found.log_prob(posterior.sample().astype(np.float32))))
    flow = priors.fit("flow", posterior, steps=20)
    assert np.all(np.isfinite(flow.log_prob(posterior.sample().astype(np.float32))))
    mixture = priors.fit("mixture", posterior, components=2)
    assert np.all(np.isfinite(mixture.log_prob(posterior.sample().astype(np.float32))))


def good(count=40):
    rng = np.random.default_rng(9)
    return AggregatedPosterior(rng.normal(size=(count, L)), np.ones((count, L)))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: priors.fit("gamma", good()), "kind must be one of .* got 'gamma'"),
        (lambda: priors.fit("normal", good(3)), "full covariance .* at least 4 images, got 3"),
        (lambda: priors.fit("mixture", good(), 50), "mixture of 50 .* at least 50 images, got 40"),
        (lambda: priors.fit("mixture", good(), 0), "components must be a positive integer, got 0"),
        (lambda: priors.fit("flow", good(10)), "gradient ascent .* at least 20 images, got 10"),
        (lambda: priors.fit("vamp", good()), "needs encode and images"),
        (lambda: priors.fit("flow", good(), steps=0), "steps must be a positive integer, got 0"),
        (lambda: AggregatedPosterior(np.zeros([0, 3]), np.zeros([0, 3])), "at least one image"),
        (lambda: AggregatedPosterior(np.zeros([2, 3]), np.zeros([2, 2])), "stddev must be"),
        (lambda: AggregatedPosterior(np.zeros([2, 3]), np.zeros([2, 3])), "must be positive"),
        (
            lambda: AggregatedPosterior([[0.0, 0], [np.nan, 0]], np.ones([2, 2])),
            "loc of the posteriors must be finite; that of image 1",
        ),
        (lambda: AggregatedPosterior.of(encode, []), "at least one image, got none"),
        (lambda: priors.Normal(0), "latent_dim must be a positive integer, got 0"),
        (lambda: priors.Normal(2, rate=2.0), r"rate must be a number in \[0, 1\], got 2"),
        (lambda: priors.Flow(1), "latent_dim must be an integer of at least 2, got 1"),
        (lambda: priors.Mixture.of([1.0], [[0.0]], [[[-1.0]]]), "positive definite"),
        (lambda: priors.Mixture.of([0.0], [[0.0]], [[[1.0]]]), "weights must be positive"),
        (lambda: priors.Mixture.of([1.0], [[0.0, 1]], [[[1.0]]]), "covariances must be"),
        (lambda: priors.VampPrior(2, (8, 8)), "image_shape must be"),
        (lambda: priors.VampPrior(2, (2, 2, 1)).log_prob([[0.0, 0]]), "must be the prior of"),
        (
            lambda: priors.VampPrior(2, (2, 2, 1), 3).start_at(np.zeros([2, 2, 2, 1])),
            "images must be at least 3, one for each component, got 2",
        ),
        (lambda: priors.Conditional([]), "at least one"),
        (
            lambda: priors.Conditional([priors.Normal(2), priors.Normal(3)]),
            "of one kind and size",
        ),
    ],
)
def test_wrong_input_is_one_clear_error(run, message):
    with pytest.raises(ValueError, match=message):
        run()


def test_a_mixture_that_has_not_converged_warns():
    with pytest.warns(UserWarning, match="still changed after 1 iterations"):
        priors.Mixture.fit(good(400), 5, iterations=1, tolerance=1e-12)


def test_covariances_that_few_images_fit_are_shrunk():
    """12 images for each of 10 covariances in 10 dimensions, where the truth has one."""
    from sklearn.mixture import GaussianMixture

    rng = np.random.default_rng(4)
    root = np.diag(np.linspace(0.3, 2.0, 10)) + 0.2 * rng.normal(size=(10, 10))
    z, fresh = rng.normal(size=(120, 10)) @ root, rng.normal(size=(4000, 10)) @ root
    found = priors.Mixture.fit(narrow(z, 0.1), 10)
    plain = GaussianMixture(10, reg_covar=1e-6, random_state=0).fit(narrow(z, 0.1).sample(4))
    truth = priors.Normal.fit(narrow(fresh, 0.1)).log_prob(fresh)
    lost = np.mean(truth - found.log_prob(fresh))
    assert lost < 10
    assert np.mean(truth - plain.score_samples(fresh)) > 3 * lost
