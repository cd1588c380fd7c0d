"""One operation of one implementation, as a function of no arguments that does it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_structvae.benchmarks.problem import Problem

OPERATIONS = ("gradients", "sample", "condition", "pixel_influence")


def ours(problem: Problem, operation: str, through_features: bool) -> Callable:
    import tensorflow as tf

    from tf_structvae.distributions import (
        FeatureLowRankMultivariateNormal,
        LowRankMultivariateNormal,
    )

    arrays = problem.arrays()
    epsilon = tf.constant([problem.epsilon])
    cls: Any
    if through_features:
        parameters = [tf.constant(arrays[k]) for k in ("features", "kernel")]
        cls = FeatureLowRankMultivariateNormal
    else:
        parameters = [tf.constant(problem.factor(arrays))]
        cls = LowRankMultivariateNormal
    loc, x, mask = (tf.constant(v) for v in (arrays["loc"], arrays["x"], problem.mask()))
    del arrays

    def make():
        return cls(loc, *parameters, epsilon)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([loc, *parameters])
            s = cls(loc, *parameters, epsilon).summarize(x)
            total = tf.reduce_sum(s.log_prob) + tf.reduce_sum(s.entropy)
        return tape.gradient(total, [loc, *parameters])

    operations = {
        "gradients": gradients,
        "sample": lambda: make().sample(seed=(0, 1)),
        "condition": lambda: make().condition(mask, x).mean(),
        "pixel_influence": lambda: make().pixel_influence(),
    }
    return tf.function(operations[operation])


def local(problem: Problem, operation: str, through_features: bool) -> Callable | None:
    """The same P with a local precision in the place of D, as a trained head emits it."""
    import tensorflow as tf

    from tf_structvae.distributions import FeatureLocalLowRankNormal

    if not through_features or operation == "pixel_influence":
        return None
    arrays, rng = problem.arrays(), np.random.default_rng(1)
    grid = (problem.height, problem.width, problem.channels)
    w = rng.uniform(size=(problem.batch, *grid[:2], 1, 4, 1))
    parameters = {
        "loc": arrays["loc"],
        "scale": np.full([problem.batch, problem.entries], problem.epsilon**0.5),
        "features": arrays["features"],
        "kernel": arrays["kernel"],
        "neighbours": 0.9 * w / w.sum(-2, keepdims=True),
        "channels": 0.3 * rng.standard_normal((problem.batch, *grid, problem.channels)),
    }
    tensors = {k: tf.constant(v, tf.float32) for k, v in parameters.items()}
    x, mask = tf.constant(arrays["x"]), tf.constant(problem.mask())
    del arrays, parameters

    def make(**given):
        return FeatureLocalLowRankNormal(grid=grid, **given)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            p = make(**tensors)
            p.fused = True
            s = p.summarize(x)
            total = tf.reduce_sum(s.log_prob) + tf.reduce_sum(s.entropy)
        return list(tape.gradient(total, tensors).values())

    operations = {
        "gradients": gradients,
        "sample": lambda: make(**tensors).sample(seed=(0, 1)),
        "condition": lambda: make(**tensors).condition(mask, x).mean(),
    }
    return tf.function(operations[operation])


def tfp_covariance(problem: Problem, operation: str, through_features: bool) -> Callable | None:
    """`tfd.MultivariateNormalDiagPlusLowRankCovariance`, TFP's class for this covariance."""
    import tensorflow as tf
    import tensorflow_probability as tfp

    arrays = problem.arrays()
    keys = ("features", "kernel") if through_features else ()
    parameters = [tf.constant(arrays[k]) for k in keys] or [tf.constant(problem.factor(arrays))]
    loc, x = tf.constant(arrays["loc"]), tf.constant(arrays["x"])
    diag = tf.fill([problem.entries], problem.epsilon)
    del arrays

    def make(loc, *parameters):
        if through_features:
            h, w = parameters
            p = tf.reshape(tf.einsum("bsf,fcr->bscr", h, w), [*loc.shape, problem.rank])
        else:
            (p,) = parameters
        return tfp.distributions.MultivariateNormalDiagPlusLowRankCovariance(loc, diag, p)

    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([loc, *parameters])
            d = make(loc, *parameters)
            total = tf.reduce_sum(d.log_prob(x)) + tf.reduce_sum(d.entropy())
        return tape.gradient(total, [loc, *parameters])

    operations = {
        "gradients": gradients,
        "sample": lambda: make(loc, *parameters).sample(seed=(0, 1)),
    }
    return tf.function(operations[operation]) if operation in operations else None


def torch(problem: Problem, operation: str, through_features: bool) -> Callable | None:
    """`torch.distributions.LowRankMultivariateNormal`."""
    import torch

    arrays = problem.arrays()
    keys = ("features", "kernel") if through_features else ()
    parameters = [torch.tensor(arrays[k], requires_grad=True) for k in keys]
    parameters = parameters or [torch.tensor(problem.factor(arrays), requires_grad=True)]
    loc = torch.tensor(arrays["loc"], requires_grad=True)
    x = torch.tensor(arrays["x"])
    diag = torch.full((problem.batch, problem.entries), problem.epsilon)
    del arrays

    def make():
        if through_features:
            p = torch.einsum("bsf,fcr->bscr", *parameters).reshape(*loc.shape, problem.rank)
        else:
            (p,) = parameters
        return torch.distributions.LowRankMultivariateNormal(loc, p, diag, validate_args=False)

    def gradients():
        d = make()
        total = d.log_prob(x).sum() + d.entropy().sum()
        return torch.autograd.grad(total, [loc, *parameters])

    operations = {"gradients": gradients, "sample": lambda: make().rsample()}
    return operations.get(operation)


def dense_formula(problem: Problem, operation: str, through_features: bool) -> Callable | None:
    """Eq. 6 as it is written, left to right, with Sigma_12 and Sigma_22 in full."""
    if operation != "condition" or through_features:
        return None
    arrays = problem.arrays()
    p = problem.factor(arrays)[0]
    observed = problem.mask()
    loc, x = arrays["loc"][0], arrays["x"][0]

    def condition():
        p_o = p[observed]
        sigma_22 = p_o @ p_o.T + np.float32(problem.epsilon) * np.eye(len(p_o), dtype=np.float32)
        sigma_12 = p[~observed] @ p_o.T
        return loc[~observed] + sigma_12 @ np.linalg.inv(sigma_22) @ (x - loc)[observed]

    return condition


IMPLEMENTATIONS = {
    "ours": ours,
    "low rank and local": local,
    "tfp_covariance": tfp_covariance,
    "torch": torch,
    "dense_formula": dense_formula,
}
