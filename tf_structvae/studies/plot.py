"""Table 1 as a picture. Nothing here shows or saves a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_structvae.studies.table import is_fid

# Okabe and Ito's colours, which the colour-blind tell apart
_COLORS = {"means": "#E69F00", "samples": "#0072B2", "noisy_samples": "#56B4E9"}
_MARKERS = {"means": "s", "samples": "o", "noisy_samples": "D"}
_FLOOR = "other images of the data"
_LABELS = {"means": "means", "samples": "samples", "noisy_samples": "samples + pixel noise"}


def table1(
    results: Mapping[str, Mapping[str, Mapping[str, Any]]],
    titles: Mapping[str, str],
    floors: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> Figure:
    """Frechet distances as points with intervals of two standard errors, on a scale of ratios.

    Args:
      results: for each data set and label, {features: {kind: scores}}, see `collection.distance`.
      titles: for each features, "FID" or the name of what is no FID.
      floors: for each data set the same of the data themselves, a dashed line.

    Returns:
      A Figure with a row a data set and a column a kind of features.
    """
    heights = [0.9 + 0.42 * len(models) for models in results.values()]
    figure = Figure(
        figsize=(2.6 + 3.6 * len(titles), 0.75 + sum(heights)), dpi=150, layout="constrained"
    )
    axes = figure.subplots(
        len(results), len(titles), squeeze=False, sharey="row", height_ratios=heights
    )
    for row, (data_name, models) in zip(axes, results.items(), strict=True):
        for axis, (features, title) in zip(row, titles.items(), strict=True):
            _points(axis, {label: found[features] for label, found in models.items()}, title)
            axis.set_title(f"{data_name}: {features}", fontsize=9)
            for scores in (floors or {}).get(data_name, {}).get(features, {}).values():
                found = max(scores[_key(title)]["value"], 0.0)
                axis.axvline(found, color="0.5", lw=1, ls="--", label=_FLOOR)
            if axis.dataLim.minposx == axis.dataLim.xmin:  # nothing at or below zero
                axis.set_xscale("log")
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    drawn = [name for name in (*_LABELS.values(), _FLOOR) if name in handles]
    figure.legend(
        [handles[n] for n in drawn], drawn, loc="outside lower center", ncols=4, fontsize=8
    )
    figure.suptitle("Lower is nearer to the data; intervals are two standard errors", fontsize=9)
    return figure


def _key(title: str) -> str:
    return "frechet" if is_fid(title) else "relative"


def _points(axis: Axes, models: Mapping[str, Mapping[str, Any]], title: str) -> None:
    key = _key(title)
    for i, (kind, colour) in enumerate(_COLORS.items()):
        having = [(m, found[kind][key]) for m, found in enumerate(models.values()) if kind in found]
        if having:
            values = [saved["value"] for _, saved in having]
            errors = [2 * (saved["standard_error"] or 0.0) for _, saved in having]
            # an interval that reaches zero would leave a scale of ratios
            below = [min(e, 0.999 * abs(v)) for v, e in zip(values, errors, strict=True)]
            axis.errorbar(
                values,
                [m + 0.22 * (i - 1) for m, _ in having],
                xerr=[below, errors],
                fmt=_MARKERS[kind],
                color=colour,
                ms=5,
                lw=1.2,
                capsize=2.5,
                label=_LABELS[kind],
            )
    axis.set_yticks(range(len(models)), list(models), fontsize=8)
    axis.set_ylim(len(models) - 0.5, -0.5)
    axis.set_xlabel(title if is_fid(title) else f"{title}, part of the data's variance", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", color="0.9", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
