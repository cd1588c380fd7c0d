import numpy as np
import pytest
import reference
import tensorflow as tf
import tensorflow_probability as tfp
from cases import DIAGONALS, KINDS, B, C, Case, N, R, S

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)

tfd = tfp.distributions


@KINDS
@DIAGONALS
@pytest.mark.parametrize("rank", [1, 5, N + 3])
def test_log_prob_entropy_and_moments(kind, diagonal, rank):
    case = Case(diagonal, rank)
    d = case.make(kind)
    assert isinstance(d, tfd.MultivariateNormalDiagPlusLowRank)
    expected = case.each(lambda m, p, e, b: reference.log_prob(case.x[b], m, p, e))
    np.testing.assert_allclose(d.log_prob(case.x), expected, rtol=1e-10)
    np.testing.assert_allclose(d.prob(case.x), np.exp(expected), rtol=1e-8)
    expected = case.each(lambda m, p, e, b: reference.entropy(p, e))
    np.testing.assert_allclose(d.entropy(), expected, rtol=1e-10)
    sigma = case.each(lambda m, p, e, b: reference.covariance(p, e))
    variance = np.diagonal(sigma, axis1=1, axis2=2)
    np.testing.assert_allclose(d.mean(), case.loc)
    np.testing.assert_allclose(d.mode(), case.loc)
    np.testing.assert_allclose(d.covariance(), sigma, atol=1e-12)
    np.testing.assert_allclose(d.variance(), variance, rtol=1e-10)
    np.testing.assert_allclose(d.stddev(), variance**0.5, rtol=1e-10)
    for i in (0, 7, N - 1):
        np.testing.assert_allclose(d.covariance_row(i), sigma[:, i], atol=1e-12)
    floor = case.each(lambda m, p, e, b: reference.entropy(0 * p, e))
    np.testing.assert_allclose(d.entropy_floor(), floor, rtol=1e-10)


@KINDS
@DIAGONALS
def test_gradients(kind, diagonal):
    case = Case(diagonal)
    full = diagonal == "full"
    parameters = {"loc": case.loc, "cov_diag": case.diag}
    parameters |= (
        {"cov_factor": case.factor}
        if kind == "dense"
        else {"features": case.features, "kernel": case.kernel}
    )
    parameters = {k: tf.constant(v) for k, v in parameters.items()}
    x = tf.constant(case.x)
    cls = LowRankMultivariateNormal if kind == "dense" else FeatureLowRankMultivariateNormal
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([*parameters.values(), x])
        d = cls(**parameters)
        log_prob, entropy = d.log_prob(x), d.entropy()
    wx, wp, wd = case.each(lambda m, p, e, b: reference.log_prob_gradients(case.x[b], m, p, e))
    hp, hd = case.each(lambda m, p, e, b: reference.entropy_gradients(p, e))
    np.testing.assert_allclose(tape.gradient(log_prob, x), wx, atol=1e-10)
    np.testing.assert_allclose(tape.gradient(log_prob, parameters["loc"]), -wx, atol=1e-10)
    for value, by_factor, by_diag in ((log_prob, wp, wd), (entropy, hp, hd)):
        by_diag = by_diag if full else by_diag.sum()
        got = tape.gradient(value, parameters["cov_diag"])
        np.testing.assert_allclose(np.reshape(got, by_diag.shape), by_diag, atol=1e-9)
        if kind == "dense":
            np.testing.assert_allclose(
                tape.gradient(value, parameters["cov_factor"]), by_factor, atol=1e-10
            )
        else:
            pixels = by_factor.reshape(B, S, C, R)
            by_features = np.einsum("bscr,fcr->bsf", pixels, case.kernel)
            by_kernel = np.einsum("bscr,bsf->fcr", pixels, case.features)
            np.testing.assert_allclose(
                tape.gradient(value, parameters["features"]), by_features, atol=1e-9
            )
            np.testing.assert_allclose(
                tape.gradient(value, parameters["kernel"]), by_kernel, atol=1e-9
            )


@KINDS
@DIAGONALS
def test_second_derivatives_of_log_prob(kind, diagonal):
    """The form holds the noise mean fixed in its first derivative; the second must not."""
    case = Case(diagonal)
    direction = case.rng.normal(size=N)

    def slope(t):
        with tf.GradientTape() as tape:
            tape.watch(t)
            key = "cov_factor" if kind == "dense" else "kernel"
            original = case.factor if kind == "dense" else case.kernel
            d = case.make(kind, **{key: original * (1 + t), "loc": case.loc + t * direction})
            value = tf.reduce_sum(d.log_prob(case.x) + d.entropy())
        return tape.gradient(value, t)

    ours, theirs = tf.test.compute_gradient(slope, [tf.constant(0.1, tf.float64)], delta=1e-5)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)


@KINDS
@DIAGONALS
@pytest.mark.parametrize("compiled", [False, True])
def test_second_derivatives_in_float32(kind, diagonal, compiled):
    """Where products are chosen at run time, also in a graph."""
    case = Case(diagonal)
    direction = case.rng.normal(size=N)
    key = "cov_factor" if kind == "dense" else "kernel"
    original = case.factor if kind == "dense" else case.kernel

    def curvature(dtype):
        def value(t):
            factor = tf.cast(original, dtype) * (1 + t)
            loc = tf.cast(case.loc, dtype) + t * tf.cast(direction, dtype)
            d = case.make(kind, dtype, **{key: factor, "loc": loc})
            return tf.reduce_sum(d.log_prob(tf.cast(case.x, dtype)) + d.entropy())

        def second(t):
            with tf.GradientTape() as outer:
                outer.watch(t)
                with tf.GradientTape() as inner:
                    inner.watch(t)
                    v = value(t)
                slope = inner.gradient(v, t)
            return outer.gradient(slope, t)

        return (tf.function(second) if compiled else second)(tf.constant(0.1, dtype))

    np.testing.assert_allclose(curvature(tf.float32), curvature(tf.float64), rtol=1e-3)


@KINDS
@DIAGONALS
def test_noise_posterior_and_summary(kind, diagonal):
    case = Case(diagonal)
    d = case.make(kind)
    mean, covariance = case.each(lambda m, p, e, b: reference.noise_posterior(case.x[b], m, p, e))
    got = d.noise_posterior(case.x)
    np.testing.assert_allclose(got[0], mean, atol=1e-10)
    np.testing.assert_allclose(got[1], covariance, atol=1e-10)
    summary = d.summarize(case.x)
    np.testing.assert_array_equal(summary.log_prob, d.log_prob(case.x))
    np.testing.assert_array_equal(summary.entropy, d.entropy())


@KINDS
@DIAGONALS
@pytest.mark.parametrize("noise", [None, 0.0, 0.2])
def test_condition(kind, diagonal, noise):
    case = Case(diagonal)
    value = case.rng.normal(size=(B, N))
    got = case.make(kind).condition(case.mask, value, noise)
    mean, covariance = case.each(
        lambda m, p, e, b: reference.condition(case.mask[b], value[b], m, p, e, noise or 0.0)
    )
    np.testing.assert_allclose(got.mean(), mean, atol=1e-10)
    np.testing.assert_allclose(got.covariance(), covariance, atol=1e-10)
    if not noise:
        np.testing.assert_array_equal(got.mean()[case.mask], value[case.mask])
        np.testing.assert_array_equal(got.sample(seed=1)[case.mask], value[case.mask])
        assert not np.any(got.variance()[case.mask])


@KINDS
def test_conditioning_twice_is_conditioning_once(kind):
    case = Case("full")
    d = case.make(kind)
    value = case.rng.normal(size=(B, N))
    first = case.mask & (np.arange(N) % 2 == 0)
    twice = d.condition(first, value).condition(case.mask & ~first, value)
    once = d.condition(case.mask, value)
    np.testing.assert_allclose(twice.mean(), once.mean(), atol=1e-10)
    np.testing.assert_allclose(twice.covariance(), once.covariance(), atol=1e-10)
    again = once.condition(case.mask, value)
    np.testing.assert_allclose(again.mean(), once.mean(), atol=1e-12)


@KINDS
def test_chain_rule_of_a_conditional(kind):
    """log p(x) = log p(x_o) + log p(x_rest | x_o): observed entries leave the density."""
    case = Case("scalar")
    conditional = case.make(kind).condition(case.mask, case.x)

    def observed(m, p, e, b):
        o = case.mask[b]
        return reference.log_prob(case.x[b, o], m[o], p[o], e[o]), reference.entropy(p[o], e[o])

    log_prob, entropy = case.each(observed)
    d = case.make(kind)
    np.testing.assert_allclose(
        conditional.log_prob(case.x) + log_prob, d.log_prob(case.x), rtol=1e-9
    )
    np.testing.assert_allclose(conditional.entropy() + entropy, d.entropy(), rtol=1e-9)


@KINDS
@DIAGONALS
def test_scale_of_the_base_class_squares_to_the_covariance(kind, diagonal):
    case = Case(diagonal)
    d = case.make(kind)
    scale = d.scale.to_dense().numpy()
    sigma = case.each(lambda m, p, e, b: reference.covariance(p, e))
    np.testing.assert_allclose(scale @ np.swapaxes(scale, 1, 2), sigma, atol=1e-11)
    if diagonal != "full":
        np.testing.assert_allclose(scale, np.swapaxes(scale, 1, 2), atol=1e-11)
        base = tfd.MultivariateNormalDiagPlusLowRank(
            d.loc, d.scale_diag, d.scale_perturb_factor, d.scale_perturb_diag
        )
        np.testing.assert_allclose(base.covariance(), sigma, atol=1e-11)
    x = d.distribution.sample(seed=1)
    np.testing.assert_allclose(d.bijector.forward(x), case.loc + np.einsum("bij,bj->bi", scale, x))


@KINDS
@DIAGONALS
def test_samples_have_the_moments(kind, diagonal):
    case = Case(diagonal)
    d = case.make(kind)
    n = 40_000
    x = d.sample(n, seed=(0, 7)).numpy()
    assert x.shape == (n, B, N)
    sigma = case.each(lambda m, p, e, b: reference.covariance(p, e))
    sd = np.sqrt(np.diagonal(sigma, axis1=1, axis2=2))
    assert np.all(np.abs(x.mean(0) - case.loc) < 5 * sd / n**0.5)
    centred = x - case.loc
    estimate = np.einsum("nbi,nbj->bij", centred, centred) / n
    # Var of a product of two normals: sigma_ii sigma_jj + sigma_ij^2
    error = np.sqrt((sd[:, :, None] ** 2 * sd[:, None, :] ** 2 + sigma**2) / n)
    assert np.all(np.abs(estimate - sigma) < 6 * error)
    np.testing.assert_array_equal(x, d.sample(n, seed=(0, 7)))
    assert np.any(x[0] != d.sample(n, seed=(0, 8))[0])


@KINDS
def test_sample_from_noise_is_equation_3(kind):
    case = Case("full")
    d = case.make(kind)
    wp, wd = case.rng.normal(size=(3, B, R)), case.rng.normal(size=(3, B, N))
    structured = np.einsum("bnr,kbr->kbn", case.factor, wp)
    np.testing.assert_allclose(d.sample_from_noise(wp), case.loc + structured)
    expected = case.loc + structured + case.diag**0.5 * wd
    np.testing.assert_allclose(d.sample_from_noise(wp, wd), expected)
    np.testing.assert_allclose(d.sample_from_noise(wp[0]), case.loc + structured[0])


@KINDS
def test_many_values_of_one_distribution(kind):
    case = Case("scalar")
    d = case.make(kind)
    x = case.rng.normal(size=(4, 3, B, N))
    expected = np.stack([[d.log_prob(y) for y in row] for row in x])
    np.testing.assert_allclose(d.log_prob(x), expected, rtol=1e-12)
    np.testing.assert_allclose(d[0].log_prob(x[:, :, 0]), expected[..., 0], rtol=1e-12)
    means = d.noise_posterior(x)[0]
    np.testing.assert_allclose(means[2, 1], d.noise_posterior(x[2, 1])[0], atol=1e-12)


@KINDS
def test_batches_broadcast(kind):
    case = Case("scalar")
    loc = case.rng.normal(size=(3, 1, N))
    d = case.make(kind, loc=loc)
    assert d.batch_shape == (3, B)
    x = case.rng.normal(size=(B, N))
    for i in range(3):
        single = case.make(kind, loc=np.broadcast_to(loc[i], (B, N)))
        np.testing.assert_allclose(d.log_prob(x)[i], single.log_prob(x), rtol=1e-12)
    assert d.sample(2, seed=0).shape == (2, 3, B, N)
    assert d.entropy().shape == (3, B)


@KINDS
def test_citizen_of_tfp(kind):
    case = Case("full")
    d = case.make(kind)
    assert (d.batch_shape, d.event_shape, d.dtype) == ((B,), (N,), tf.float64)
    assert d[1].batch_shape == ()
    np.testing.assert_allclose(d[1].log_prob(case.x[1]), d.log_prob(case.x)[1])
    moved = d.copy(loc=d.loc + 1.0)
    np.testing.assert_allclose(moved.log_prob(case.x + 1.0), d.log_prob(case.x))
    through = tf.function(lambda q: (q, q.log_prob(case.x)))
    back, log_prob = through(d)
    assert type(back) is type(d)
    np.testing.assert_allclose(log_prob, d.log_prob(case.x))
    np.testing.assert_allclose(back.entropy(), d.entropy())
    compiled = tf.function(lambda q: q.log_prob(case.x), jit_compile=True)
    np.testing.assert_allclose(compiled(d), d.log_prob(case.x))
    y, log_prob = d.experimental_sample_and_log_prob(3, seed=1)
    np.testing.assert_allclose(d.log_prob(y), log_prob)


@KINDS
def test_samples_are_reparameterised(kind):
    """d sum(sample) / d parameters, by eq. 3: 1 for loc, the noise for P."""
    case = Case("full")
    parameters = {"loc": tf.constant(case.loc), "cov_diag": tf.constant(case.diag)}
    with tf.GradientTape() as tape:
        tape.watch(list(parameters.values()))
        d = case.make(kind, **parameters)
        y = d.sample(seed=(0, 3))
    by_loc, by_diag = tape.gradient(y, [parameters["loc"], parameters["cov_diag"]])
    np.testing.assert_allclose(by_loc, np.ones((B, N)))
    # y = loc + P w + sqrt(d) v, so sqrt(d) v = 2 d dy/dd
    rest = y - case.loc - 2 * case.diag * by_diag
    w = np.stack([np.linalg.lstsq(case.factor[b], rest[b], rcond=None)[0] for b in range(B)])
    np.testing.assert_allclose(np.einsum("bnr,br->bn", case.factor, w), rest, atol=1e-9)
    assert d.reparameterization_type == tfd.FULLY_REPARAMETERIZED


def test_parameter_properties():
    d = Case("full").make("dense")
    properties = d.parameter_properties(dtype=tf.float64)
    assert set(properties) == {"loc", "cov_factor", "cov_diag"}
    bijector = properties["cov_diag"].default_constraining_bijector_fn()
    assert np.all(bijector.forward(tf.constant([-50.0, 0.0, 3.0], tf.float64)) > 0)
    assert isinstance(d.experimental_default_event_space_bijector(), tfp.bijectors.Identity)


def test_variables_stay_variables():
    factor = tf.Variable([[1.0], [2.0]])
    d = LowRankMultivariateNormal([0.0, 0.0], factor, 0.5)
    before = d.entropy()
    factor.assign([[0.0], [0.0]])
    assert d.entropy() < before
    assert d.trainable_variables == (factor,)
    with tf.GradientTape() as tape:
        value = d.log_prob([1.0, 1.0])
    assert tape.gradient(value, factor) is not None


@KINDS
def test_float32_with_weak_and_parallel_columns_at_a_small_noise(kind):
    """N of a 64x64 image, D = 1e-5 I: against the float64 distribution of the same numbers."""
    rng = np.random.default_rng(3)
    pixels, features = 64 * 64, 8
    h = rng.normal(size=(pixels, features)).astype(np.float32)
    kernel = rng.normal(size=(features, 3, 6)).astype(np.float32) * 0.1
    kernel[..., 1] *= 1e-4
    kernel[..., 2] = kernel[..., 3]
    kernel[..., 4] = 0
    if kind == "features":
        p, q = {"features": h, "kernel": kernel}, {}
        q = {k: v.astype(np.float64) for k, v in p.items()}
        cls = FeatureLowRankMultivariateNormal
    else:
        p = {"cov_factor": reference.dense_factor(h, kernel)}
        q = {"cov_factor": p["cov_factor"].astype(np.float64)}
        cls = LowRankMultivariateNormal
    loc = rng.uniform(size=pixels * 3).astype(np.float32)
    single = cls(loc=loc, cov_diag=np.float32(1e-5), **p)
    double = cls(loc=loc.astype(np.float64), cov_diag=np.float64(np.float32(1e-5)), **q)
    x = double.sample(seed=0).numpy().astype(np.float32)
    exact = float(double.log_prob(x.astype(np.float64)))
    assert abs(float(single.log_prob(x)) - exact) < 0.1
    assert abs(float(single.entropy()) - float(double.entropy())) < 0.1
    far = rng.uniform(size=loc.shape).astype(np.float32)
    np.testing.assert_allclose(
        single.log_prob(far), double.log_prob(far.astype(np.float64)), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], np.zeros((2, 1)), 1.0), "cov_factor describes 2 entries"),
        (([0.0, 0.0], np.zeros(2), 1.0), "cov_factor must have shape"),
        (([0.0, 0.0], np.zeros((2, 1)), [1.0] * 3), "cov_diag describes 3 entries"),
        ((0.0, np.zeros((2, 1)), 1.0), "loc must have shape"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowRankMultivariateNormal(*arguments)


def test_validate_args_refuses_a_negative_diagonal():
    with pytest.raises(tf.errors.InvalidArgumentError, match="cov_diag"):
        LowRankMultivariateNormal([0.0], [[1.0]], -1.0, validate_args=True).entropy()


NO_NOISE = [0.1, 0.0, 0.1, 0.1]  # in an entry whose row of P is not zero


def test_an_entry_of_p_without_noise_has_no_density_in_graphs():
    """In graphs; outside of them: helpers/bad_input_models.py. `condition` makes point masses."""

    def ask(factor):
        p = LowRankMultivariateNormal(tf.zeros([4]), factor, NO_NOISE)
        return p.log_prob(tf.zeros([4])), p.entropy()

    row_free = tf.constant([[1.0], [0.0], [1.0], [1.0]])
    graph = tf.function(ask)
    with pytest.raises(tf.errors.InvalidArgumentError, match="cov_diag must be positive wherever"):
        graph(tf.ones([4, 1]))
    compiled = tf.function(ask, jit_compile=True)
    assert np.isnan(compiled(tf.ones([4, 1]))).all()
    rest = LowRankMultivariateNormal(tf.zeros([3]), tf.ones([3, 1]), 0.1)
    expected = [rest.log_prob(tf.zeros([3])), rest.entropy()]
    for run in (ask, graph, compiled):
        np.testing.assert_allclose(run(row_free), expected, rtol=1e-5)


def test_in_graphs_a_vanishing_noise_is_nan_for_the_loss_to_tell():
    p = tf.function(
        lambda d: LowRankMultivariateNormal(tf.zeros([4]), tf.ones([4, 1]), d).entropy()
    )
    assert np.isnan(p(tf.constant(0.0)))
    assert np.isfinite(p(tf.constant(0.1)))


def test_an_entry_of_p_without_noise_has_moments_and_can_be_told_with_noise():
    p = LowRankMultivariateNormal(tf.zeros([4]), tf.ones([4, 1]), NO_NOISE)
    covariance = np.ones([4, 4]) + np.diag(NO_NOISE)
    np.testing.assert_allclose(p.covariance(), covariance, rtol=1e-6)
    np.testing.assert_allclose(p.variance(), np.diag(covariance), rtol=1e-6)
    given = p.condition([False, True, False, False], tf.fill([4], 2.0), noise_variance=0.5)
    gain = covariance[:, 1] / (covariance[1, 1] + 0.5)
    np.testing.assert_allclose(given.mean(), 2.0 * gain, rtol=1e-5)
    left = covariance - np.outer(gain, covariance[1])
    np.testing.assert_allclose(given.covariance(), left, rtol=1e-5, atol=1e-6)


def test_no_noise_and_no_factor_is_a_point_mass():
    p = LowRankMultivariateNormal(tf.zeros([4]), tf.zeros([4, 1]), 0.0)
    assert (float(p.log_prob(tf.zeros([4]))), float(p.entropy())) == (0.0, 0.0)
