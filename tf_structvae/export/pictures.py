"""Signatures that draw, encode and decode images."""

from __future__ import annotations

import tensorflow as tf

from tf_structvae.export import noise
from tf_structvae.export.exported_model import View


def sample(view: View, seeds):
    """Draws from the prior; see `signatures`."""
    drawn = noise.normal_rows(seeds, view.latent_dim + view.likelihood.noise)
    latents, rest = drawn[:, : view.latent_dim], drawn[:, view.latent_dim :]
    if more := view.prior.noise_size - view.latent_dim:
        own = noise.normal_rows(seeds, more, noise.PRIOR)  # the rest is the same with every prior
        latents = tf.concat([latents, own], axis=1)
    latents = view.prior.sample_from_noise(latents, view.labels)
    p = view.decode(latents)
    return {
        "images": view.clipped(view.likelihood.draw(p, rest)),
        "means": view.images(p.mean()),
        "latents": latents,
        "factor_noise": rest[:, : view.rank],
    }


def decode(view: View, latents):
    """p(x | z)."""
    p = view.decode(latents)
    return {"means": view.images(p.mean()), "variances": view.images(view.likelihood.variance(p))}


def encode(view: View, images):
    """q(z | x), and the noise of x at its mean."""
    latents, stddevs = view.encode(images)
    p = view.decode(latents)
    return {
        "latents": latents,
        "latent_stddevs": stddevs,
        "factor_noise": view.factor_noise(p, images),
    }


def reconstruct(view: View, images):
    """The picture at what `encode` finds."""
    p = view.decode(view.encode(images)[0])
    mean = p.mean()
    found = view.likelihood.picture(p, view.factor_noise(p, images))
    return {"images": view.clipped(found), "means": view.images(mean)}


def manipulate(view: View, latents, factor_noise, component_scales):
    """Eq. 3 under the factor of eq. 4."""
    p = view.decode(latents).scale_components(component_scales)
    return {"images": view.clipped(p.sample_from_noise(factor_noise))}


def components(view: View, latents):
    """The principal components of P; the entry of largest size of each is positive."""
    directions, stddevs, _ = view.decode(latents).principal_components()
    rows = tf.linalg.matrix_transpose(directions)
    largest = tf.argmax(tf.abs(rows), axis=-1)
    sign = tf.sign(tf.gather(rows, largest, axis=2, batch_dims=2))
    return {
        "components": tf.reshape(rows * sign[..., tf.newaxis], [-1, view.rank, *view.shape]),
        "stddevs": stddevs,
    }


def sample_at(view: View, seeds, latents):
    """A picture with all noise of p(x | z); see `signatures`."""
    noises = noise.normal_rows(seeds, view.latent_dim + view.likelihood.noise)
    p = view.decode(latents)
    drawn = view.likelihood.draw(p, noises[:, view.latent_dim :])
    return {"images": view.clipped(drawn), "means": view.images(p.mean())}


def local(view: View, latents):
    """The mean and A of a local normal; see `LocalLowRankNormal`."""
    p = view.decode(latents)
    operator = p.local()
    found = {"neighbours": operator.neighbours, "channels": operator.channels}
    given = {k: x for k, x in found.items() if x is not None}
    return {**given, "scales": operator.scale, "means": view.images(p.mean())}
