"""Exports of low-rank and local normals against dense formulas of the model in memory."""

import json

import exports
import numpy as np
import pytest
import tensorflow as tf

import tf_structvae as sv
from tf_structvae.export import likelihoods, noise

KINDS = pytest.mark.parametrize("kind", ["local", pytest.param("dorta", marks=pytest.mark.long)])
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
SIZE, LATENT = 60, 3


class Truth:
    """p(x | z) of the model as float64 arrays: loc [B, N], factor [B, N, R], covariance."""

    def __init__(self, model, latents):
        p = model.decode(tf.constant(latents))
        self.loc = np.asarray(p.mean(), np.float64)
        covariance = np.asarray(p.covariance(), np.float64)
        factor = p.cov_factor if p.rank else np.zeros([*self.loc.shape, 0])
        self.factor = np.asarray(factor, np.float64)
        self.local = covariance - self.factor @ self.factor.swapaxes(1, 2)
        self.covariance = covariance
        # A is lower triangular with a positive diagonal, and so is its inverse
        self.root = np.linalg.cholesky(self.local)

    def sample(self, factor_noise, local_noise):
        structured = np.einsum("bnr,br->bn", self.factor, factor_noise)
        return self.loc + structured + np.einsum("bnm,bm->bn", self.root, local_noise)


def run(kind, name, change=None):
    model = exports.exported(kind)[0]
    request = exports.requests(kind)[name] | (change or {})
    answer = exports.loaded(kind).signatures[name](
        **{k: tf.constant(v) for k, v in request.items()}
    )
    return model, request, {k: v.numpy() for k, v in answer.items()}


def flat(images):
    return np.reshape(images, [len(images), -1])


@KINDS
def test_card_and_signatures(kind):
    path = exports.exported(kind)[1]
    card = json.loads((path / "model_card.json").read_text())
    assert (card["likelihood"], card["rank"]) == ("local_low_rank", 3 if kind == "local" else 0)
    names = exports.NAMES | {"local", "sample_at"}
    assert set(card["signatures"]) == (names if card["rank"] else names - exports.NEEDS_FACTOR)
    assert "estimates from 32 draws, 25% each" in card["signatures"]["decode"]["description"]
    assert "a local precision over all pixels" in (path / "README.md").read_text()


@KINDS
def test_samples_have_all_their_noise(kind):
    model, request, out = run(kind, "sample")
    rank = model.head.rank
    drawn = noise.normal_rows(request["seeds"], LATENT + rank + SIZE).numpy()
    latents, of_factor, of_local = np.split(drawn, [LATENT, LATENT + rank], axis=1)
    np.testing.assert_array_equal(out["factor_noise"], of_factor)
    truth = Truth(model, latents)
    wanted = np.clip(truth.sample(of_factor, of_local), 0, 1)
    np.testing.assert_allclose(flat(out["images"]), wanted, **CLOSE)
    np.testing.assert_allclose(flat(out["means"]), truth.loc, **CLOSE)


@KINDS
def test_variances_are_within_the_errors_of_their_draws(kind):
    model, request, out = run(kind, "decode")
    truth = Truth(model, request["latents"])
    local = np.diagonal(truth.local, axis1=1, axis2=2)
    wanted = np.diagonal(truth.covariance, axis1=1, axis2=2)
    off = flat(out["variances"]) - wanted
    assert np.all(np.abs(off) < 6 * local * np.sqrt(2 / 32))
    # of the mean over 32 draws of |A^-1 omega|^2 the variance is 2 tr(S^2) / 32
    assert np.all(np.abs(off.sum(1)) < 5 * np.sqrt(2 * np.sum(truth.local**2, (1, 2)) / 32))
    np.testing.assert_allclose(flat(out["means"]), truth.loc, **CLOSE)


@KINDS
def test_covariance_row_and_local_part(kind):
    model, request, out = run(kind, "covariance_row")
    truth = Truth(model, request["latents"])
    for b, (row, column) in enumerate(request["pixel"]):
        first = (row * 5 + column) * 2
        wanted = truth.covariance[b, :, first : first + 2].mean(-1)
        np.testing.assert_allclose(flat(out["covariances"])[b], wanted, **CLOSE)
    _, request, out = run(kind, "local")
    p = sv.distributions.LocalLowRankNormal(
        truth.loc.astype(np.float32), flat(out["scales"]), (6, 5, 2), out["neighbours"],
        out["channels"],
    )  # fmt: skip
    np.testing.assert_allclose(p.covariance(), truth.local, **CLOSE)


@KINDS
def test_conditionals_are_those_of_the_dense_formula(kind):
    model, request, out = run(kind, "condition")
    truth = Truth(model, request["latents"])
    _, drawing, drawn = run(kind, "condition_sample")
    rank = model.head.rank
    own = noise.normal_rows(drawing["seeds"], rank + 2 * SIZE, noise.CONDITION).numpy()
    of_factor, of_local, of_observation = np.split(own, [rank, rank + SIZE], axis=1)
    joint = truth.sample(of_factor, of_local)
    assert np.all(drawing["latents"] == request["latents"])
    for b in range(3):
        mask = np.broadcast_to(request["mask"][b] > 0.5, (6, 5, 2)).ravel()
        values = request["values"][b].ravel()[mask]
        variance = request["noise_variance"][b]
        inner = truth.covariance[b][np.ix_(mask, mask)] + variance * np.eye(mask.sum())
        gain = np.linalg.solve(inner, truth.covariance[b][mask]).T
        mean = truth.loc[b] + gain @ (values - truth.loc[b][mask])
        np.testing.assert_allclose(flat(out["images"])[b], np.clip(mean, 0, 1), atol=1e-4)
        whole = truth.covariance[b] - gain @ truth.covariance[b][mask]
        off = flat(out["variances"])[b] - np.diag(whole)
        assert np.all(np.abs(off) <= 7 * np.diag(whole) * np.sqrt(2 / 16) + 1e-5)
        assert np.abs(off.sum()) < 5 * np.sqrt(2 * np.sum(whole**2) / 16)
        seen = values + np.sqrt(variance) * of_observation[b][mask]
        picture = joint[b] + gain @ (seen - joint[b][mask])
        np.testing.assert_allclose(flat(drawn["images"])[b], np.clip(picture, 0, 1), atol=1e-4)
        np.testing.assert_allclose(flat(drawn["means"])[b], mean, atol=1e-4)


@KINDS
def test_log_prob_is_the_importance_weighted_bound(kind):
    model, request, out = run(kind, "log_prob")
    x = flat(request["images"])
    q = model.encode(request["images"])
    drawn = noise.normal_rows(request["seeds"], 16 * LATENT, noise.LOG_PROB)
    weights = []
    for row in np.moveaxis(np.reshape(drawn, [3, 16, LATENT]), 1, 0):
        z = q.mean() + q.stddev() * row
        prior = -0.5 * np.sum(np.square(z) + np.log(2 * np.pi), -1)
        weights.append(model.decode(z).log_prob(x) + prior - q.log_prob(z))
    wanted = np.logaddexp.reduce(np.float64(weights), 0) - np.log(16)
    np.testing.assert_allclose(out["log_likelihood"], wanted, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("kind", ["local", "dorta", "grey", "standard"])
def test_whitened_directions_have_the_length_of_the_precision(kind):
    """What the normal of Laplace's method is made of."""
    model = exports.exported(kind)[0]
    p = model.decode(exports.requests(kind)["decode"]["latents"])
    size = int(np.prod(model.image_shape))
    direction = np.random.default_rng(1).normal(size=(3, size)).astype(np.float32)
    found = likelihoods.of(p, size).whitened(p, tf.constant(direction))
    covariance = np.asarray(p.covariance(), np.float64)
    solved = np.linalg.solve(covariance, direction[..., np.newaxis])[..., 0]
    np.testing.assert_allclose(
        np.sum(np.square(found), -1), np.sum(direction * solved, -1), rtol=1e-4
    )


@KINDS
def test_every_signature_runs_without_python(kind, tmp_path):
    path = exports.exported(kind)[1]
    cases = list(exports.requests(kind).items())
    answers = exports.run_c_api(path, cases, tmp_path)
    for (name, _), answer in zip(cases, answers, strict=True):
        _, _, wanted = run(kind, name)
        for k, value in wanted.items():
            np.testing.assert_allclose(answer[k], value, rtol=1e-4, atol=1e-4, err_msg=name)


@KINDS
def test_a_loaded_export_is_the_model(kind):
    model, path = exports.exported(kind)
    loaded = sv.load(path)
    z = exports.requests(kind)["decode"]["latents"]
    p, q = model.decode(z), loaded.decode(z)
    assert (loaded.rank, q.rank) == (model.head.rank, model.head.rank)
    x = np.random.default_rng(1).uniform(size=(3, SIZE)).astype(np.float32)
    np.testing.assert_allclose(q.log_prob(x), p.log_prob(x), rtol=1e-4)
    np.testing.assert_allclose(q.covariance(), p.covariance(), **CLOSE)
    drawn = loaded.sample(3, seed=5)
    seeds = tf.constant([[5, 0], [5, 1], [5, 2]])
    again = loaded._source.run["sample"](seeds=seeds)
    np.testing.assert_allclose(again["images"], drawn, atol=1e-5)
    with_latents = loaded.sample(latents=again["latents"], seed=5)
    np.testing.assert_allclose(with_latents, drawn, atol=1e-4)
    mask = exports.requests(kind)["condition"]["mask"]
    given = loaded.condition(mask, x.reshape(3, 6, 5, 2), latents=z, noise_variance=0.1)
    wanted = p.condition(np.repeat(mask > 0.5, 2, axis=-1).reshape(3, SIZE), x, 0.1).mean()
    np.testing.assert_allclose(flat(given), np.clip(wanted, 0, 1), atol=1e-4)
