"""Problems of the paper's size, and how exactly they are solved."""

import numpy as np
import reference
import tensorflow as tf

from tf_structvae.distributions import (
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)

PIXELS, CHANNELS, RANK, EPSILON = 218 * 178, 3, 25, np.float32(1e-5)


N = PIXELS * CHANNELS


def with_singular_values(squares, rng, n=N):
    q = np.linalg.qr(rng.normal(size=(n, len(squares))))[0]
    v = np.linalg.qr(rng.normal(size=(len(squares), len(squares))))[0]
    return (q * np.sqrt(squares)) @ v


def relative(got, exact):
    return np.linalg.norm(np.asarray(got, np.float64) - exact) / np.linalg.norm(exact)


def errors(make, parameters, factor, loc, rng, gradient_of):
    """log_prob in and off the model, entropy, and gradients of one distribution.

    Yields:
      What was measured, its error against float64 and the tolerance of that error.
    """
    exact = reference.Capacitance(loc, factor, EPSILON)
    noise = rng.normal(size=factor.shape[1]), rng.normal(size=len(loc))
    inside = (loc + factor @ noise[0] + np.sqrt(EPSILON) * noise[1]).astype(np.float32)
    outside = rng.uniform(size=len(loc)).astype(np.float32)
    off_tolerance = 1e-6 * abs(exact.log_prob(outside))
    for where, x, tolerance in (("in", inside, 0.1), ("off", outside, off_tolerance)):
        tensors = [tf.constant(p) for p in parameters]
        tx = tf.constant(x)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([tx, *tensors])
            d = make(*tensors)
            log_prob, entropy = d.log_prob(tx), d.entropy()
        yield f"log_prob {where}", abs(float(log_prob) - exact.log_prob(x)), tolerance
        yield "entropy", abs(float(entropy) - exact.entropy), 0.1
        by_x, by_p, entropy_by_p = exact.gradients(x)
        yield f"log_prob {where} by x", relative(tape.gradient(log_prob, tx), by_x), 1e-3
        for name, value, expected in (
            (f"log_prob {where}", log_prob, by_p),
            ("entropy", entropy, entropy_by_p),
        ):
            gradients = tape.gradient(value, tensors)
            for i, (got, wanted) in enumerate(zip(gradients, gradient_of(expected), strict=True)):
                yield f"{name} by parameter {i}", relative(got, wanted), 1e-3


def check(*problem):
    for name, error, tolerance in errors(*problem):
        assert error < tolerance, name


def dense_problem(factor, loc, rng):
    """Arguments of `errors` for P [N, R] and loc [N], float32."""
    return (
        lambda p: LowRankMultivariateNormal(loc, p, EPSILON),
        [factor],
        factor.astype(np.float64),
        loc.astype(np.float64),
        rng,
        lambda g: [g],
    )


def features_problem(features, kernel, loc, rng):
    """Arguments of `errors` for features [S, F], kernel [F, C, R] and loc [S * C], float32."""
    h, w = features.astype(np.float64), kernel.astype(np.float64)

    def by_product(g):
        g = g.reshape(len(h), *w.shape[1:])
        return [
            np.einsum("scr,fcr->sf", g, w, optimize=True),
            np.einsum("sf,scr->fcr", h, g, optimize=True),
        ]

    return (
        lambda f, k: FeatureLowRankMultivariateNormal(loc, f, k, EPSILON),
        [features, kernel],
        reference.dense_factor(h, w),
        loc.astype(np.float64),
        rng,
        by_product,
    )
