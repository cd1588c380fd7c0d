"""Label maps with jointly normal logits, against sums over draws written out in float64."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax, softmax

import tf_structvae as sv

B, S, K, R = 2, 5, 3, 2


def label_map(scale=1.0, draws=20):
    rng = np.random.default_rng(0)
    logits = sv.distributions.LowRankMultivariateNormal(
        rng.normal(size=[B, S * K]).astype(np.float32),
        (scale * rng.normal(size=[B, S * K, R])).astype(np.float32),
        0.3,
    )
    return sv.distributions.LogitNormalLabelMap(logits, K, draws)


def labels(count=4, seed=1):
    return np.random.default_rng(seed).integers(0, K, [B, S, count])


def log_mean_exp(eta, maps):
    """Eq. 5 of Monteiro et al. (2020), one image and annotator at a time; negative labels out."""
    found = np.zeros(maps.shape[::2])
    for b in range(B):
        for a in range(maps.shape[-1]):
            terms = []
            for draw in eta[:, b].astype(np.float64):
                pixels = [s for s in range(S) if maps[b, s, a] >= 0]
                terms.append(sum(log_softmax(draw[s])[maps[b, s, a]] for s in pixels))
            largest = max(terms)
            found[b, a] = largest + np.log(np.mean(np.exp(np.array(terms) - largest)))
    return found


def test_the_likelihood_is_a_log_mean_exp_over_draws():
    p, y = label_map(), labels()
    eta = p.draw_logits(7, seed=(0, 1)).numpy()
    assert eta.shape == (7, B, S, K)
    found = p.log_likelihoods(tf.constant(y), draws=7, seed=(0, 1))
    np.testing.assert_allclose(found, log_mean_exp(eta, y), rtol=1e-5)
    np.testing.assert_allclose(p.log_prob(y[..., 0], seed=(0, 1), draws=7), found[:, 0], rtol=1e-6)


def test_draws_come_in_pairs_about_the_mean():
    p = label_map()
    eta = p.draw_logits(6, seed=(3, 4)).numpy().reshape(6, B, -1)
    np.testing.assert_allclose(
        eta[:3] + eta[3:], 2 * p.logits.mean().numpy() + 0 * eta[:3], atol=1e-5
    )
    odd = p.draw_logits(5, seed=(3, 4)).numpy().reshape(5, B, -1)
    np.testing.assert_array_equal(odd[:3], eta[:3])


def test_pixels_that_do_not_count_are_left_out():
    y = labels()
    y[:, 1, 0], y[:, 2, 1] = -1, 2
    logits = label_map().logits
    p = sv.distributions.LogitNormalLabelMap(logits, K, ignored=2)
    eta = p.draw_logits(9, seed=(0, 1)).numpy()
    masked = np.where(y == 2, -1, y)
    found = p.log_likelihoods(y, 9, (0, 1))
    np.testing.assert_allclose(found, log_mean_exp(eta, masked), rtol=1e-5)
    nothing = np.full_like(y, -1)
    np.testing.assert_allclose(p.log_likelihoods(nothing, 9, (0, 1)), 0.0, atol=1e-5)


def test_gradients_are_those_of_the_sum_written_out():
    rng = np.random.default_rng(0)
    loc = tf.Variable(rng.normal(size=[B, S * K]))
    factor = tf.Variable(rng.normal(size=[B, S * K, R]))
    diag = tf.Variable(rng.uniform(0.2, 0.5, [B, S * K]))
    y = labels(1)

    def fast():
        logits = sv.distributions.LowRankMultivariateNormal(loc, factor, diag)
        p = sv.distributions.LogitNormalLabelMap(logits, K)
        return tf.reduce_sum(p.log_likelihoods(y, 6, (0, 1)))

    def slow():
        logits = sv.distributions.LowRankMultivariateNormal(loc, factor, diag)
        half = logits.sample(3, seed=(0, 1))
        total = 0.0
        for b in range(B):
            terms = []
            for draw in [*tf.unstack(half[:, b]), *tf.unstack(2 * loc[b] - half[:, b])]:
                eta = tf.reshape(draw, [S, K])
                of_pixels = [eta[s, y[b, s, 0]] - tf.reduce_logsumexp(eta[s]) for s in range(S)]
                terms.append(tf.add_n(of_pixels))
            total += tf.reduce_logsumexp(tf.stack(terms)) - np.log(6.0)
        return total

    parameters = [loc, factor, diag]
    for f in (fast, slow):
        with tf.GradientTape() as tape:
            value = f()
        if f is fast:
            expected, gradients = value, tape.gradient(value, parameters)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for a, b in zip(gradients, tape.gradient(value, parameters), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)


def test_the_estimate_rises_to_the_integral():
    """One pixel of two classes: the integral by quadrature."""
    logits = sv.distributions.LowRankMultivariateNormal(
        np.array([[0.4, -0.2]]), np.array([[[1.5], [-0.5]]]), 0.2
    )
    p = sv.distributions.LogitNormalLabelMap(logits, 2)
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    difference, spread = 0.6, np.sqrt(2.0**2 + 2 * 0.2)
    exact = np.log(np.sum(weights / weights.sum() / (1 + np.exp(-difference - spread * points))))
    label = np.zeros([1, 1], np.int32)
    few = np.mean([p.log_prob(label, seed=(k, 0), draws=2) for k in range(400)])
    many = np.asarray(p.log_prob(label, seed=(0, 0), draws=20000))[0]
    assert few < exact
    assert abs(many - exact) < 4 * 0.6 / np.sqrt(20000)
    # sampled labels have that probability
    sampled = p.sample(20000, seed=(1, 2)).numpy()
    share = np.exp(exact)
    assert abs(np.mean(sampled == 0) - share) < 4 * np.sqrt(share * (1 - share) / 20000)
    # the closed form leaves out how the logits of a pixel go together
    assert abs(p.probabilities().numpy()[0, 0, 0] - share) < 0.05


def test_samples_probabilities_and_modes():
    p = label_map(scale=2.0)
    maps = p.sample_maps(50, seed=(0, 1)).numpy()
    assert maps.shape == (50, B, S)
    eta = p.logits.sample(50, seed=(0, 1)).numpy().reshape(50, B, S, K)
    np.testing.assert_array_equal(maps, eta.argmax(-1))
    probabilities = p.probabilities().numpy()
    variance = p.logits.variance().numpy().reshape(B, S, K)
    mean = p.logits.mean().numpy().reshape(B, S, K)
    wanted = softmax(mean / np.sqrt(1 + np.pi / 8 * variance), -1)
    np.testing.assert_allclose(probabilities, wanted, rtol=1e-4)
    np.testing.assert_array_equal(p.mode(), mean.argmax(-1))
    np.testing.assert_allclose(
        p.entropy_of_pixels(), -np.sum(wanted * np.log(wanted), -1), rtol=1e-4
    )
    assert (p.batch_shape, p.event_shape) == ((B,), (S,))
    np.testing.assert_array_equal(p.event_shape_tensor(), [S])


def test_wrong_input():
    logits = label_map().logits
    for classes in (1, 4):
        with pytest.raises(ValueError, match=f"divide the logits' 15 entries, got {classes}"):
            sv.distributions.LogitNormalLabelMap(logits, classes)
    with pytest.raises(ValueError, match="draws must be a positive integer, got 0"):
        sv.distributions.LogitNormalLabelMap(logits, 3, draws=0)
    with pytest.raises(ValueError, match=r"labels must be \[B, S, A\], got \(2, 5\)"):
        label_map().log_likelihoods(labels()[..., 0])
    for p, wrong in ((label_map(), 3), (label_map(), 255)):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="labels must be below classes = 3"
        ):
            p.log_likelihoods(np.full([B, S, 1], wrong))
    with pytest.raises(ValueError, match=r"labels must be \[B, S\], got \(2, 5, 4\)"):
        label_map().log_prob(labels())
