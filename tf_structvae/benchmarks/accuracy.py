"""Errors in float32 against float64 on the same numbers, for our class and the stock ones."""

from __future__ import annotations

import numpy as np

from tf_structvae.benchmarks.problem import Problem
from tf_structvae.utilities import markdown


def factors(n: int, rank: int) -> dict[str, np.ndarray]:
    """Named factors P [N, R], float32, from the paper's initialisation to rank-deficient."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(n, rank)))[0]
    turn = np.linalg.qr(rng.normal(size=(rank, rank)))[0]

    def singular(squares):
        return (basis * np.sqrt(squares)) @ turn

    parallel = 0.05 * rng.normal(size=(n, rank))
    parallel[:, 3] = parallel[:, 4] = parallel[:, 5]
    parallel[:, 6:9] = 0
    found = {
        "1e-5 (initial)": 1e-5 * rng.normal(size=(n, rank)),
        "singular values^2 1000 to 1": singular(np.geomspace(1000, 1, rank)),
        "singular values^2 1000 to 1e-6": singular(np.geomspace(1000, 1e-6, rank)),
        "entries of order 1": rng.normal(size=(n, rank)),
        "parallel and zero columns": parallel,
    }
    return {k: v.astype(np.float32) for k, v in found.items()}


def exact(loc, factor, x, epsilon: float) -> tuple[float, float]:
    """log-density and entropy in float64, nats."""
    loc, p, x = (np.asarray(v, np.float64) for v in (loc, factor, x))
    n, rank = p.shape
    m = epsilon * np.eye(rank) + p.T @ p
    c = np.linalg.solve(m, p.T @ (x - loc))
    form = np.sum((x - loc - p @ c) ** 2) / epsilon + c @ c
    log_det = (n - rank) * np.log(epsilon) + np.linalg.slogdet(m)[1]
    log_2pi = np.log(2 * np.pi)
    return -0.5 * (n * log_2pi + log_det + form), 0.5 * (n * (1 + log_2pi) + log_det)


def _ours(loc, factor, epsilon, x):
    from tf_structvae.distributions import LowRankMultivariateNormal

    d = LowRankMultivariateNormal(loc, factor, np.float32(epsilon))
    return float(d.log_prob(x)), float(d.entropy())


def _tfp(loc, factor, epsilon, x):
    import tensorflow as tf
    import tensorflow_probability as tfp

    diag = tf.fill(loc.shape, np.float32(epsilon))
    d = tfp.distributions.MultivariateNormalDiagPlusLowRankCovariance(loc, diag, factor)
    return float(d.log_prob(x)), float(d.entropy())


def _torch(loc, factor, epsilon, x):
    import torch

    loc, factor, x = (torch.tensor(v) for v in (loc, factor, x))
    diag = torch.full(loc.shape, epsilon)
    d = torch.distributions.LowRankMultivariateNormal(loc, factor, diag, validate_args=False)
    return float(d.log_prob(x)), float(d.entropy())


def _subtractive(loc, factor, epsilon, x):
    """r^T r / eps - (P^T r)^T M^-1 (P^T r) / eps, as the Woodbury identity is mostly written."""
    from tf_structvae.distributions import linalg

    r = x - loc
    m = np.float64(epsilon) * np.eye(factor.shape[1]) + linalg.exact_gram(factor).numpy()
    projected = (factor.T @ r).astype(np.float64)
    explained = np.float32(projected @ np.linalg.solve(m, projected)) / np.float32(epsilon)
    form = np.float32(r @ r) / np.float32(epsilon) - explained
    return _assemble(form, m, len(r), epsilon)


def _plain_gram(loc, factor, epsilon, x):
    """The residual form with all products and the factorisation in float32."""
    r = x - loc
    m = np.float32(epsilon) * np.eye(factor.shape[1], dtype=np.float32) + factor.T @ factor
    np.linalg.cholesky(m)  # which a float32 implementation would need
    c = np.linalg.solve(m, factor.T @ r)
    form = np.sum((r - factor @ c) ** 2) / np.float32(epsilon) + c @ c
    return _assemble(form, m, len(r), epsilon)


def _assemble(form, m, n: int, epsilon: float) -> tuple[float, float]:
    """log-density and entropy from the quadratic form and M, summed in float64."""
    log_det = (n - len(m)) * np.log(epsilon) + np.linalg.slogdet(m)[1]
    log_2pi = np.log(2 * np.pi)
    return float(-0.5 * (n * log_2pi + log_det + form)), float(0.5 * (n * (1 + log_2pi) + log_det))


CLASSES = {"ours": _ours, "tfp_covariance": _tfp, "torch": _torch}
# what ours does otherwise, one at a time
FORMS = {"subtractive form": _subtractive, "float32 Gram matrix": _plain_gram}

Errors = dict[str, dict[str, list[float | str]]]


def errors() -> Errors:
    """Absolute errors in nats of log-density (in-model x) and entropy, float32 against float64.

    Returns:
      By factor, and then by implementation: the two errors, or twice why there are none.
    """
    problem = Problem(batch=1)
    epsilon = float(np.float32(problem.epsilon))
    rng = np.random.default_rng(1)
    loc = rng.uniform(size=problem.entries).astype(np.float32)
    found: Errors = {}
    for name, factor in factors(problem.entries, problem.rank).items():
        noise = rng.normal(size=problem.rank), rng.normal(size=problem.entries)
        x = (loc + factor @ noise[0] + np.sqrt(epsilon) * noise[1]).astype(np.float32)
        truth = exact(loc, factor, x, epsilon)
        found[name] = {
            k: _errors(evaluate, truth, loc, factor, epsilon, x)
            for k, evaluate in {**CLASSES, **FORMS}.items()
        }
    return found


def _errors(evaluate, truth, *numbers) -> list[float | str]:
    try:
        return [abs(g - t) for g, t in zip(evaluate(*numbers), truth, strict=True)]
    except ImportError:
        return ["not installed"] * 2
    except Exception as error:  # a failed factorisation is what is to be shown
        return [type(error).__name__] * 2


def table(found: Errors) -> str:
    """`errors` as a Markdown table."""
    problem = Problem(batch=1)
    names = [*CLASSES, *FORMS]
    titles = [
        f"P (N = {problem.entries}, R = {problem.rank}, epsilon = {problem.epsilon:g})",
        *(f"{name}: {part}" for name in names for part in ("log p", "entropy")),
    ]
    rows = [
        [factor, *(e if isinstance(e, str) else f"{e:.2g}" for name in names for e in row[name])]
        for factor, row in found.items()
    ]
    return markdown.table(titles, rows)
