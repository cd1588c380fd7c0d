"""The distributions inside the rest of TFP, against closed forms. The programs are those of
docs/tfp.md, run as they stand there."""

import re
from pathlib import Path

import numpy as np
import pytest
import reference
import tensorflow as tf
import tensorflow_probability as tfp
from cases import DIAGONALS, KINDS, B, C, Case, N, S
from scipy import special, stats

import tf_structvae as sv

tfd, tfb = tfp.distributions, tfp.bijectors
DOC = Path(__file__).parents[2] / "docs" / "tfp.md"
INTRODUCTION, *SECTIONS = re.split(r"^## ", DOC.read_text(), flags=re.M)


def run(text, names):
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, DOC.name, "exec"), names)
    return names


@pytest.fixture(scope="module")
def introduction():
    return run(INTRODUCTION, {})


@pytest.fixture
def section(introduction):
    """Runs one section's programs after the introduction's; what they leave behind."""

    def of(title):
        (text,) = (s for s in SECTIONS if s.startswith(title + "\n"))
        return run(text, dict(introduction))

    return of


def dense(p):
    """Mean and covariance of a distribution without batch, float64, from its parameters."""
    loc, factor, diag = (np.asarray(v, np.float64) for v in (p.loc, p.cov_factor, p.cov_diag))
    return loc, reference.covariance(factor, diag)


def log_prob(p, x):
    return stats.multivariate_normal(*dense(p)).logpdf(np.asarray(x, np.float64))


# --- The programs of the page -------------------------------------------------------------------


def test_joint_distribution(section):
    d = section("Joint distributions")
    z, x, p = d["drawn"]["z"].numpy(), d["drawn"]["x"].numpy(), d["p"]
    loc, sigma = dense(p)
    wanted = [
        stats.norm.logpdf(z[k]).sum()
        + stats.multivariate_normal(loc + d["A"] @ z[k], sigma).logpdf(x[k])
        for k in range(3)
    ]
    np.testing.assert_allclose(d["both"], wanted, rtol=1e-9)


@pytest.mark.parametrize("kind", ["Sequential", "Coroutine", "SequentialAutoBatched"])
def test_other_joint_distributions(introduction, kind):
    p, n = introduction["p"], introduction["N"]
    a = np.ones((n, 2))
    prior = tfd.MultivariateNormalDiag(np.zeros(2), np.ones(2))

    def likelihood(z):
        return p.copy(loc=p.loc + tf.linalg.matvec(a, z))

    if kind == "Coroutine":

        @tfd.JointDistributionCoroutine
        def joint():
            z = yield tfd.JointDistributionCoroutine.Root(prior)
            yield likelihood(z)
    else:
        joint = getattr(tfd, f"JointDistribution{kind}")([prior, likelihood])
    z, x = (v.numpy() for v in joint.sample(3, seed=(0, 1)))
    loc, sigma = dense(p)
    wanted = [
        stats.norm.logpdf(z[k]).sum()
        + stats.multivariate_normal(loc + a @ z[k], sigma).logpdf(x[k])
        for k in range(3)
    ]
    np.testing.assert_allclose(joint.log_prob([z, x]), wanted, rtol=1e-9)
    pinned = joint.experimental_pin([None, x]) if kind != "Coroutine" else None
    if pinned is not None:
        np.testing.assert_allclose(pinned.unnormalized_log_prob([z]), wanted, rtol=1e-9)


def test_mixture(section):
    d = section("Mixtures")
    x, mixture, batch = d["value"].numpy(), d["mixture"], d["batch"]
    each = np.stack([log_prob(batch[k], x) for k in range(2)], -1) + np.log([0.3, 0.7])
    np.testing.assert_allclose(mixture.log_prob(x), special.logsumexp(each, -1), rtol=1e-9)
    np.testing.assert_allclose(d["which"], special.softmax(each, -1), rtol=1e-7)
    other = tfd.Mixture(mixture.mixture_distribution, [batch[0], batch[1]])
    np.testing.assert_allclose(other.log_prob(x), special.logsumexp(each, -1), rtol=1e-9)
    mean = np.average(batch.loc, axis=0, weights=[0.3, 0.7])
    np.testing.assert_allclose(mixture.mean(), mean)
    square = [dense(batch[k])[1] + np.outer(batch.loc[k], batch.loc[k]) for k in range(2)]
    covariance = np.average(square, axis=0, weights=[0.3, 0.7]) - np.outer(mean, mean)
    np.testing.assert_allclose(mixture.covariance(), covariance, rtol=1e-9)


def test_logit_normal(section):
    d = section("Data in [0, 1]")
    y, p = d["y"].numpy(), d["p"]
    assert y.shape == (5, d["N"])
    assert ((y > 0) & (y < 1)).all()
    wanted = log_prob(p, special.logit(y)) - np.sum(np.log(y) + np.log1p(-y), -1)
    np.testing.assert_allclose(d["density"], wanted, rtol=1e-9)
    quarter, half = np.float64(0.25), np.float64(0.5)
    chain = tfb.Chain([tfb.Reshape([2, 3]), tfb.Shift(quarter), tfb.Scale(half), tfb.Sigmoid()])(p)
    inner = chain.log_prob(0.25 + 0.5 * y.reshape(5, 2, 3))
    np.testing.assert_allclose(inner, wanted - d["N"] * np.log(0.5), rtol=1e-9)


def test_logit_normal_of_a_head():
    features = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    p = sv.layers.LowRankNormalHead(2, rank=2, epsilon=0.3, factor_initial=0.5)(features)
    q = tfb.Sigmoid()(p)
    y = q.sample(seed=(0, 1)).numpy().astype(np.float64)
    wanted = [
        log_prob(p[b], special.logit(y[b])) - np.sum(np.log(y[b]) + np.log1p(-y[b]))
        for b in range(2)
    ]
    np.testing.assert_allclose(q.log_prob(y), wanted, rtol=1e-4)


def test_batches(section):
    d = section("Batches and their shapes")
    batch, n = d["batch"], d["N"]
    x = np.random.default_rng(1).normal(size=(2, n))
    each = np.array([log_prob(batch[k], x[k]) for k in range(2)])
    np.testing.assert_allclose(d["one"].log_prob(x[0]), each[0], rtol=1e-9)
    assert d["wide"].batch_shape == (2, 1)
    np.testing.assert_allclose(d["wide"].log_prob(x[:, None])[:, 0], each, rtol=1e-9)
    np.testing.assert_allclose(d["whole"].log_prob(x), each.sum(), rtol=1e-9)
    np.testing.assert_allclose(d["column"].log_prob(x[:, None])[:, 0], each, rtol=1e-9)
    assert d["column"].sample(3, seed=(0, 0)).shape == (3, 2, 1, n)
    y = np.random.default_rng(2).normal(size=(3, n))
    np.testing.assert_allclose(d["repeated"].log_prob(y), log_prob(d["p"], y).sum(), rtol=1e-9)
    sigma = reference.covariance(batch.cov_factor[1], 0.9)
    np.testing.assert_allclose(d["noisier"].covariance()[1], sigma, rtol=1e-9)
    half = d["half"]
    assert type(half) is sv.distributions.LowRankMultivariateNormal
    np.testing.assert_allclose(half.covariance(), reference.covariance(half.cov_factor, 0.15))
    entropy = reference.entropy(np.asarray(d["factor"]), 0.3)
    np.testing.assert_allclose(d["each"], [entropy, entropy], rtol=1e-9)


def test_mcmc_finds_the_closed_form_posterior(section):
    """Within five standard errors, by the number of effective samples of each entry."""
    d = section("MCMC")
    _, sigma = dense(d["p"])
    precision = np.linalg.inv(sigma)
    covariance = np.linalg.inv(20 * precision + np.eye(d["N"]) / 4)
    mean = covariance @ precision @ d["values"].numpy().sum(0)
    draws = d["means"].numpy()
    size = tfp.mcmc.effective_sample_size(draws, cross_chain_dims=1).numpy()
    assert (size > 200).all()
    variance = np.diag(covariance)
    error = np.abs(draws.mean((0, 1)) - mean) / np.sqrt(variance / size)
    assert (error < 5).all(), error
    squares = (draws - mean) ** 2
    size = tfp.mcmc.effective_sample_size(squares, cross_chain_dims=1).numpy()
    error = np.abs(squares.mean((0, 1)) / variance - 1) / np.sqrt(2 / size)
    assert (error < 5).all(), error


def test_variational_inference_finds_a_target_of_its_own_form(section):
    d = section("Variational inference")
    loc, sigma = dense(d["p"])
    surrogate = d["surrogate"]
    assert len(surrogate.trainable_variables) == 3
    assert d["losses"].shape == (800,)
    # the target is of the surrogate's form, so nothing but the noise of the gradients is left
    assert 0 <= float(d["left"]) < 0.01
    found = surrogate.covariance().numpy()
    np.testing.assert_allclose(surrogate.mean(), loc, atol=0.15)
    assert np.linalg.norm(found - sigma) < 0.1 * np.linalg.norm(sigma)
    made = tfp.experimental.util.make_trainable(
        sv.distributions.LowRankMultivariateNormal, batch_and_event_shape=[d["N"]]
    )
    assert made.cov_factor.shape == (d["N"], 1)
    assert len(made.trainable_variables) == 3


# --- Beyond the page: both kinds of factor, all kinds of diagonal --------------------------------


@KINDS
@DIAGONALS
def test_slices_and_copies(kind, diagonal):
    case = Case(diagonal)
    p = case.make(kind)
    wanted = case.each(lambda m, f, d, b: reference.log_prob(case.x[b], m, f, d))
    np.testing.assert_allclose(p[0].log_prob(case.x[0]), wanted[0], rtol=1e-9)
    np.testing.assert_allclose(p[1:].log_prob(case.x[1:]), wanted[1:], rtol=1e-9)
    np.testing.assert_allclose(p[::-1].log_prob(case.x[::-1]), wanted[::-1], rtol=1e-9)
    np.testing.assert_allclose(p[tf.newaxis].log_prob(case.x[None]), wanted[None], rtol=1e-9)
    wide = p[..., tf.newaxis].log_prob(case.x[:, None])
    np.testing.assert_allclose(wide, wanted[:, None], rtol=1e-9)
    moved = p.copy(loc=p.loc + 1.0)
    assert type(moved) is type(p)
    np.testing.assert_allclose(moved.log_prob(case.x + 1.0), wanted, rtol=1e-9)


@KINDS
@DIAGONALS
def test_parameter_properties(kind, diagonal):
    """They tell of each parameter's own batch: what slices, copies and flattening rest on."""
    p = Case(diagonal).make(kind)
    properties = p.parameter_properties()
    assert properties.keys() == {
        k for k in p.parameters if k not in ("name", "validate_args", "allow_nan_stats")
    }
    for name, of in properties.items():
        value = p.parameters[name]
        if value is not None and name != "kernel":
            ndims = of.instance_event_ndims(p)
            assert value.shape[: value.shape.rank - ndims] in ((B,), ()), name
    assert properties["cov_diag"].default_constraining_bijector_fn().forward(-50.0) > 0


@KINDS
def test_composite_tensor(kind):
    """Through `tf.function`, `tf.while_loop`, `tf.nest` and a `tf.data` of distributions."""
    p = Case("full").make(kind)
    flat = tf.nest.flatten(p, expand_composites=True)
    assert all(tf.is_tensor(t) for t in flat)
    again = tf.nest.pack_sequence_as(p, flat, expand_composites=True)
    assert type(again) is type(p)
    np.testing.assert_array_equal(again.entropy(), p.entropy())

    @tf.function
    def shifted(q, times):
        return tf.while_loop(
            lambda k, _: k < times, lambda k, q: (k + 1, q.copy(loc=q.loc + 1.0)), (0, q)
        )[1]

    moved = shifted(p, tf.constant(3))
    assert type(moved) is type(p)
    np.testing.assert_allclose(moved.mean(), p.mean() + 3.0)
    assert type(tfp.experimental.as_composite(p)).__name__ == type(p).__name__


@KINDS
@DIAGONALS
def test_vectorized_map(kind, diagonal):
    case = Case(diagonal)
    p = case.make(kind)
    values = np.stack([case.x, -case.x, 0.5 * case.x])
    mapped = tf.vectorized_map(p.log_prob, tf.constant(values))
    each = [case.each(lambda m, f, d, b, x=x: reference.log_prob(x[b], m, f, d)) for x in values]
    np.testing.assert_allclose(mapped, each, rtol=1e-9)
    locs = tf.constant(np.stack([case.loc, case.loc + 1.0]))
    mapped = tf.vectorized_map(lambda m: p.copy(loc=m).log_prob(case.x), locs)
    np.testing.assert_allclose(mapped[0], each[0], rtol=1e-9)


@KINDS
def test_meta_distributions(kind):
    case = Case("full")
    p = case.make(kind)
    wanted = case.each(lambda m, f, d, b: reference.log_prob(case.x[b], m, f, d))
    broadcast = tfd.BatchBroadcast(p, [3, B])
    np.testing.assert_allclose(broadcast.log_prob(case.x), np.stack([wanted] * 3), rtol=1e-9)
    concat = tfd.BatchConcat([p, p], axis=0)
    twice = np.concatenate([case.x, case.x])
    np.testing.assert_allclose(concat.log_prob(twice), np.tile(wanted, 2), rtol=1e-9)
    masked = tfd.Masked(p, [True, False])
    np.testing.assert_allclose(masked.log_prob(case.x), [wanted[0], 0.0], rtol=1e-9)
    blocks = tfd.Blockwise([p, p])
    assert blocks.event_shape == (2 * N,)
    np.testing.assert_allclose(
        blocks.log_prob(np.concatenate([case.x, case.x], -1)), 2 * wanted, rtol=1e-9
    )
    q = tfd.Independent(p, 1)
    same = tfd.Independent(p.copy(loc=p.loc + 0.5), 1)
    divergence = tf.reduce_sum(p.kl_divergence(p.copy(loc=p.loc + 0.5)))
    np.testing.assert_allclose(q.kl_divergence(same), divergence, rtol=1e-9)


def test_deferred_parameters_of_a_product():
    """Features and kernel as variables and functions of variables: gradients reach them."""
    case = Case("one")
    raw = tf.Variable(np.zeros(1))
    p = sv.distributions.FeatureLowRankMultivariateNormal(
        tf.Variable(case.loc),
        tf.Variable(case.features),
        tfp.util.DeferredTensor(tf.Variable(case.kernel), lambda k: 2.0 * k),
        tfp.util.DeferredTensor(raw, tf.math.softplus),
    )
    factor = 2.0 * case.factor
    wanted = [reference.log_prob(case.x[b], case.loc[b], factor[b], np.log(2.0)) for b in range(B)]
    with tf.GradientTape() as tape:
        value = p.log_prob(case.x)
    np.testing.assert_allclose(value, wanted, rtol=1e-9)
    gradients = tape.gradient(value, p.trainable_variables)
    assert len(gradients) == 4
    assert all(g is not None for g in gradients)
    raw.assign([1.0])  # read anew
    assert np.all(np.abs(p.log_prob(case.x) - wanted) > 1e-3)


def test_nuts_over_a_latent_variable_of_a_linear_decoder():
    """z | x for x = A z + loc + noise: the closed form is again normal."""
    case = Case("one")
    p = case.make("features")[0]
    a = np.random.default_rng(3).normal(size=(N, 2))
    x = case.x[0]
    _, sigma = dense(p)
    precision = a.T @ np.linalg.inv(sigma) @ a + np.eye(2)
    covariance = np.linalg.inv(precision)
    mean = covariance @ a.T @ np.linalg.inv(sigma) @ (x - case.loc[0])

    def log_posterior(z):
        q = p.copy(loc=p.loc + tf.linalg.matvec(a, z))
        return q.log_prob(x) - 0.5 * tf.reduce_sum(tf.square(z), -1)

    @tf.function
    def chain():
        kernel = tfp.mcmc.NoUTurnSampler(log_posterior, tf.constant(0.2, tf.float64), 5)
        start = tf.zeros([4, 2], tf.float64)
        return tfp.mcmc.sample_chain(
            250, start, kernel=kernel, num_burnin_steps=50, trace_fn=None, seed=(0, 1)
        )

    draws = chain().numpy()
    size = tfp.mcmc.effective_sample_size(draws, cross_chain_dims=1).numpy()
    error = np.abs(draws.mean((0, 1)) - mean) / np.sqrt(np.diag(covariance) / size)
    assert (error < 5).all(), error
    assert S * C == N
