import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import FeatureLowRankMultivariateNormal
from tf_structvae.layers import IndependentNormalHead, LowRankNormalHead, StockLowRankNormalHead
from tf_structvae.models.losses import NegativeLogLikelihood

FEATURES = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype(np.float32)


@pytest.mark.parametrize("shape", [(2, 5), (2, 6, 5), (2, 4, 3, 5), (2, 2, 2, 3, 5)])
@pytest.mark.parametrize("noise", ["fixed", "learned", "per_channel", "per_pixel"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_low_rank_head_on_features_of_any_rank(shape, noise, use_bias):
    head = LowRankNormalHead(
        2,
        rank=3,
        epsilon=0.1,
        noise=noise,
        factor_initial=0.5,
        use_bias=use_bias,
        mean_initial=0.5,
        factor_scale="kernel",
    )
    features = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    d = head(features)
    n = int(np.prod(shape[1:-1])) * 2
    # one pixel's factor is small enough to be built
    assert isinstance(d, FeatureLowRankMultivariateNormal) == (len(shape) > 2)
    assert isinstance(d, tfp.distributions.MultivariateNormalDiagPlusLowRank)
    assert (d.batch_shape, d.event_shape, d.rank) == ((2,), (n,), 3)
    h = features.reshape(2, -1, 5)
    with_one = np.concatenate([h, np.ones_like(h[..., :1])], -1) if use_bias else h
    p = np.einsum("bsf,fcr->bscr", with_one, head.factor_kernel).reshape(2, n, 3)
    np.testing.assert_allclose(d.cov_factor, p, rtol=1e-4, atol=1e-5)
    mean = (h @ head.mean_kernel.numpy() + 0.5).reshape(2, n)
    np.testing.assert_allclose(d.mean(), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(d.cov_diag, np.full(d.cov_diag.shape, 0.1), rtol=1e-6)


def test_papers_initialisation():
    d = LowRankNormalHead(
        3,
        rank=4,
        noise="fixed",
        epsilon=1e-5,
        mean_initial=0.5,
        factor_scale="kernel",
        factor_initial=1e-5,
    )(FEATURES)
    assert abs(float(tf.reduce_mean(d.mean())) - 0.5) < 0.05
    spread = np.std(d.cov_factor)
    assert 1e-5 < spread < 1e-4  # features of size one times kernels of 1e-5
    np.testing.assert_allclose(d.cov_diag, [1e-5])


def test_independent_head():
    head = IndependentNormalHead(3, epsilon=0.04, noise="learned", mean_initial=0.5)
    d = head(FEATURES)
    assert (d.batch_shape, d.event_shape) == ((2,), (36,))
    np.testing.assert_allclose(d.stddev(), np.full((2, 36), 0.2), rtol=1e-6)


def test_log_scale_multiplies_the_columns():
    head = LowRankNormalHead(
        1,
        rank=2,
        factor_scale="log_scale",
        factor_initial=1.0,
        noise="fixed",
        epsilon=1e-5,
        mean_initial=0.5,
    )
    before = head(FEATURES).cov_factor
    head.log_scale.assign(np.log([2.0, 0.5]) / 10)
    np.testing.assert_allclose(head(FEATURES).cov_factor, before * [2.0, 0.5], rtol=1e-5)


@pytest.mark.parametrize(
    ("use_bias", "factor_scale"),
    [(True, "closed_form"), (False, "closed_form"), (True, "closed_form_triangular")],
)
def test_closed_form_scale_finds_the_moments_of_the_noise(use_bias, factor_scale):
    """With P fixed up to a wrong T and mean, the update alone recovers those of the data."""
    rng = np.random.default_rng(2)
    head = LowRankNormalHead(
        3,
        rank=2,
        epsilon=0.01,
        factor_scale=factor_scale,
        factor_initial=0.5,
        use_bias=use_bias,
        noise="fixed",
        mean_initial=0.5,
    )
    features = FEATURES[:1]
    d = head(features)
    wanted = np.array([[1.5, 0.0], [0.7, 0.2]])
    truth = d.cov_factor[0].numpy() @ wanted
    target = wanted @ wanted.T
    mean = d.mean()[0].numpy() + truth @ [2.0, -1.0]  # two standard deviations off, along P
    for _ in range(200):
        x = mean + rng.normal(size=(512, 2)) @ truth.T + 0.1 * rng.normal(size=(512, 36))
        c, s = head(features).noise_posterior(x.astype(np.float32)[:, None])
        moment = tf.reduce_mean(c[:, 0, :, None] * c[:, 0, None, :], 0) + s[0]
        head.match_noise(tf.reduce_mean(c[:, 0], 0), moment, rate=0.1)
    found = head.mixing.numpy() @ head.mixing.numpy().T
    # a running mean over about 20 steps of 512 draws: standard error sqrt(2 / 1e4) of the scale
    np.testing.assert_allclose(found, target, atol=0.15)
    # a mean over about 20 steps of 512 draws along each component: standard error 0.01
    off = np.linalg.lstsq(truth, head(features).mean()[0].numpy() - mean, rcond=None)[0]
    np.testing.assert_allclose(off, [0, 0], atol=0.05)
    assert not any(v is head.mixing for v in head.trainable_variables)
    if factor_scale == "closed_form_triangular":
        assert head.mixing[0, 1] == 0


def test_stock_head_is_the_same_distribution_by_tfp():
    """At a noise of 0.1, where TFP's float32 arithmetic is good enough to compare with."""
    options = {"rank": 2, "epsilon": 0.1, "factor_initial": 0.5}
    ours, stock = LowRankNormalHead(3, **options), StockLowRankNormalHead(3, **options)
    ours.build(FEATURES.shape)
    stock.build(FEATURES.shape)
    stock.set_weights(ours.get_weights())
    p, q = ours(FEATURES), stock(FEATURES)
    x = np.random.default_rng(4).normal(size=(2, 36)).astype(np.float32)
    assert isinstance(q, tfp.distributions.MultivariateNormalDiagPlusLowRankCovariance)
    np.testing.assert_allclose(q.log_prob(x), p.log_prob(x), rtol=1e-4)
    np.testing.assert_allclose(q.entropy(), p.entropy(), rtol=1e-4)
    np.testing.assert_allclose(q.entropy_floor(), p.entropy_floor(), rtol=1e-5)
    np.testing.assert_allclose(q.mean(), p.mean())
    assert not isinstance(q, FeatureLowRankMultivariateNormal)


@pytest.mark.parametrize("head", ["low_rank", "independent"])
def test_plain_compile_and_fit(head, tmp_path):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(256, 3)).astype(np.float32)
    y = (x @ rng.normal(size=(3, 4))).astype(np.float32)
    last = (
        LowRankNormalHead(
            4,
            rank=2,
            epsilon=1.0,
            noise="learned",
            factor_initial=0.1,
            mean_initial=0.5,
            factor_scale="kernel",
        )
        if head == "low_rank"
        else IndependentNormalHead(4, epsilon=1.0, noise="learned", mean_initial=0.5)
    )
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(8), last])
    model.compile(keras.optimizers.Adam(0.05), loss=NegativeLogLikelihood())
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, epochs=5, verbose=0)
    after = model.evaluate(x, y, verbose=0)
    assert after < before - 1
    direct = -np.mean(model(x).log_prob(y))
    np.testing.assert_allclose(after, direct, rtol=1e-4)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(x).log_prob(y), model(x).log_prob(y))


@pytest.mark.parametrize(
    ("factor_scale", "options"),
    [("closed_form", {}), ("closed_form_triangular", {"run_eagerly": True})],
)
def test_closed_form_scale_under_plain_fit(factor_scale, options):
    """One step with a known gradient of zero: what `match_noise` does with the batch's moments."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(5)
    y = rng.normal(size=(9, 4)).astype(np.float32)
    w = np.r_[np.zeros(3), rng.uniform(0.5, 2.0, size=6)].astype(np.float32)
    x = rng.normal(size=(9, 3)).astype(np.float32)
    head = LowRankNormalHead(
        4,
        rank=2,
        epsilon=0.1,
        factor_scale=factor_scale,
        factor_initial=0.5,
        noise="fixed",
        mean_initial=0.5,
    )
    model = keras.Sequential([keras.Input((3,)), head])
    model.compile(keras.optimizers.SGD(0.0), NegativeLogLikelihood(mixing_rate=0.1), **options)
    twin = LowRankNormalHead.from_config(head.get_config())
    twin.build((None, 3))
    twin.set_weights(head.get_weights())
    model.evaluate(x, y, verbose=0)
    model(x).log_prob(y)
    np.testing.assert_array_equal(head.mixing, np.eye(2))  # only training moves it
    model.fit(x, y, sample_weight=w, batch_size=9, shuffle=False, verbose=0)
    c, s = (t.numpy() for t in twin(x).noise_posterior(y))
    moments = c[:, :, None] * c[:, None, :] + s
    share = w / w.sum()
    twin.match_noise(share @ c, tf.einsum("b,bij->ij", share, moments), 0.1)
    assert np.linalg.norm(head.mixing - np.eye(2)) > 0.01
    for own, other in zip(head.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5)
    loss = NegativeLogLikelihood.from_config(NegativeLogLikelihood(mixing_rate=0.0).get_config())
    before = head.mixing.numpy()
    loss(y, head(x, training=True))
    np.testing.assert_array_equal(head.mixing, before)


def test_closed_form_scale_calibrates_a_plain_model():
    """After so many steps the second moment is 33 with the scale in the kernel."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(6)
    x = rng.normal(size=(512, 3)).astype(np.float32)
    shared = rng.normal(size=(512, 1)) * np.array([2.0, -1.0, 1.0, 0.5])
    y = (shared + 0.1 * rng.normal(size=(512, 4))).astype(np.float32)
    head = LowRankNormalHead(
        4,
        rank=1,
        epsilon=0.01,
        factor_scale="closed_form",
        factor_initial=0.1,
        mean_initial=0.0,
        noise="fixed",
    )
    model = keras.Sequential([keras.Input((3,)), head])
    model.compile(keras.optimizers.Adam(0.003), NegativeLogLikelihood())
    model.fit(x, y, epochs=20, verbose=0)
    c, s = (t.numpy() for t in model(x).noise_posterior(y))
    # a mean of 512 squares has a standard error of 6%
    np.testing.assert_allclose(np.mean(c[:, 0] ** 2 + s[:, 0, 0]), 1.0, atol=0.2)


def test_sample_weights_of_the_loss():
    d = IndependentNormalHead(1, epsilon=1.0, noise="fixed", mean_initial=0.5)(
        np.ones((2, 3), np.float32)
    )
    y = np.array([[0.0], [5.0]], np.float32)
    losses = -d.log_prob(y).numpy()
    got = NegativeLogLikelihood()(y, d, sample_weight=np.array([1.0, 0.0]))
    np.testing.assert_allclose(got, losses[0] / 2, rtol=1e-6)


def test_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    head = LowRankNormalHead(
        1, rank=2, noise="fixed", epsilon=1e-5, mean_initial=0.5, factor_scale="kernel"
    )
    d = head(tf.cast(FEATURES, tf.bfloat16))
    assert d.dtype == tf.float32
    assert head.factor_kernel.dtype == "float32"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 0}, "channels must be a positive integer"),
        ({"rank": 0}, "rank must be a positive integer"),
        ({"rank": 2.5}, "rank must be a positive integer"),
        ({"epsilon": 0.0}, "epsilon must be"),
        ({"noise": "some"}, "noise must be one of"),
        ({"factor_scale": "some"}, "factor_scale must be one of"),
        ({"factor_initial": -1.0}, "factor_initial must be"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        LowRankNormalHead(**({"channels": 3} | changes))
