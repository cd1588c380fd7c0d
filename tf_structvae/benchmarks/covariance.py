"""How near each family of covariances comes to known ones, fitted alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from tf_structvae.benchmarks import truths
from tf_structvae.evaluation import proper_scores
from tf_structvae.utilities import markdown

FAMILIES = (
    "low rank, one noise variance",
    "low rank, noise of each pixel",
    "local",
    "low rank and local",
)
_RANK, _FEATURES, _BATCH = 5, 16, 128
_HELD_OUT, _OBSERVED, _DRAWS = 1024, 64, 100
_SCORES = {
    "log_prob": "log p / nats",
    "gap": "below the truth / nats",
    "covariance_error": "covariance error",
    "energy": "energy score / truth's",
    "variogram": "variogram score / truth's",
}


def _head(family: str) -> Any:
    from tf_structvae import layers

    if family == "local":
        return layers.LocalLowRankHead(1, 0)
    if family == "low rank and local":
        return layers.LocalLowRankHead(1, _RANK)
    noise = "per_channel" if family.endswith("variance") else "per_pixel"
    return layers.LowRankNormalHead(1, _RANK, noise=noise, standardize=True)


def measure(problem: dict) -> dict:
    """Fits a family to draws of a truth, and scores it on others.

    Args:
      problem: "truth", one of `truths.NAMES`; "family", one of `FAMILIES`; "network": whether two
        hidden layers see the condition, or the parameters of each pixel are free; "steps".

    Returns:
      The scores by name. `covariance_error` is |S - S*| / |S*|, Frobenius; the last two are means
      over observations of scores of 100 draws, over those of draws of the truth.
    """
    import keras
    import tensorflow as tf

    from tf_structvae.models.losses import NegativeLogLikelihood

    keras.utils.set_random_seed(0)
    truth, steps = truths.of(problem["truth"]), problem["steps"]
    space = truth.grid[:-1]
    inputs = max(truth.conditions, 1)
    hidden = [keras.layers.Dense(64, "relu") for _ in range(2)] if problem["network"] else []
    model = keras.Sequential(
        [
            keras.Input((inputs,)),
            *hidden,
            keras.layers.Dense(truth.size * _FEATURES),
            keras.layers.Reshape((*space, _FEATURES)),
            _head(problem["family"]),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(5e-3, steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=100.0), NegativeLogLikelihood())
    count = min(steps * _BATCH, 50_000)
    conditions, examples = _inputs(truth, count, seed=1)
    batches = tf.data.Dataset.from_tensor_slices((conditions, examples))
    batches = batches.shuffle(count, seed=0).repeat().batch(_BATCH, drop_remainder=True)
    model.fit(batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    return _scores(truth, model)


def _inputs(truth: truths.Truth, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    conditions, examples = truth.draw(count, seed)
    given = conditions if truth.conditions else np.ones([count, 1])
    return given.astype(np.float32), examples.astype(np.float32)


def _scores(truth: truths.Truth, model) -> dict[str, float]:
    conditions, examples = truth.draw(_HELD_OUT, seed=2)
    given, rounded = _inputs(truth, _HELD_OUT, seed=2)
    p = model(given)
    found = np.asarray(p.log_prob(rounded), np.float64)
    gap = truth.log_prob(conditions, examples) - found
    few = slice(0, _OBSERVED)
    means, covariances = truth.moments(conditions[few])
    q = model(given[few])
    own = np.asarray(q.covariance(), np.float64)
    error = np.linalg.norm(own - covariances, axis=(1, 2)) / np.linalg.norm(
        covariances, axis=(1, 2)
    )
    noise = np.random.default_rng(3).standard_normal([_DRAWS, *means.shape])

    def drawn(mean, covariance):
        root = np.linalg.cholesky(covariance)
        return mean + np.einsum("bnm,dbm->dbn", root, noise)

    of_model = drawn(np.asarray(q.mean(), np.float64), own)
    of_truth = drawn(means, covariances)
    x = examples[few]
    return {
        "log_prob": float(found.mean()),
        "log_prob_error": float(found.std() / np.sqrt(len(found))),
        "gap": float(gap.mean()),
        "gap_error": float(gap.std() / np.sqrt(len(gap))),
        "covariance_error": float(error.mean()),
        "energy": float(
            proper_scores.energy_score(of_model, x).mean()
            / proper_scores.energy_score(of_truth, x).mean()
        ),
        "variogram": float(
            proper_scores.variogram_score(of_model, x).mean()
            / proper_scores.variogram_score(of_truth, x).mean()
        ),
    }


def jobs(quick: bool) -> list[dict]:
    """Every family on every truth, through a network and, of constant truths, without one."""
    steps = 200 if quick else 2000
    names = truths.NAMES[:3] if quick else truths.NAMES
    return [
        {
            "suite": "covariance",
            "problem": {"truth": name, "family": family, "network": network, "steps": steps},
        }
        for name in names
        for network in (False, True)
        if network or not truths.of(name).conditions
        for family in FAMILIES
    ]


def table(results: list[dict]) -> str:
    """A Markdown table; the best of each truth and way of fitting is in bold."""
    best: dict[tuple, float] = {}
    for r in results:
        if "gap" in r:
            key = (r["problem"]["truth"], r["problem"]["network"])
            best[key] = min(r["gap"], best.get(key, np.inf))
    rows = []
    for r in results:
        p = r["problem"]
        head = [p["truth"], "network" if p["network"] else "free", p["family"]]
        if "error" in r:
            rows.append([*head, r["error"]])
            continue
        gap = f"{r['gap']:.2f} ± {r['gap_error']:.2f}"
        if r["gap"] == best[p["truth"], p["network"]]:
            gap = f"**{gap}**"
        log_prob = f"{r['log_prob']:.1f} ± {r['log_prob_error']:.1f}"
        rest = [f"{r[k]:.3f}" for k in ("covariance_error", "energy", "variogram")]
        rows.append([*head, log_prob, gap, *rest])
    return markdown.table(["truth", "parameters", "family", *_SCORES.values()], rows)
