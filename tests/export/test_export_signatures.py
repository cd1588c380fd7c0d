"""Every signature of an exported model against the formulas, in NumPy, at float64."""

import os
import subprocess
import sys

import exports
import numpy as np
import pytest
import reference
import tensorflow as tf

KINDS = pytest.mark.parametrize("kind", exports.KINDS)
FACTOR_KINDS = pytest.mark.parametrize("kind", ["low_rank", "grey"])
# float32 sums of at most 60 terms of order 1, through systems of condition below 1e3
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


class Truth:
    """p(x | z) of the Python model as float64 arrays: loc [B, N], factor [B, N, R], diag [B, N]."""

    def __init__(self, model, latents):
        p = model.decode(tf.constant(latents))
        self.shape = model.image_shape
        self.loc = np.asarray(p.mean(), np.float64)
        if hasattr(p, "cov_factor"):
            self.factor = np.asarray(p.cov_factor, np.float64)
            self.diag = np.broadcast_to(np.asarray(p.cov_diag, np.float64), self.loc.shape)
        else:
            self.factor = np.zeros((*self.loc.shape, 0))
            self.diag = np.asarray(p.variance(), np.float64)

    def covariance(self, b):
        return reference.covariance(self.factor[b], self.diag[b])

    def images(self, flat):
        return np.reshape(flat, [-1, *self.shape])

    def along_factor(self, noise):
        return self.images(self.loc + np.einsum("bnr,br->bn", self.factor, noise))

    def conditional(self, b, request):
        """Mean [N] and covariance [N, N] given the pixels of row b."""
        mask = np.broadcast_to(request["mask"][b] > 0.5, self.shape).ravel()
        values = np.ravel(request["values"][b]).astype(np.float64)
        noise = float(request["noise_variance"][b])
        return reference.condition(mask, values, self.loc[b], self.factor[b], self.diag[b], noise)


def run(kind, name, change=None, batch=3):
    """The model, a request with some inputs changed, and what the export answers."""
    model = exports.exported(kind)[0]
    request = exports.requests(kind, batch)[name] | (change or {})
    answer = exports.loaded(kind).signatures[name](
        **{k: tf.constant(v) for k, v in request.items()}
    )
    return model, request, {k: v.numpy() for k, v in answer.items()}


def normal_rows(seeds, size):
    return np.stack([tf.random.stateless_normal([size], s) for s in seeds])


@FACTOR_KINDS
def test_sample_is_equation_3(kind):
    model, request, out = run(kind, "sample")
    rank, size = model.head.rank, model.latent_dim
    noise = normal_rows(request["seeds"], size + rank)
    np.testing.assert_array_equal(out["latents"], noise[:, :size])
    np.testing.assert_array_equal(out["factor_noise"], noise[:, size:])
    truth = Truth(model, out["latents"])
    np.testing.assert_allclose(out["means"], truth.images(truth.loc), **CLOSE)
    expected = truth.along_factor(out["factor_noise"])
    np.testing.assert_allclose(out["images"], np.clip(expected, 0, 1), **CLOSE)


def test_samples_of_the_standard_vae_have_their_noise():
    model, request, out = run("standard", "sample")
    noise = normal_rows(request["seeds"], model.latent_dim + 60)[:, model.latent_dim :]
    truth = Truth(model, out["latents"])
    expected = truth.images(truth.loc + np.sqrt(truth.diag) * noise)
    np.testing.assert_allclose(out["images"], np.clip(expected, 0, 1), **CLOSE)
    assert out["factor_noise"].shape == (3, 0)


@KINDS
def test_decode(kind):
    model, request, out = run(kind, "decode")
    truth = Truth(model, request["latents"])
    variance = np.sum(truth.factor**2, -1) + truth.diag
    np.testing.assert_allclose(out["means"], truth.images(truth.loc), **CLOSE)
    np.testing.assert_allclose(out["variances"], truth.images(variance), **CLOSE)


@KINDS
def test_encode_and_reconstruct(kind):
    model, request, out = run(kind, "encode")
    q = model.encode(request["images"])
    np.testing.assert_allclose(out["latents"], q.mean(), **CLOSE)
    np.testing.assert_allclose(out["latent_stddevs"], q.stddev(), **CLOSE)
    truth = Truth(model, out["latents"])
    x = request["images"].reshape(3, -1)
    noise = np.stack(
        [
            reference.noise_posterior(x[b], truth.loc[b], truth.factor[b], truth.diag[b])[0]
            for b in range(3)
        ]
    )
    np.testing.assert_allclose(out["factor_noise"], noise, rtol=1e-3, atol=1e-4)
    _, _, again = run(kind, "reconstruct")
    np.testing.assert_allclose(again["means"], truth.images(truth.loc), **CLOSE)
    expected = np.clip(truth.along_factor(noise), 0, 1)
    np.testing.assert_allclose(again["images"], expected, atol=1e-4)


@FACTOR_KINDS
def test_manipulate_is_equation_4(kind):
    model, request, out = run(kind, "manipulate")
    truth = Truth(model, request["latents"])
    for b in range(3):
        u, s, vt = np.linalg.svd(truth.factor[b], full_matrices=False)
        factor = u @ np.diag(s * request["component_scales"][b]) @ vt
        flat = truth.loc[b] + factor @ request["factor_noise"][b]
        expected = np.clip(truth.images(flat)[0], 0, 1)
        np.testing.assert_allclose(out["images"][b], expected, rtol=1e-3, atol=1e-4)
    ones = np.ones_like(request["component_scales"])
    _, _, same = run(kind, "manipulate", {"component_scales": ones})
    expected = np.clip(truth.along_factor(request["factor_noise"]), 0, 1)
    np.testing.assert_allclose(same["images"], expected, **CLOSE)


@FACTOR_KINDS
def test_components_are_the_singular_vectors(kind):
    model, request, out = run(kind, "components")
    truth = Truth(model, request["latents"])
    found = out["components"].reshape(3, model.head.rank, -1)
    for b in range(3):
        u, s, _ = np.linalg.svd(truth.factor[b], full_matrices=False)
        np.testing.assert_allclose(out["stddevs"][b], s, rtol=1e-4)
        largest = np.argmax(np.abs(found[b]), 1)
        assert np.all(np.take_along_axis(found[b], largest[:, None], 1) > 0)
        # a vector moves by the rounding over the gap to its neighbour
        np.testing.assert_allclose(np.abs(np.sum(found[b] * u.T, 1)), 1.0, atol=1e-3)
        np.testing.assert_allclose(found[b] @ found[b].T, np.eye(len(s)), atol=1e-3)


@KINDS
def test_covariance_row_is_that_of_figure_2(kind):
    from tf_structvae.figures.pictures import covariance_to_pixel

    model, request, out = run(kind, "covariance_row")
    truth = Truth(model, request["latents"])
    _, w, c = model.image_shape
    for b, (row, column) in enumerate(request["pixel"]):
        sigma = truth.covariance(b)
        first = (row * w + column) * c
        expected = sigma[:, first : first + c].mean(1)
        np.testing.assert_allclose(out["covariances"][b].ravel(), expected, **CLOSE)
        np.testing.assert_allclose(out["variances"][b].ravel(), np.diag(sigma), **CLOSE)
        p = model.decode(request["latents"][b : b + 1])
        drawn = covariance_to_pixel(p, model.image_shape, (row, column))
        np.testing.assert_allclose(out["covariances"][b].mean(-1), drawn[0, ..., 0], **CLOSE)


@KINDS
def test_condition_is_equation_6(kind):
    model, request, out = run(kind, "condition")
    truth = Truth(model, request["latents"])
    for b in range(3):
        mean, covariance = truth.conditional(b, request)
        clipped = np.clip(mean, 0, 1)
        np.testing.assert_allclose(out["images"][b].ravel(), clipped, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            out["variances"][b].ravel(), np.diag(covariance), rtol=1e-3, atol=1e-5
        )
    known = np.broadcast_to(request["mask"][0] > 0.5, model.image_shape)
    np.testing.assert_array_equal(out["images"][0][known], request["values"][0][known])


@FACTOR_KINDS
def test_conditional_samples_have_the_covariance_along_the_factor(kind):
    """The mean and covariance of many draws; D has no part in it."""
    count = 4000
    model, request, _ = run(kind, "condition_sample")
    one = {k: np.repeat(v[:1], count, axis=0) for k, v in request.items()}
    # far from 0 and 1, lest anything be clipped: the decoder's factor is small
    one["values"] = np.full_like(one["values"], 0.5)
    one["seeds"] = np.stack([np.arange(count), np.full(count, 7)], 1).astype(np.int32)
    _, _, out = run(kind, "condition_sample", one)
    truth = Truth(model, one["latents"][:1])
    mean, covariance = truth.conditional(0, one)
    np.testing.assert_allclose(out["means"][0].ravel(), mean, rtol=1e-3, atol=1e-4)
    known = np.broadcast_to(one["mask"][0] > 0.5, model.image_shape).ravel()
    structured = covariance - np.diag(np.where(known, 0.0, truth.diag[0]))
    draws = out["images"].reshape(count, -1)
    np.testing.assert_array_equal(draws[:, known], one["values"].reshape(count, -1)[:, known])
    inside = (draws > 0).all(0) & (draws < 1).all(0) & ~known
    assert inside.sum() > 10
    scale = np.sqrt(np.diag(structured)[inside])
    # five standard errors of a mean and of a correlation
    error = (draws[:, inside].mean(0) - mean[inside]) / scale
    np.testing.assert_allclose(error, 0.0, atol=5 / np.sqrt(count))
    found = np.cov(draws[:, inside].T) / np.outer(scale, scale)
    expected = structured[np.ix_(inside, inside)] / np.outer(scale, scale)
    np.testing.assert_allclose(found, expected, atol=5 * np.sqrt(2 / count))


def test_conditional_samples_of_the_standard_vae():
    model, request, out = run("standard", "condition_sample")
    known = np.broadcast_to(request["mask"][0] > 0.5, model.image_shape)
    np.testing.assert_array_equal(out["images"][0][known], request["values"][0][known])
    # D = 0.05: noise of 0.22 on a mean near 0.5
    assert np.std((out["images"] - out["means"])[0][~known]) > 0.1


@KINDS
def test_log_prob_is_the_importance_weighted_bound(kind):
    model, request, out = run(kind, "log_prob")
    q = model.encode(request["images"])
    mean, scale = np.asarray(q.mean(), np.float64), np.asarray(q.stddev(), np.float64)
    for b, seed in enumerate(request["seeds"]):
        own = tf.random.experimental.stateless_fold_in(seed, 2)
        noise = tf.random.stateless_normal([16, model.latent_dim], own).numpy()
        z = mean[b] + scale[b] * noise
        truth = Truth(model, z.astype(np.float32))
        x = request["images"][b].ravel()
        w = np.array(
            [
                reference.log_prob(x, truth.loc[k], truth.factor[k], truth.diag[k])
                + np.sum(-0.5 * z[k] ** 2)
                - np.sum(-0.5 * noise[k] ** 2 - np.log(scale[b]))
                for k in range(16)
            ]
        )
        weights = np.exp(w - w.max())
        bound = np.log(weights.mean()) + w.max()
        np.testing.assert_allclose(out["log_likelihood"][b], bound, rtol=1e-4, atol=1e-2)
        np.testing.assert_allclose(out["elbo"][b], w.mean(), rtol=1e-4, atol=1e-2)
        effective = weights.sum() ** 2 / np.sum(weights**2)
        np.testing.assert_allclose(out["effective_samples"][b], effective, rtol=0.02)
    assert np.all(out["elbo"] <= out["log_likelihood"])


def test_noise_of_a_score_is_not_that_of_the_picture():
    """Else a score of a sample under its own seed would know its latents."""
    from tf_structvae.export import noise

    seeds = tf.constant([[1, 2]])
    rows = [noise.normal_rows(seeds, 2000, s)[0] for s in range(3)]
    # five standard errors of a correlation
    np.testing.assert_allclose(np.corrcoef(rows), np.eye(3), atol=5 / np.sqrt(2000))


@KINDS
def test_rows_do_not_depend_on_their_batch(kind):
    """A row alone and among others: the same noise, and the same results up to rounding."""
    for name, request in exports.requests(kind, 4).items():
        _, _, together = run(kind, name, request)
        for b in (0, 2):
            _, _, alone = run(kind, name, {k: v[b : b + 1] for k, v in request.items()})
            for key, value in alone.items():
                text = f"{name} {key}"
                np.testing.assert_allclose(
                    value[0], together[key][b], rtol=1e-4, atol=1e-5, err_msg=text
                )
                if name == "sample" and key in ("latents", "factor_noise"):
                    np.testing.assert_array_equal(value[0], together[key][b])


@KINDS
def test_signatures_and_shapes(kind):
    without = exports.NEEDS_FACTOR if kind == "standard" else set()
    assert set(exports.loaded(kind).signatures) == exports.NAMES - without | {"serving_default"}
    for name in exports.NAMES - without:
        function = exports.loaded(kind).signatures[name]
        _, request, out = run(kind, name)
        _, inputs = function.structured_input_signature
        assert set(inputs) == set(request)
        for specs, arrays in ((inputs, request), (function.structured_outputs, out)):
            for key, spec in specs.items():
                assert spec.shape.as_list() == [None, *arrays[key].shape[1:]]
                whole = key in ("seeds", "pixel")
                assert arrays[key].dtype == spec.dtype.as_numpy_dtype
                assert spec.dtype == (tf.int32 if whole else tf.float32)
    for name, request in exports.requests(kind).items():
        none = {k: tf.constant(v[:0]) for k, v in request.items()}
        found = exports.loaded(kind).signatures[name](**none)
        specs = exports.loaded(kind).signatures[name].structured_outputs
        assert {k: v.shape for k, v in found.items()} == {
            k: (0, *spec.shape[1:]) for k, spec in specs.items()
        }


WITH_ONEDNN = """
import runpy
import tensorflow as tf
from tf_structvae.build import build_model
from tf_structvae.export import signatures
model = build_model(runpy.run_path("configs/smoke.py")["get_config"](), (16, 16, 3))
found = signatures(model)
for name in ("encode", "decode"):
    none = {k: tf.zeros([0, *s.shape[1:]], s.dtype) for k, s in found[name].inputs.items()}
    out = tf.function(found[name].function, autograph=False)(**none)
    print({k: v.shape.as_list() for k, v in out.items()})
"""


def test_no_rows_with_onednn():
    """In a process of its own, since oneDNN is asked for before TensorFlow starts.

    There the convolutions of no rows have the shape of their input, which does not fit their bias.
    """
    run = subprocess.run(
        [sys.executable, "-c", WITH_ONEDNN],
        env={**os.environ, "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    pictures = {"means": [0, 16, 16, 3], "variances": [0, 16, 16, 3]}
    codes = {"latents": [0, 4], "latent_stddevs": [0, 4], "factor_noise": [0, 3]}
    assert run.stdout.splitlines() == [str(codes), str(pictures)]
