"""Table 1 as bars. Nothing here shows or saves a figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_structvae.evaluation.table import is_fid

# Okabe and Ito's colours, which the colour-blind tell apart
_COLORS = {"means": "#E69F00", "samples": "#0072B2", "noisy_samples": "#56B4E9"}
_LABELS = {"means": "means", "samples": "samples", "noisy_samples": "samples + pixel noise"}


def table1(results: Mapping[str, Mapping[str, Mapping[str, Any]]], titles: Mapping[str, str]):
    """Frechet distances as bars with intervals of two standard errors.

    Args:
      results: for each data set and label, {features: {kind: scores}}, see `collection.distance`.
      titles: for each features, "FID" or the name of what is no FID.

    Returns:
      A Figure with a row a data set and a column a kind of features.
    """
    height = sum(0.9 + 0.62 * len(models) for models in results.values())
    figure = Figure(figsize=(2.2 + 3.6 * len(titles), 0.75 + height), dpi=150, layout="constrained")
    axes = figure.subplots(
        len(results),
        len(titles),
        squeeze=False,
        sharey="row",
        height_ratios=[0.9 + 0.62 * len(models) for models in results.values()],
    )
    for row, (data_name, models) in zip(axes, results.items(), strict=True):
        for axis, (features, title) in zip(row, titles.items(), strict=True):
            _bars(axis, {label: found[features] for label, found in models.items()}, title)
            axis.set_title(f"{data_name}: {features}", fontsize=9)
    handles = {h.get_label(): h for axis in axes.flat for h in axis.containers if h.get_label()}
    drawn = [name for name in _LABELS.values() if name in handles]
    figure.legend(
        [handles[n] for n in drawn], drawn, loc="outside lower center", ncols=3, fontsize=8
    )
    figure.suptitle("Lower is nearer to the data; intervals are two standard errors", fontsize=9)
    return figure


def _bars(axis: Axes, models: Mapping[str, Mapping[str, Any]], title: str) -> None:
    key = "frechet" if is_fid(title) else "relative"
    for i, kind in enumerate(_COLORS):
        having = [(m, found[kind][key]) for m, found in enumerate(models.values()) if kind in found]
        if having:
            axis.barh(
                [m + 0.27 * (i - 1) for m, _ in having],
                [saved["value"] for _, saved in having],
                0.25,
                xerr=[2 * (saved["standard_error"] or 0.0) for _, saved in having],
                color=_COLORS[kind],
                label=_LABELS[kind],
                error_kw={"lw": 1, "capsize": 2},
            )
    axis.set_yticks(range(len(models)), list(models), fontsize=8)
    axis.set_ylim(len(models) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.set_xlabel(title if is_fid(title) else f"{title}, part of the data's variance", fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
