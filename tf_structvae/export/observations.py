"""Signatures for the covariance of pixels, conditioning on some of them, and the log-density."""

from __future__ import annotations

import math

import tensorflow as tf

from tf_structvae.export import noise, proposal
from tf_structvae.export.exported_model import View
from tf_structvae.export.likelihoods import Conditional


def covariance_row(view: View, latents, pixel):
    """Covariance of every entry with the mean of one pixel's channels."""
    p = view.decode(latents)
    height, width, channels = view.shape
    number = pixel[:, 0] * width + pixel[:, 1]
    of_pixel = tf.one_hot(number, height * width) / channels
    covariances = view.likelihood.covariance(p, tf.repeat(of_pixel, channels, axis=1))
    variances = view.likelihood.variance(p)
    return {"covariances": view.images(covariances), "variances": view.images(variances)}


def condition(view: View, latents, values, mask, noise_variance):
    """Mean and variance of p(x | z, some pixels) (eq. 5 and 6)."""
    q = _conditional(view, latents, values, mask, noise_variance)
    return {"images": view.clipped(q.mean), "variances": view.images(q.variance())}


def condition_sample(view: View, seeds, latents, values, mask, noise_variance):
    """A draw from p(x | z, some pixels)."""
    q = _conditional(view, latents, values, mask, noise_variance)
    drawn = noise.normal_rows(seeds, view.likelihood.conditional_noise, noise.CONDITION)
    return {"images": view.clipped(q.draw(drawn)), "means": view.images(q.mean)}


def _conditional(view: View, latents, values, mask, noise_variance) -> Conditional:
    observed = view.flat(tf.broadcast_to(mask > 0.5, tf.shape(values)))
    return view.likelihood.condition(
        view.decode(latents), observed, view.flat(values), noise_variance[:, tf.newaxis]
    )


def log_prob(view: View, images, seeds):
    """The importance-weighted bound of log p(x) (Burda et al. 2016, eq. 8), in nats."""
    q = proposal.of(view, images)
    flat, k, size = view.flat(images), view.importance_samples, view.latent_dim
    drawn = noise.normal_rows(seeds, k * size, noise.LOG_PROB)
    drawn = tf.transpose(tf.reshape(drawn, [-1, k, size]), [1, 0, 2])

    def log_weight(row):
        latents, of_proposal = q.sample(row)
        of_prior = view.log_prior(tf.cast(latents, tf.float64))
        of_images = tf.cast(view.decode(latents).log_prob(flat), tf.float64)
        return of_images + of_prior - of_proposal

    # one z an image at a time, so that a batch takes the memory of its decoder once
    weights = tf.map_fn(log_weight, drawn, fn_output_signature=tf.float64, parallel_iterations=1)
    total = tf.reduce_logsumexp(weights, axis=0)
    found = {
        "log_likelihood": total - math.log(k),
        "elbo": tf.reduce_mean(weights, axis=0),
        "effective_samples": tf.exp(2.0 * total - tf.reduce_logsumexp(2.0 * weights, axis=0)),
    }
    return {name: tf.cast(x, tf.float32) for name, x in found.items()}
