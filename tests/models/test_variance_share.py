"""The share of the data's variance in P: its value, its constraint, and what is kept of it."""

import keras
import numpy as np
import pytest
import small_vae
import tensorflow as tf
from small_vae import SHAPE, images

import tf_structvae as sv
from tf_structvae import config as config_lib
from tf_structvae.training.from_config import build_constraints


def constraint(target, rate=5.0, damping=50.0):
    return sv.Constraint("structured_share", target, "equality", rate, damping)


def total_variance(x):
    return np.trace(np.cov(np.reshape(x, [len(x), -1]).T))


@pytest.mark.parametrize("head", ["feature", "dense", "local"])
def test_structured_variance_is_the_diagonal_of_the_factors_product(head):
    rng = np.random.default_rng(0)
    features = rng.normal(size=[3, 4, 2, 5]).astype(np.float32)
    if head == "dense":
        p = sv.layers.LowRankNormalHead(6, 2, factor_initial=0.3)(features[:, 0, 0])
    elif head == "local":
        p = sv.layers.LocalLowRankHead(2, 3, factor_initial=0.3)(features)
    else:
        p = sv.layers.LowRankNormalHead(2, 3, factor_initial=0.3)(features)
    factor = p.cov_factor.numpy().astype(np.float64)
    wanted = np.diagonal(factor @ np.swapaxes(factor, -1, -2), axis1=-2, axis2=-1)
    np.testing.assert_allclose(p.structured_variance(), wanted, rtol=1e-5)


def test_the_total_variance_is_that_of_the_first_batch():
    model = small_vae.make(constraints=[constraint(0.3)])
    last = model.encoder.layers[-1]
    kernel, bias = last.get_weights()
    kernel[:, small_vae.LATENT :], bias[small_vae.LATENT :] = 0.0, -20.0  # z is the mean of q
    last.set_weights([kernel, bias])
    model.compile(keras.optimizers.SGD(0.0))
    x = images()
    batches = tf.data.Dataset.from_tensor_slices(x).batch(12)
    model.fit(batches, verbose=0)
    np.testing.assert_allclose(model.variance_share.total, total_variance(x[:12]), rtol=1e-4)
    # the log is the mean share, at what the distributions say
    found = model.evaluate(x, verbose=0, return_dict=True)
    p = model(x)
    share = p.structured_variance().numpy().sum(-1) / total_variance(x[:12])
    np.testing.assert_allclose(found["structured_share"], share.mean(), rtol=1e-2)


@pytest.mark.parametrize("target", [pytest.param(0.15, marks=pytest.mark.long), 0.8])
def test_the_share_meets_its_target(target):
    kl = sv.Constraint("kl", 2.0, rate=0.2, damping=5.0)
    head = sv.layers.LowRankNormalHead(
        2, 3, epsilon=0.05, noise="learned", factor_initial=0.1, mean_initial=0.5, standardize=False
    )
    model = small_vae.make(head, constraints=[kl, constraint(target, 20.0, 500.0)])
    model.compile(keras.optimizers.Adam(5e-3))
    logs = model.fit(images(), batch_size=20, epochs=100, verbose=0).history
    assert abs(np.mean(logs["structured_share"][-10:]) - target) < 0.1 * target
    # it binds on the way there: the likelihood alone wants something else
    assert np.abs(logs["structured_share_multiplier"]).max() > 1.0


def test_parts_of_a_batch_give_its_step():
    def trained(accumulate):
        model = small_vae.make(constraints=[constraint(0.2)], accumulate=accumulate)
        model.compile(keras.optimizers.SGD(1e-4))
        logs = model.fit(images(), batch_size=20, epochs=2, shuffle=False, verbose=0).history
        return model, logs

    (whole, logs), (parts, of_parts) = trained(1), trained(4)
    assert abs(logs["structured_share_multiplier"][-1]) > 0.1
    for name, values in logs.items():
        np.testing.assert_allclose(of_parts[name], values, rtol=1e-3, err_msg=name)
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5, err_msg=a.path)


def test_it_is_saved_and_exported_models_do_without(tmp_path):
    model = small_vae.make(constraints=[constraint(0.3)])
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(images(), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.variance_share.total, model.variance_share.total)
    assert float(loaded.variance_share.total) > 0
    assert small_vae.make().variance_share is None


def test_in_a_config():
    c = config_lib.default()
    c.objective.structured_share = 0.4
    with pytest.raises(ValueError, match=r"None where model.factor_scale is closed_form"):
        config_lib.validate(c)
    c.model.factor_scale = "log_scale"
    config_lib.validate(c)
    kl, share = build_constraints(c, SHAPE)
    assert (kl.name, share.name, share.target, share.kind) == (
        "kl",
        "structured_share",
        0.4,
        "equality",
    )
    assert (share.rate, share.damping) == (c.objective.share_rate, c.objective.share_damping)
    for path, value in (
        ("objective.structured_share", 1.5),
        ("objective.share_rate", -1.0),
        ("model.likelihood", "independent"),
        ("model.likelihood", "stock_low_rank"),
    ):
        wrong = config_lib.default()
        wrong.objective.structured_share = 0.4
        wrong.model.factor_scale = "log_scale"
        wrong.update_from_flattened_dict({path: value})
        name = path if path.startswith("objective") else "objective.structured_share"
        with pytest.raises(ValueError, match=f"config.{name} = "):
            config_lib.validate(wrong)


def test_it_needs_a_factor():
    with pytest.raises(ValueError, match="needs a head with a factor P, got IndependentNormalHead"):
        small_vae.make(sv.layers.IndependentNormalHead(2), constraints=[constraint(0.3)])
