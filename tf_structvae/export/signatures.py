"""The signatures of an exported model: their functions, inputs and what they do."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_structvae.export import checks, observations, pictures
from tf_structvae.export.exported_model import View
from tf_structvae.export.likelihoods import Local
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.utilities.checks import integer

DEFAULT = "sample"  # also `serving_default`

_GIVEN = "given the pixels where mask > 0.5, known up to noise_variance (0: exactly)"

_EVERY, _FACTOR, _LOCAL = range(3)  # which models have a signature

# name: function, inputs, description, which models have it
_TABLE: dict[str, tuple[Callable, tuple[str, ...], str, int]] = {
    "sample": (
        pictures.sample,
        ("seeds",),
        "Images from the prior, {prior}: mean + P factor_noise (eq. 3 without pixel noise), "
        "clipped to [0, 1]; {with_noise}. means are not clipped. Each row depends on its own seed "
        "alone. Also serving_default.",
        _EVERY,
    ),
    "decode": (
        pictures.decode,
        ("latents",),
        "Mean and variance of every entry of p(x given z), not clipped{estimated}.",
        _EVERY,
    ),
    "encode": (
        pictures.encode,
        ("images",),
        "Mean and standard deviation of q(z given x), and the posterior mean of the noise of P "
        "given x at that mean ([B, 0] of a standard VAE).",
        _EVERY,
    ),
    "reconstruct": (
        pictures.reconstruct,
        ("images",),
        "The mean at encode's latents plus P times its factor_noise, clipped to [0, 1]; means are "
        "without that part and not clipped.",
        _EVERY,
    ),
    "manipulate": (
        pictures.manipulate,
        ("latents", "factor_noise", "component_scales"),
        "mean + P factor_noise with the part of each principal component of P, strongest first, "
        "times its scale (eq. 4), clipped to [0, 1]; all scales one is sample.",
        _FACTOR,
    ),
    "components": (
        pictures.components,
        ("latents",),
        "The principal components of P, strongest first: unit vectors, whose entry of largest size "
        "is positive, and standard deviations; zero vectors where that is zero.",
        _FACTOR,
    ),
    "covariance_row": (
        observations.covariance_row,
        ("latents", "pixel"),
        "Covariance of every entry with the mean over the channels of the pixel (row, column), its "
        "own noise included (the mean over the last axis is Fig. 2), and all variances{estimated}.",
        _EVERY,
    ),
    "condition": (
        observations.condition,
        ("latents", "values", "mask", "noise_variance"),
        f"Mean, clipped to [0, 1], and variance of p(x given z) {_GIVEN} (eq. 5 and 6)"
        "{estimated_given}.",
        _EVERY,
    ),
    "condition_sample": (
        observations.condition_sample,
        ("seeds", "latents", "values", "mask", "noise_variance"),
        f"A draw from p(x given z) {_GIVEN}, along P without pixel noise, clipped to [0, 1]; "
        "{with_noise}. means are the conditional mean, not clipped.",
        _EVERY,
    ),
    "log_prob": (
        observations.log_prob,
        ("images", "seeds"),
        "Nats: the importance-weighted bound of log p(x) with {samples} samples of z from "
        "{proposal}, their mean (the ELBO of that distribution) and their effective number. Where "
        "that is near one, a single sample decides: the bound is far below log p(x) and changes by "
        "tens of nats or more with the seed. Each row depends on its own image and seed alone.",
        _EVERY,
    ),
    "sample_at": (
        pictures.sample_at,
        ("seeds", "latents"),
        "Images at given latents with all noise of p(x given z), clipped to [0, 1]: those of "
        "sample, given the latents that sample drew for the same seeds.",
        _LOCAL,
    ),
    "local": (
        pictures.local,
        ("latents",),
        "What a local normal has in the place of the noise of single pixels, A = S^-1 (I - V) "
        "(I - W): the weights W of the earlier neighbours and V of the earlier channels of a "
        "pixel, and the scales S; and the mean, not clipped.",
        _LOCAL,
    ),
}


class Signature(NamedTuple):
    """One endpoint.

    Attributes:
      function: tensors by the names of `inputs` -> a dict of tensors; checks what it is given.
      inputs: shape [None, ...] and dtype of each.
      description: of what it computes.
    """

    function: Callable[..., dict[str, tf.Tensor]]
    inputs: dict[str, tf.TensorSpec]
    description: str


def signatures(
    model: StructuredVAE | View, importance_samples: int = 16, proposal_steps: int = 0
) -> dict[str, Signature]:
    """The endpoints of a built model by name; docs/export.md has the table.

    Those of a conditional model have one more input, the labels.

    Those that need P, `manipulate` and `components`, are not among those of a standard VAE, and
    `local` and `sample_at` are of local normals alone.

    Args:
      model: a built one, or its view.
      importance_samples: K, of z for each image, of `log_prob`; one decoding each.
      proposal_steps: of a climb to a maximum of p(x, z), around which `log_prob` then draws z from
        the normal of Laplace's method; one gradient of the decoder each, and L decodings. 0: it
        draws from the encoder's q(z given x).

    Raises:
      ValueError: the decoder emits a distribution that has none of them, or a number is too small.
    """
    integer("importance_samples", importance_samples)
    integer("proposal_steps", proposal_steps, 0)
    view = model if isinstance(model, View) else View.of(model)
    view = dataclasses.replace(
        view, importance_samples=importance_samples, proposal_steps=proposal_steps
    )
    words = {
        "samples": importance_samples,
        "proposal": _proposal(proposal_steps),
        "prior": view.model.prior.describe(),
        **view.likelihood.words(),
    }
    specs = _specs(view)
    found = {}
    has = {_EVERY: True, _FACTOR: view.rank > 0, _LOCAL: isinstance(view.likelihood, Local)}
    for name, (function, inputs, description, which) in _TABLE.items():
        if has[which]:
            own = {k: specs[k] for k in (*inputs, *(("labels",) if view.model.classes else ()))}
            run = functools.partial(_run, view, function, own)
            found[name] = Signature(run, own, description.format(**words))
    return found


def _proposal(steps: int) -> str:
    if not steps:
        return "the encoder's q(z given x)"
    return f"Laplace's normal around a maximum of p(x, z), {steps} steps from the encoder's mean"


def _specs(view: View) -> dict[str, tf.TensorSpec]:
    """Every input there is; a name means the same in all signatures."""
    h, w, c = view.shape
    floats = {
        "images": (h, w, c),
        "latents": (view.latent_dim,),
        "factor_noise": (view.rank,),
        "component_scales": (view.rank,),
        "values": (h, w, c),
        "mask": (h, w, 1),
        "noise_variance": (),
    }
    specs = {k: tf.TensorSpec([None, *inner], tf.float32, k) for k, inner in floats.items()}
    whole = {"seeds": (2,), "pixel": (2,), "labels": ()}
    specs |= {k: tf.TensorSpec([None, *inner], tf.int32, k) for k, inner in whole.items()}
    return specs


def _run(view: View, function: Callable, specs: dict[str, tf.TensorSpec], **given):
    inputs = checks.checked({k: given[k] for k in specs}, specs)
    own = []
    if "noise_variance" in inputs:
        own.append(checks.not_negative("noise_variance", inputs["noise_variance"]))
    if "pixel" in inputs:
        own.append(checks.inside("pixel", inputs["pixel"], *view.shape[:2]))
    if "labels" in inputs:
        own.append(checks.one_of_classes("labels", inputs["labels"], view.model.classes))
    inputs = checks.after(own, inputs)
    rows = tf.shape(next(iter(inputs.values())))[0]
    inputs = {k: _at_least_one(x) for k, x in inputs.items()}
    labels = inputs.pop("labels", None)
    floats = [k for k, spec in specs.items() if spec.dtype.is_floating] or list(specs)
    results = {k: x[:rows] for k, x in function(view.given(labels), **inputs).items()}
    return checks.finite_results(floats, results)


def _at_least_one(x: tf.Tensor) -> tf.Tensor:
    """[B, ...], or one row of zeros where B is 0.

    oneDNN's convolution of no rows has the shape of its input, which does not fit what follows.
    """
    missing = tf.maximum(1 - tf.shape(x)[0], 0)
    return tf.pad(x, [[0, missing], *[[0, 0]] * (x.shape.rank - 1)])
