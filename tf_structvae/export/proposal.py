"""Where `log_prob` draws its latents: the encoder's posterior, or a normal fitted to each image."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from tf_structvae.export.exported_model import View

# Of Adam on latents in units of the encoder's standard deviations; it falls to zero as a cosine.
_RATE, _MOMENTUM, _DECAY = 0.3, 0.9, 0.99
_DIFFERENCE = 0.05  # of the Jacobian, in the same units


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A normal of each row with the precision L L^T.

    Attributes:
      mean: float32 [B, size].
      root: L, lower triangular, float64 [B, size, size].
    """

    mean: tf.Tensor
    root: tf.Tensor

    def sample(self, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Latents [B, size], float32, and log q + L/2 log(2 pi), float64 [B].

        Args:
          noise: standard normal [B, size].
        """
        noise = tf.cast(noise, tf.float64)[..., tf.newaxis]
        offset = tf.linalg.triangular_solve(self.root, noise, adjoint=True)[..., 0]
        latents = self.mean + tf.cast(offset, tf.float32)
        # density and decoder see the same rounded z
        moved = tf.cast(latents, tf.float64) - tf.cast(self.mean, tf.float64)
        standardized = tf.linalg.matvec(self.root, moved, transpose_a=True)
        log_det = tf.reduce_sum(tf.math.log(tf.linalg.diag_part(self.root)), axis=-1)
        return latents, log_det - 0.5 * tf.reduce_sum(standardized**2, axis=-1)


def of(view: View, images: tf.Tensor) -> Proposal:
    """The one that the view asks for, given images [B, H, W, C]."""
    if view.proposal_steps:
        return fitted(view, images, view.proposal_steps)
    return encoded(view, images)


def encoded(view: View, images: tf.Tensor) -> Proposal:
    """q(z | x)."""
    mean, stddev = view.encode(images)
    return Proposal(mean, tf.linalg.diag(1.0 / tf.cast(stddev, tf.float64)))


def fitted(view: View, images: tf.Tensor, steps: int) -> Proposal:
    """The normal of Laplace's method around a maximum of p(x, z), with the Gauss-Newton precision.

    The precision is that of the prior + J^T Sigma^-1 J, where J is the derivative of the mean of x
    and of what the noise of P adds to it, at the noise that x has.

    Args:
      view: of a model.
      images: [B, H, W, C].
      steps: from the mean of q(z | x) uphill; one gradient of the decoder each, and then one
        decoding for each latent.
    """
    flat = view.flat(images)
    mean, stddev = view.encode(images)
    mean = _ascend(view, flat, mean, stddev, steps)
    p = view.decode(mean)
    noise = view.factor_noise(p, images)

    def picture(latents):
        return view.likelihood.picture(view.decode(latents), noise)

    centre = picture(mean)

    def whitened(direction):
        step = _DIFFERENCE * stddev * direction
        slope = (picture(mean + step) - centre) / tf.reduce_sum(step, axis=-1, keepdims=True)
        return view.likelihood.whitened(p, slope)

    # one direction at a time, so that a batch takes the memory of its decoder once
    size = view.latent_dim
    slopes = tf.map_fn(
        whitened, tf.eye(size), fn_output_signature=tf.float32, parallel_iterations=1
    )
    slopes = tf.transpose(slopes, [1, 0, 2])
    precision = tf.cast(tf.matmul(slopes, slopes, transpose_b=True), tf.float64)
    return Proposal(mean, tf.linalg.cholesky(view.prior.precision(view.labels) + precision))


def _ascend(view: View, flat, mean, stddev, steps: int) -> tf.Tensor:
    """Latents [B, size] after `steps` of Adam on log p(x, z), each row on its own."""

    def gradient(u):
        with tf.GradientTape() as tape:
            tape.watch(u)
            z = mean + stddev * u
            log_joint = view.decode(z).log_prob(flat) + view.log_prior(z)
        return tape.gradient(log_joint, u)

    def step(i, u, first, second):
        g = gradient(u)
        first = _MOMENTUM * first + (1.0 - _MOMENTUM) * g
        second = _DECAY * second + (1.0 - _DECAY) * g**2
        t = tf.cast(i, tf.float32)
        rate = 0.5 * _RATE * (1.0 + tf.cos(math.pi * t / steps))
        move = (first / (1.0 - _MOMENTUM ** (t + 1.0))) / (
            tf.sqrt(second / (1.0 - _DECAY ** (t + 1.0))) + 1e-8
        )
        return i + 1, u + rate * move, first, second

    zero = tf.zeros_like(mean)
    found = tf.while_loop(
        lambda i, *_: i < steps, step, (0, zero, zero, zero), parallel_iterations=1
    )
    return mean + stddev * found[1]
