import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from small_vae import LATENT, SHAPE, EdgeVAE, N, images, make

from tf_structvae import StructuredVAE
from tf_structvae.layers import IndependentNormalHead, LowRankNormalHead
from tf_structvae.models.constraints import Constraint

tfd = tfp.distributions


def test_step_is_equation_2():
    """The logged loss and the multipliers, against the equation written out."""
    constraints = [
        Constraint("kl", 0.3, rate=0.5, damping=2.0, initial_multiplier=1.5),
        Constraint("entropy", -10.0, "upper_bound", rate=0.1, damping=1.0),
    ]
    model = make(constraints=constraints, samples=4, mixing_rate=0.0)
    model.compile(keras.optimizers.SGD(0.0))
    x = images(8)
    logs = model.train_on_batch(x, return_dict=True)

    q = model.encode(x)
    noise = tf.random.stateless_normal([4, 8, LATENT], [0, 0])
    z = q.loc + q.stddev() * noise
    mean, sd = q.loc.numpy(), q.stddev().numpy()
    kl = np.sum(0.5 * (mean**2 + sd**2 - 1) - np.log(sd), -1).mean()
    log_prob = np.mean([model.decode(z[m]).log_prob(x.reshape(8, N)) for m in range(4)])
    entropy = np.mean([model.decode(z[m]).entropy() for m in range(4)])
    by_hand = -log_prob
    by_hand += (1.5 + 2.0 * (kl - 0.3)) * (kl - 0.3)
    by_hand += max(0.0, entropy + 10.0) * (entropy + 10.0)
    np.testing.assert_allclose(logs["kl"], kl, rtol=1e-4)
    np.testing.assert_allclose(logs["log_prob"], log_prob, rtol=1e-4)
    np.testing.assert_allclose(logs["elbo"], log_prob - kl, rtol=1e-4)
    np.testing.assert_allclose(logs["entropy"], entropy, rtol=1e-4)
    np.testing.assert_allclose(logs["loss"], by_hand, rtol=1e-4)
    np.testing.assert_allclose(logs["kl_multiplier"], 1.5 + 0.5 * (kl - 0.3), rtol=1e-4)
    ascent = max(0.0, 0.1 * (entropy + 10.0))
    np.testing.assert_allclose(logs["entropy_multiplier"], ascent, rtol=1e-4)
    assert not any("multiplier" in v.path for v in model.trainable_variables)


def test_without_constraints_the_loss_is_the_negative_elbo():
    model = make(
        LowRankNormalHead(
            2, rank=3, epsilon=0.1, noise="fixed", mean_initial=0.5, factor_scale="kernel"
        )
    )
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.train_on_batch(images(8), return_dict=True)
    np.testing.assert_allclose(logs["loss"], -logs["elbo"], rtol=1e-5)


def test_pretraining_trains_the_mean_alone():
    entropy = Constraint("entropy", -100.0, rate=1.0, damping=1.0)
    model = make(
        LowRankNormalHead(
            2,
            rank=3,
            epsilon=0.1,
            noise="learned",
            factor_initial=0.1,
            mean_initial=0.5,
            factor_scale="kernel",
        ),
        constraints=[entropy],
        pretrain_steps=2,
        pretrain_variance=0.04,
    )
    model.compile(keras.optimizers.Adam(0.01))
    x = images(8)
    head = model.head
    before = [v.numpy() for v in (head.factor_kernel, head.log_variance, head.mean_bias)]
    logs = model.train_on_batch(x, return_dict=True)
    after = [v.numpy() for v in (head.factor_kernel, head.log_variance, head.mean_bias)]
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])
    assert np.any(before[2] != after[2])
    assert float(entropy.multiplier) == 0
    fresh = make(
        LowRankNormalHead(
            2,
            rank=3,
            epsilon=0.1,
            noise="learned",
            factor_initial=0.1,
            mean_initial=0.5,
            factor_scale="kernel",
        )
    )
    q = fresh.encode(x)
    z = q.loc + q.stddev() * tf.random.stateless_normal([8, LATENT], [0, 0])
    mean_only = tfd.MultivariateNormalDiag(fresh.decode(z).mean(), tf.fill([N], 0.2))
    expected = -mean_only.log_prob(x.reshape(8, N)).numpy().mean() + logs["kl"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)
    model.train_on_batch(x)
    model.train_on_batch(x)
    assert np.any(before[0] != head.factor_kernel.numpy())


def test_user_code(tmp_path):
    """Build, compile, fit, evaluate, save, load: what a user of Keras does."""
    model = make(constraints=[Constraint("kl", 2.0, rate=0.2, damping=1.0)])
    data = tf.data.Dataset.from_tensor_slices(images(256)).batch(32)
    model.compile(keras.optimizers.Adam(0.01))
    before = model.evaluate(data, verbose=0, return_dict=True)
    history = model.fit(data, epochs=15, validation_data=data, verbose=0).history
    after = model.evaluate(data, verbose=0, return_dict=True)
    assert after["log_prob"] > before["log_prob"] + 20
    assert history["val_log_prob"][-1] > history["val_log_prob"][0]
    assert after == model.evaluate(data, verbose=0, return_dict=True)
    assert model.predict(data, verbose=0).shape == (256, N)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    x = images(4, seed=1)
    np.testing.assert_array_equal(model(x).mean(), again(x).mean())
    flat = x.reshape(4, N)
    np.testing.assert_array_equal(model(x).log_prob(flat), again(x).log_prob(flat))
    assert float(again.constraints[0].multiplier) == float(model.constraints[0].multiplier)
    assert again.evaluate(data, verbose=0, return_dict=True) == after


@pytest.mark.parametrize("start", [0.0, 30.0])
def test_kl_meets_its_target_from_below_and_above(start):
    """From a posterior equal to the prior, and from one far from it."""
    model = make(constraints=[Constraint("kl", 3.0, "equality", rate=0.3, damping=3.0)])
    model.encoder.layers[-1].bias.assign([start / 10] * LATENT + [0.0] * LATENT)
    model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(images(256)).batch(32).repeat()
    model.fit(data, steps_per_epoch=300, epochs=1, verbose=0)
    logs = model.fit(data, steps_per_epoch=100, epochs=1, verbose=0).history
    assert abs(logs["kl"][0] - 3.0) < 0.1


def test_constraint_of_the_users_own(tmp_path):
    x = images(64, seed=3)
    data = tf.data.Dataset.from_tensor_slices(images(256)).batch(32).repeat()

    def trained(*constraints):
        plain = make()
        kl = Constraint("kl", 6.0, rate=0.3, damping=3.0)
        model = EdgeVAE(plain.encoder, plain.decoder, [kl, *constraints])
        model.compile(keras.optimizers.Adam(0.01))
        model.fit(data, steps_per_epoch=200, epochs=1, verbose=0)
        observed = model.observe(x, model.encode(x).loc[None]).measured["edge_error"]
        error = (x - model(x).mean().numpy().reshape(x.shape)).astype(np.float64)
        by_hand = np.square(error[:, 1:] - error[:, :-1]).sum((1, 2, 3))
        np.testing.assert_allclose(observed, by_hand, rtol=1e-3)
        return model, by_hand.mean()

    assert trained()[1] > 0.1
    bound = Constraint("edge_error", 0.055, "upper_bound", rate=200.0, damping=600.0)
    model, error = trained(bound)
    assert error < 0.06
    assert float(bound.multiplier) > 0
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert float(again.constraints[1].multiplier) == float(bound.multiplier)


def test_entropy_meets_its_target_from_below_and_above():
    for start, noise in ((0.01, 1e-3), (0.5, 1e-3)):
        head = LowRankNormalHead(
            2,
            rank=3,
            epsilon=noise,
            factor_initial=start,
            noise="fixed",
            mean_initial=0.5,
            factor_scale="kernel",
        )
        floor = N / 2 * np.log(2 * np.pi * np.e * noise)
        entropy = Constraint("entropy", floor + 6, "equality", rate=2.0, damping=20.0)
        model = make(head, [Constraint("kl", 3.0, rate=0.3, damping=3.0), entropy])
        model.compile(keras.optimizers.Adam(0.01))
        data = tf.data.Dataset.from_tensor_slices(images(256)).batch(32).repeat()
        before = model.fit(data.take(1), verbose=0).history["entropy_above_floor"][0]
        assert (before < 6) == (start == 0.01)
        model.fit(data, steps_per_epoch=400, epochs=1, verbose=0)
        logs = model.fit(data, steps_per_epoch=100, epochs=1, verbose=0).history
        assert abs(logs["entropy_above_floor"][0] - 6) < 0.1
        assert abs(logs["kl"][0] - 3.0) < 0.1


def test_mixing_rate_may_be_a_schedule(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10, alpha=0.0)
    model = make(mixing_rate=schedule)
    model.compile(keras.optimizers.SGD(0.0))
    x = images(8)
    moved = []
    for _ in range(11):
        before = model.head.mixing.numpy()
        model.train_on_batch(x)
        moved.append(np.abs(model.head.mixing.numpy() - before).max())
    assert moved[0] > 0.001
    assert moved[10] == 0
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.mixing_rate.get_config() == schedule.get_config()


def test_closed_form_scale_calibrates_the_noise():
    model = make(mixing_rate=0.05)
    model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(images(512)).batch(64).repeat()
    model.fit(data, steps_per_epoch=400, epochs=1, verbose=0)
    logs = model.evaluate(
        tf.data.Dataset.from_tensor_slices(images(512, seed=5)).batch(64),
        verbose=0,
        return_dict=True,
    )
    # E[omega_p omega_p^T | x] has trace R at the optimum; 512 images, 3 components
    assert abs(logs["noise_square"] - 1) < 0.15


def test_standard_vae():
    model = make(IndependentNormalHead(2, epsilon=0.05, noise="learned", mean_initial=0.5))
    model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(images(64)).batch(32)
    logs = model.fit(data, epochs=2, verbose=0).history
    assert logs["entropy_above_floor"][-1] == 0
    assert np.isfinite(logs["loss"]).all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="constraints must name different quantities"):
        make(constraints=[Constraint("colour", 1.0)])
    with pytest.raises(ValueError, match="constraints must name different quantities"):
        make(constraints=[Constraint("kl", 1.0), Constraint("kl", 2.0)])
    with pytest.raises(ValueError, match=r"kl_target = -1 nats per image cannot be met"):
        make(constraints=[Constraint("kl", -1.0)])
    with pytest.raises(ValueError, match=r"entropy_target = -300.00 .* have at least -260.25"):
        make(
            LowRankNormalHead(
                2, rank=3, noise="fixed", epsilon=1e-5, mean_initial=0.5, factor_scale="kernel"
            ),
            [Constraint("entropy", -300.0)],
        )
    with pytest.raises(ValueError, match="samples must be a positive integer"):
        make(samples=0)
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="encoder must emit means and log-variances"):
        StructuredVAE(encoder, make().decoder)


class Half(keras.layers.Layer):
    """A head of a user's own that keeps the precision of its features."""

    def call(self, features):
        flat = tf.reshape(features, [-1, N])
        return tfd.MultivariateNormalDiag(flat, tf.ones_like(flat))

    def compute_output_spec(self, features):
        return keras.KerasTensor((None, N), dtype=self.compute_dtype)


def test_a_distribution_in_half_precision_is_refused():
    keras.config.set_dtype_policy("mixed_float16")
    encoder = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(6)])
    decoder = keras.Sequential([keras.Input((LATENT,)), keras.layers.Dense(N), Half()])
    model = StructuredVAE(encoder, decoder)
    model.compile("sgd")
    with pytest.raises(ValueError, match="a distribution in float32 or float64, got float16"):
        model.train_on_batch(images(4))


@pytest.mark.parametrize(("of_head", "of_images"), [("float64", "f4"), ("float32", "f8")])
def test_float64_in_part(of_head, of_images):
    head = LowRankNormalHead(
        2,
        rank=3,
        epsilon=0.1,
        noise="learned",
        factor_scale="closed_form",
        dtype=of_head,
        mean_initial=0.5,
    )
    model = make(head, [Constraint("kl", 1.0)])
    model.compile("sgd", run_eagerly=True)
    logs = model.train_on_batch(images(4).astype(of_images), return_dict=True)
    assert np.isfinite(logs["loss"])
    assert model(images(4)).dtype == of_head


def test_under_xla_images_of_0_to_255_end_the_first_step():
    model = make()
    model.compile("sgd", jit_compile=True)
    data = tf.data.Dataset.from_tensor_slices(255.0 * images(4)).batch(4)
    with pytest.raises(FloatingPointError, match="not finite or, as bytes, not of order one"):
        model.fit(data, verbose=0)


def test_a_loss_in_a_file_of_an_earlier_version_is_left_out():
    model = make()
    model.compile("sgd")
    config = {**model.get_compile_config(), "loss": "mse", "metrics": ["mae"]}
    model.compile_from_config(config)
    assert model.loss is None
    assert model.optimizer.built
