"""A prior's trainable weights, fitted to posteriors by gradient ascent."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.utilities import checks

_HELD_OUT = 10  # one of so many images decides which weights are kept
LEAST_IMAGES = 2 * _HELD_OUT
_CHECKS = 20  # how often they are looked at


def climb(
    prior,
    posterior: AggregatedPosterior,
    steps: int = 1000,
    learning_rate: float = 1e-3,
    batch_size: int = 256,
    seed: int = 0,
    progress: bool = False,
) -> float:
    """Raises the mean log p(z) over draws of the aggregated posterior by Adam.

    Every tenth image is held out; the weights with the highest log p(z) there are kept.

    Args:
      prior: with trainable weights.
      posterior: of at least 20 images.
      steps: of Adam; its rate falls to a twentieth as a cosine.
      learning_rate: at the start.
      batch_size: draws in a step.
      seed: of the draws.
      progress: whether a bar is shown.

    Returns:
      The mean log p(z) of the held-out images, nats.

    Raises:
      ValueError: too few images, or an argument outside its range.
      FloatingPointError: log p(z) is not finite.
    """
    checks.integer("steps", steps)
    checks.integer("batch_size", batch_size)
    posterior.check_count("a prior by gradient ascent", LEAST_IMAGES)
    held_out = np.arange(len(posterior)) % _HELD_OUT == 0
    known = posterior.subset(~held_out)
    test = tf.constant(
        posterior.subset(held_out).sample(4, np.random.default_rng([seed, 1])), tf.float32
    )
    rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.05)
    optimizer = keras.optimizers.Adam(rate)
    weights = prior.trainable_variables
    optimizer.build(weights)
    rng = np.random.default_rng([seed, 0])

    @tf.function
    def step(z):
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(prior.log_prob(z))
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    score = tf.function(lambda: tf.reduce_mean(prior.log_prob(test)))
    best, kept = float(score()), [w.numpy() for w in weights]
    every = max(steps // _CHECKS, 1)
    for i in tqdm(range(steps), desc="prior", unit="step", disable=not progress):
        rows = rng.integers(len(known), size=batch_size)
        noise = rng.standard_normal([batch_size, known.latent_dim])
        step(tf.constant(known.loc[rows] + known.stddev[rows] * noise, tf.float32))
        if (i + 1) % every and i + 1 < steps:
            continue
        found = float(score())
        if not np.isfinite(found):
            raise FloatingPointError(
                f"log p(z) of the prior is {found} after {i + 1} steps: a learning_rate below "
                f"{learning_rate:g}."
            )
        if found > best:
            best, kept = found, [w.numpy() for w in weights]
    for w, value in zip(weights, kept, strict=True):
        w.assign(value)
    return best
