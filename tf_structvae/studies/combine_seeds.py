"""Runs that differ in their seed alone, taken together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tf_structvae.evaluation.estimate import Estimate


def combine(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Results with one entry for all runs of a recipe.

    An estimate becomes the mean over the seeds with the standard error of that mean, s / sqrt(n)
    for n seeds of standard deviation s. It holds what differs from run to run, the draws from the
    prior included, but not which images the distances are to: those are the same for all.

    Args:
      models: for each label its results, with "recipe" (what the runs of one recipe share), "seed",
        "estimates" and "distances"; see `evaluate`.

    Returns:
      For each recipe, under the label of its first run or, of several, that label's recipe and the
      number of seeds: "estimates", "distances" and "seeds". A recipe with one run is as it was.
    """
    recipes: dict[str, list[str]] = {}
    for label, found in models.items():
        recipes.setdefault(found["recipe"], []).append(label)
    combined = {}
    for recipe, labels in recipes.items():
        own = [models[label] for label in labels]
        if len(own) == 1:
            combined[labels[0]] = {**own[0], "seeds": [own[0]["seed"]]}
            continue
        parts = {k: _mean([m[k] for m in own]) for k in ("estimates", "distances")}
        seeds = [m["seed"] for m in own]
        combined[f"{recipe}, {len(own)} seeds"] = {**own[0], **parts, "seeds": seeds}
    return combined


def _mean(found: Sequence[Any]) -> Any:
    """Of nested dicts of estimates and numbers; what only some of them have is left out."""
    first = found[0]
    if not isinstance(first, Mapping):
        return float(np.mean(found)) if None not in found else None
    if set(first) == {"value", "standard_error"}:
        values = [math.nan if e["value"] is None else e["value"] for e in found]
        return Estimate.of(np.array(values)).as_json()
    return {k: _mean([f[k] for f in found]) for k in first if all(k in f for f in found)}
