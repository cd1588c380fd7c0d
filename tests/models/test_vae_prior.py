"""Priors in a model: trained with it, saved and restored with it, the same on every replica."""

import json

import conditional
import forked
import keras
import numpy as np
import pytest
import tensorflow as tf
from small_vae import LATENT, SHAPE, images, make

from tf_structvae import StructuredVAE, priors
from tf_structvae.models.constraints import Constraint
from tf_structvae.training import run_state

KINDS = {
    "normal": lambda: priors.Normal(LATENT, rate=0.1),
    "vamp": lambda: priors.VampPrior(LATENT, SHAPE, 4),
    "flow": lambda: priors.Flow(LATENT, couplings=2, hidden=8),
}


def binding():
    return [Constraint("kl", 0.05, rate=0.5, damping=2.0)]


def trained(kind, steps=8, **options):
    model = make(constraints=binding(), prior=KINDS[kind](), **options)
    model.compile(keras.optimizers.Adam(1e-2))
    for i in range(steps):
        model.train_on_batch(images(16, seed=i))
    assert float(model.constraints[0].multiplier.value) > 0.01
    return model


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_step_moves_the_prior_and_its_kl_is_in_the_loss(kind):
    model = make(constraints=binding(), prior=KINDS[kind]())
    model.compile(keras.optimizers.SGD(1e-2))
    before = [w.numpy() for w in model.prior.weights]
    x = images(8)
    q = model.encode(x)
    z = q.loc + q.stddev() * tf.random.stateless_normal([1, 8, LATENT], [0, 0])
    wanted = np.mean(model.prior.kl_divergence(q, z))
    logs = model.train_on_batch(x, return_dict=True)
    np.testing.assert_allclose(logs["kl"], wanted, rtol=1e-4)
    np.testing.assert_allclose(logs["elbo"], logs["log_prob"] - wanted, rtol=1e-4)
    moved = [
        not np.array_equal(w.numpy(), b) for w, b in zip(model.prior.weights, before, strict=True)
    ]
    assert any(moved)


def test_the_running_moments_are_those_of_the_formula():
    model = make(prior=priors.Normal(LATENT, rate=0.3))
    model.compile(keras.optimizers.SGD(0.0))
    mean, covariance = np.zeros(LATENT), np.eye(LATENT)
    for i in range(3):
        x = images(16, seed=i)
        q = model.encode(x)
        own = priors.AggregatedPosterior(q.loc, q.stddev()).moments()
        # of the mixture of what there was, with weight 0.7, and the batch, with weight 0.3
        new = 0.7 * mean + 0.3 * own[0]
        second = 0.7 * (covariance + np.outer(mean, mean))
        second += 0.3 * (own[1] + np.outer(own[0], own[0]))
        mean, covariance = new, second - np.outer(new, new)
        model.train_on_batch(x)
    np.testing.assert_allclose(model.prior.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.prior.covariance, covariance, rtol=1e-4, atol=1e-5)


def test_a_learned_normal_ends_where_the_fitted_one_is():
    """Of a model that stands still: then the running moments are those of all images."""
    model = make(prior=priors.Normal(LATENT, rate=0.02))
    model.compile(keras.optimizers.SGD(0.0))
    x = images(640)
    for i in range(400):
        part = i % 10
        model.train_on_batch(x[64 * part : 64 * part + 64])
    fitted = priors.fit("normal", priors.AggregatedPosterior.of(model.encode, [x]))
    scale = np.sqrt(np.diag(fitted.covariance.numpy()))
    # batches of 64 images, of which the last 50 count
    assert np.all(np.abs(model.prior.mean - fitted.mean) < 5 * scale / np.sqrt(64 * 50))
    errors = np.outer(scale, scale) * np.sqrt(2 / (64 * 50))
    assert np.all(np.abs(model.prior.covariance - fitted.covariance) < 5 * errors)


@pytest.mark.parametrize("kind", ["normal", "vamp", pytest.param("flow", marks=pytest.mark.long)])
def test_accumulation_takes_the_same_step(kind):
    whole, parts = trained(kind, 3), trained(kind, 3, accumulate=3)
    for a, b in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=2e-4, err_msg=a.path)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_keras_file_holds_the_prior(kind, tmp_path):
    model = trained(kind)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    z = np.random.default_rng(0).normal(size=(5, LATENT)).astype(np.float32)
    np.testing.assert_array_equal(loaded.prior.log_prob(z), model.prior.log_prob(z))
    x = images(16, seed=20)
    np.testing.assert_allclose(
        loaded.train_on_batch(x), model.train_on_batch(x), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_checkpoint_holds_the_prior(kind, tmp_path):
    model = trained(kind)
    path = str(tmp_path / "state")
    run_state.trackable(model).write(path)
    assert run_state.missing(model, path) == []
    other = make(constraints=binding(), prior=KINDS[kind]())
    other.compile(keras.optimizers.Adam(1e-2))
    other.optimizer.build(other.trainable_variables)
    run_state.trackable(other).read(path).assert_existing_objects_matched()
    for a, b in zip(model.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.long
def test_a_checkpoint_holds_the_prior_of_each_label(tmp_path):
    def model():
        own = [priors.Flow(LATENT, couplings=2, hidden=4) for _ in range(conditional.CLASSES)]
        made = conditional.make(prior=priors.Conditional(own))
        made.compile(keras.optimizers.Adam(1e-2))
        made.optimizer.build(made.trainable_variables)
        return made

    first, second = model(), model()
    first.train_on_batch(*conditional.batch(16))
    path = str(tmp_path / "state")
    run_state.trackable(first).write(path)
    run_state.trackable(second).read(path).assert_existing_objects_matched()
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)


@pytest.mark.parametrize("kind", ["normal", "vamp"])
def test_a_conditional_model_learns_a_prior_for_each_label(kind):
    x, labels = conditional.batch(64)
    shape = conditional.SHAPE
    own = {
        "normal": lambda: priors.Normal(LATENT, rate=0.2),
        "vamp": lambda: priors.VampPrior(LATENT, shape, 3),
    }[kind]
    prior = priors.Conditional([own() for _ in range(conditional.CLASSES)])
    model = conditional.make(prior=prior)
    before = [w.numpy() for w in prior.weights]
    model.compile(keras.optimizers.SGD(0.0 if kind == "normal" else 1e-2))
    logs = model.train_on_batch(x, labels, return_dict=True)
    assert np.isfinite(logs["kl"])
    assert all(np.any(w.numpy() != b) for w, b in zip(prior.weights, before, strict=True))
    if kind == "vamp":
        return
    for k, found in enumerate(prior.priors):
        q = model.encode(x[labels == k], labels[labels == k])
        mean, _ = priors.AggregatedPosterior(q.loc, q.stddev()).moments()
        rate = 0.2 * min(np.mean(labels == k) * conditional.CLASSES, 1.0)
        np.testing.assert_allclose(found.mean, rate * mean, rtol=1e-4, atol=1e-6)


def test_another_prior_takes_the_place_of_the_first():
    model = trained("normal")
    x = images(16)
    learned = model.evaluate(x, return_dict=True, verbose=0)
    model.replace_prior(priors.StandardNormal(LATENT))
    standard = model.evaluate(x, return_dict=True, verbose=0)
    assert abs(learned["kl"] - standard["kl"]) > 1e-3
    np.testing.assert_allclose(learned["log_prob"], standard["log_prob"], rtol=1e-6)
    assert not any("covariance" in v.path for v in model.variables)
    model.replace_prior(priors.fit("mixture", priors.AggregatedPosterior.of(model.encode, [x]), 2))
    assert sum("prior/" in v.path for v in model.variables) == 3
    model.compile(keras.optimizers.SGD(1e-3))
    model.train_on_batch(x)
    first = model.prior
    model.replace_prior(priors.StandardNormal(LATENT))
    model.replace_prior(first)  # there and back
    assert sum("prior/" in v.path for v in model.variables) == 3
    model.replace_prior(first)  # the one that is there
    assert sum("prior/" in v.path for v in model.variables) == 3


WRONG = [
    (lambda: make(prior=priors.Normal(LATENT + 1)), ValueError, "the 3 latents of the model, got"),
    (lambda: make(prior="normal"), TypeError, "prior must be one of tf_structvae.priors"),
    (lambda: make(prior=priors.VampPrior(LATENT, (8, 8, 1))), ValueError, "pseudo-inputs"),
    (
        lambda: make(prior=priors.Conditional([priors.Normal(LATENT)])),
        ValueError,
        "for the 0 labels of the model, got one for 1",
    ),
    (
        lambda: conditional.make(prior=priors.VampPrior(LATENT, conditional.SHAPE)),
        ValueError,
        "Conditional of VampPriors",
    ),
]


@pytest.mark.parametrize(("run", "kind", "message"), WRONG)
def test_a_prior_that_does_not_fit_is_an_error(run, kind, message):
    with pytest.raises(kind, match=message):
        run()


def test_a_prior_that_does_not_fit_leaves_the_present_one():
    model = trained("normal", 1)
    prior = model.prior
    with pytest.raises(ValueError, match="latents"):
        model.replace_prior(priors.Normal(LATENT + 1))
    assert model.prior is prior


def test_files_without_a_prior_have_the_papers():
    model = make()
    config = model.get_config()
    del config["prior"]
    assert isinstance(StructuredVAE.from_config(config).prior, priors.StandardNormal)


REPLICAS = """
import json, sys
sys.path[:0] = ["tests", "tests/helpers"]
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from small_vae import LATENT, SHAPE, images, make
from tf_structvae import Constraint, priors

MAKE = {
    "normal": lambda: priors.Normal(LATENT, rate=0.1),
    "vamp": lambda: priors.VampPrior(LATENT, SHAPE, 4),
    "flow": lambda: priors.Flow(LATENT, couplings=2, hidden=8),
}

def train(kind, devices):
    keras.utils.set_random_seed(0)
    strategy = tf.distribute.MirroredStrategy(devices)
    with strategy.scope():
        constraint = Constraint("kl", 0.05, rate=0.5, damping=2.0)
        model = make(constraints=[constraint], prior=MAKE[kind]())
        # Adam would scale up the rounding errors of gradients that start at 0
        model.compile(keras.optimizers.SGD(1e-3))
    data = tf.data.Dataset.from_tensor_slices(images(60)).batch(12)
    model.fit(data, epochs=2, verbose=0)
    values = {v.path: v.numpy().ravel().tolist() for v in model.variables}
    assert values["kl/multiplier"][0] > 0.01, values["kl/multiplier"]
    return values

print(json.dumps([train(KIND, ["CPU:0"]), train(KIND, ["CPU:0", "CPU:1"])]))
"""


@pytest.mark.parametrize(
    "kind", ["normal", *(pytest.param(k, marks=pytest.mark.long) for k in ("vamp", "flow"))]
)
def test_two_replicas_train_the_prior_of_one(kind):
    done = forked.run("-c", f"KIND = {kind!r}\n" + REPLICAS, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = json.loads(done.stdout.splitlines()[-1])
    assert any(path.startswith("prior") or "coupling" in path for path in one)
    for (path, a), b in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-4, err_msg=path)
