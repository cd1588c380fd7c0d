"""Whether the rows of Table 1 come out in the paper's order."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tf_structvae.utilities import markdown

CLAIMS = (
    ("ours (samples)", "standard (means)"),
    ("ours (samples)", "standard (samples)"),
    ("ours (samples)", "ours (means)"),
    ("standard (means)", "standard (samples)"),
    ("ours (means)", "standard (samples)"),
)


def claims(
    ours: Mapping[str, Any], standard: Mapping[str, Any]
) -> dict[tuple[str, str], tuple[float, float]]:
    """For each of `CLAIMS` the ratio of the two distances, and how sure it is to be below one.

    Args:
      ours: {"means" | "samples": scores}, see `collection.distance`.
      standard: likewise.

    Returns:
      (left / right, (right - left) / its standard error). The two errors are added as if they were
      independent; the data's part, which both share, makes that too large rather than too small.
    """
    rows = {f"ours ({k})": v for k, v in ours.items()}
    rows |= {f"standard ({k})": v for k, v in standard.items()}
    found = {}
    for left, right in CLAIMS:
        a, b = rows[left]["relative"], rows[right]["relative"]
        error = math.hypot(a["standard_error"] or 0.0, b["standard_error"] or 0.0)
        gap = b["value"] - a["value"]
        sure = gap / error if error else math.copysign(math.inf, gap)
        found[left, right] = (a["value"] / b["value"], sure)
    return found


def report(evaluation: Mapping[str, Any]) -> str:
    """Each of `CLAIMS` for each recipe, seed by seed, as Markdown tables.

    Args:
      evaluation: what bin/evaluate writes as JSON.
    """
    parts = [
        "Distance of the first over that of the second, for each seed; below 1 the paper's order "
        "holds. In brackets their difference in standard errors (bootstrap over images)."
    ]
    for data, group in evaluation["data_sets"].items():
        for features in evaluation["titles"]:
            parts.append(_table(f"{data}, {features}", group["models"], features))
    return "\n\n".join(parts)


def _table(heading: str, models: Mapping[str, Any], features: str) -> str:
    standard = {m["seed"]: m for m in models.values() if _is_standard(m)}
    recipes = list(dict.fromkeys(m["recipe"] for m in models.values() if not _is_standard(m)))
    rows = []
    for left, right in CLAIMS:
        cells = []
        for recipe in recipes:
            own = [m for m in models.values() if m["recipe"] == recipe and m["seed"] in standard]
            found = [
                claims(m["distances"][features], standard[m["seed"]]["distances"][features])
                for m in own
            ]
            cells.append(", ".join(_cell(*f[left, right]) for f in found) or "-")
        rows.append([f"{left} < {right}", *cells])
    return markdown.table([heading, *recipes], rows)


def _is_standard(model: Mapping[str, Any]) -> bool:
    return model["recipe"].startswith("Standard")


def _cell(ratio: float, sure: float) -> str:
    return f"{ratio:.2f} ({sure:+.0f})"
