"""Exports of models with each kind of prior: they draw and score by it, without the encoder."""

import json

import conditional
import numpy as np
import pytest
import tensorflow as tf
from small_vae import LATENT, SHAPE, make

import tf_structvae as sv
from tf_structvae import priors
from tf_structvae.evaluation import importance
from tf_structvae.export import card, export, noise, signatures

rng = np.random.default_rng(0)
POSTERIOR = priors.AggregatedPosterior(
    2.0 + rng.normal(size=(400, LATENT)) @ np.diag([1.0, 0.5, 2.0]), np.full((400, LATENT), 0.3)
)


def normal():
    return priors.Normal.fit(POSTERIOR)


def flow():
    return priors.Flow.fit(POSTERIOR, couplings=2, hidden=8, steps=20)


PRIORS = {
    "normal": normal,
    "mixture": lambda: priors.Mixture.fit(POSTERIOR, 3),
    "vamp": lambda: priors.VampPrior(LATENT, SHAPE, 4),
    "flow": flow,
}
BY_LABEL = {
    "normal": normal,
    "vamp": lambda: priors.VampPrior(LATENT, conditional.SHAPE, 3),
}


def build(kind):
    """A model, and its labels for requests."""
    if kind.startswith("by label "):
        own = BY_LABEL[kind.removeprefix("by label ")]
        model = conditional.make(
            prior=priors.Conditional([own() for _ in range(conditional.CLASSES)])
        )
        return model, np.arange(5, dtype=np.int32) % conditional.CLASSES
    return make(prior=PRIORS[kind]()), None


KINDS = [*PRIORS, *(f"by label {k}" for k in BY_LABEL)]


@pytest.mark.parametrize(
    "kind",
    [
        k if k in ("flow", "by label normal") else pytest.param(k, marks=pytest.mark.long)
        for k in KINDS
    ],
)
def test_an_export_draws_from_the_prior_and_scores_by_it(kind, tmp_path):
    model, labels = build(kind)
    path = export(model, tmp_path / "m", warm_up=False, importance_samples=4)
    loaded = tf.saved_model.load(str(path)).signatures
    seeds = np.arange(10, dtype=np.int32).reshape(5, 2)
    given = {} if labels is None else {"labels": tf.constant(labels)}

    # latents are what the prior makes of noise of the seed
    found = loaded["sample"](seeds=tf.constant(seeds), **given)
    drawn = noise.normal_rows(seeds, LATENT + model.head.rank)
    more = noise.normal_rows(seeds, model.prior.noise_size - LATENT, noise.PRIOR)
    whole = tf.concat([drawn[:, :LATENT], more], axis=1)
    latents = model.prior.sample_from_noise(whole, labels)
    np.testing.assert_allclose(found["latents"], latents, rtol=1e-4, atol=1e-4)
    assert np.abs(latents - drawn[:, :LATENT]).max() > 0.1
    np.testing.assert_array_equal(found["factor_noise"], drawn[:, LATENT:])
    wanted = model.decode(latents, *(() if labels is None else (labels,))).mean()
    np.testing.assert_allclose(np.reshape(found["means"], [5, -1]), wanted, rtol=1e-3, atol=1e-4)

    # log_prob, from its definition
    x = np.random.default_rng(1).uniform(size=(5, *model.image_shape)).astype(np.float32)
    found = loaded["log_prob"](images=tf.constant(x), seeds=tf.constant(seeds), **given)
    q = model.encode(x, *given.values())
    drawn = tf.reshape(noise.normal_rows(seeds, 4 * LATENT, noise.LOG_PROB), [5, 4, LATENT])
    weights = []
    for k in range(4):
        z = q.loc + q.stddev() * drawn[:, k]
        p = model.decode(z, *given.values()).log_prob(x.reshape(5, -1))
        weights.append(p + model.prior.log_prob(z, labels) - q.log_prob(z))
    np.testing.assert_allclose(found["elbo"], np.mean(weights, 0), rtol=1e-3, atol=0.02)
    bound = importance.log_mean_exp(np.float64(weights))
    np.testing.assert_allclose(found["log_likelihood"], bound, rtol=1e-3, atol=0.02)


@pytest.mark.parametrize(
    "kind",
    ["mixture", *(pytest.param(k, marks=pytest.mark.long) for k in ("flow", "by label normal"))],
)
def test_the_fitted_proposal_scores_like_many_draws_from_the_prior(kind):
    """log p(x) is the logarithm of the mean of p(x given z) over them."""
    model, labels = build(kind)
    x = np.random.default_rng(1).uniform(size=(5, *model.image_shape)).astype(np.float32)
    given = {"images": x, "seeds": np.arange(10, dtype=np.int32).reshape(5, 2)}
    given |= {} if labels is None else {"labels": labels}
    function = signatures(model, importance_samples=100, proposal_steps=100)["log_prob"].function
    found = {k: v.numpy() for k, v in tf.function(function, autograph=False)(**given).items()}
    of_draws = []
    for i in range(5):
        own = () if labels is None else (np.full(20_000, labels[i]),)
        p = model.decode(model.prior.sample(20_000, i, *own), *own)
        of_draws.append(p.log_prob(x[i].reshape(1, -1)))
    of_draws = np.float64(of_draws).T
    wanted, effective = importance.log_mean_exp(of_draws), importance.effective_samples(of_draws)
    counted = (found["effective_samples"] > 20) & (effective > 20)
    assert np.sum(counted) >= 3
    # a mean of weights of which E count has a relative standard error near 1 / sqrt(E)
    error = 4 * np.sqrt(1 / found["effective_samples"] + 1 / effective)
    assert np.all(np.abs(found["log_likelihood"] - wanted)[counted] < error[counted])


def test_an_export_says_which_prior_it_draws_from(tmp_path):
    model, _ = build("mixture")
    path = export(model, tmp_path / "m", warm_up=False)
    content = json.loads((path / card.FILE).read_text())
    assert content["prior"] == "mixture of 3 normals with full covariances"
    assert "prior, mixture of 3 normals" in content["signatures"]["sample"]["description"]
    assert "(prior: mixture of 3 normals" in (path / "README.md").read_text()
    assert sv.load(path).prior == content["prior"]
    del content["prior"]  # as earlier versions wrote them
    (path / card.FILE).write_text(json.dumps(content))
    assert sv.load(path).prior == "N(0, I)"


def test_a_keras_file_draws_from_its_prior(tmp_path):
    model, _ = build("vamp")
    model.save(tmp_path / "m.keras")
    loaded = sv.load(tmp_path / "m.keras")
    assert loaded.prior == "VampPrior with 4 pseudo-inputs"
    path = export(model, tmp_path / "m", warm_up=False)
    np.testing.assert_allclose(loaded.sample(3, 1), sv.load(path).sample(3, 1), atol=1e-5)


def test_the_bound_of_an_evaluation_counts_the_prior():
    model, labels = build("by label normal")
    x = np.random.default_rng(1).uniform(size=(5, *model.image_shape)).astype(np.float32)
    weights = importance.log_weights(model, x, 3, labels=(labels,))
    model.replace_prior(priors.StandardNormal(LATENT))
    standard = importance.log_weights(model, x, 3, labels=(labels,))
    q = model.encode(x, labels)
    drawn = [np.random.default_rng([0, i]).standard_normal([3, LATENT]) for i in range(5)]
    z = q.loc + q.stddev() * np.stack(drawn, 1).astype(np.float32)
    own = normal().log_prob(z) - priors.StandardNormal(LATENT).log_prob(z)
    np.testing.assert_allclose(weights - standard, own, rtol=1e-4, atol=1e-3)
