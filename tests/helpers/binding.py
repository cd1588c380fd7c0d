"""Constraints that bind from the first step: where they do not, equal multipliers are zeros."""

import numpy as np

from tf_structvae.models.constraints import Constraint


def constraints(entropy_target):
    """On both quantities of the paper, from below what a new model has, with a moving target.

    Args:
      entropy_target: below the entropy of the model, nats per image.
    """
    return [
        Constraint("kl", 0.02, rate=0.5, damping=2.0, initial_target=0.01, ramp_updates=20),
        Constraint("entropy", entropy_target, rate=0.1, damping=0.5),
    ]


def config(c):
    """A config of an experiment, changed so that constraints on both quantities bind likewise."""
    c.objective.kl_target, c.objective.kl_start = 0.02, 0.01
    c.objective.entropy_budget, c.objective.entropy_budget_start = 1.0, 0.5
    c.objective.ramp_steps = 20
    return c


def multipliers(values):
    """Of both constraints among the values of variables by their path, all above zero."""
    found = {path: float(v) for path, v in values.items() if path.endswith("multiplier")}
    assert len(found) == 2, found
    assert all(v > 1e-3 for v in found.values()), found
    return found


def state(experiment):
    """Every variable of an experiment's model and optimiser by its path, multipliers above zero."""
    model = experiment.model
    values = {v.path: v.numpy() for v in [*model.variables, *model.optimizer.variables]}
    multipliers(values)
    updates = [v for path, v in values.items() if path.endswith("updates")]
    assert len(updates) == 2
    assert all(0 < n <= experiment.step for n in updates)
    return values


def assert_same_state(a, b):
    """Two experiments end bit for bit at the same state, in which constraints bind."""
    a, b = state(a), state(b)
    for (path, value), other in zip(a.items(), b.values(), strict=True):
        np.testing.assert_array_equal(other, value, err_msg=path)
