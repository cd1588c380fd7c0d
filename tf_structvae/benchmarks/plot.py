"""Time, memory and errors beside other implementations, as figures."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from tf_structvae.benchmarks.problem import Problem

# Okabe and Ito's colours, which the colour-blind tell apart
_COLORS = {"ours": "#0072B2", "tfp_covariance": "#E69F00", "torch": "#CC79A7"}
_FORM_COLORS = {"subtractive form": "#D55E00", "float32 Gram matrix": "#009E73"}
_LEAST, _FAILED = 1e-4, 1e6  # nats: the ends of the axis of errors


def time_and_memory(results: list[dict]) -> Figure:
    """One bar an implementation for each rank and batch, both factors side by side."""
    rows = [
        (Problem(**r["problem"]), r)
        for r in results
        if r["operation"] == "gradients" and "seconds" in r and r["implementation"] in _COLORS
    ]
    rows = [(p, r) for p, r in rows if p.height == 218]
    groups = sorted({(r["through_features"], p.rank, p.batch) for p, r in rows})
    figure = Figure(figsize=(9, 3.6), dpi=150)
    axes = figure.subplots(1, 2)
    for axis, key, scale, label in (
        (axes[0], "seconds", 1e3, "time of log-prob and entropy, forward + backward / ms"),
        (axes[1], "peak_mb", 1, "peak memory of the process / MB"),
    ):
        for i, (name, color) in enumerate(_COLORS.items()):
            found = {
                (r["through_features"], p.rank, p.batch): r[key] * scale
                for p, r in rows
                if r["implementation"] == name
            }
            places = [g for g, group in enumerate(groups) if group in found]
            heights = [found[groups[g]] for g in places]
            axis.barh([g + 0.27 * (i - 1) for g in places], heights, 0.25, color=color, label=name)
        axis.set_yticks(range(len(groups)))
        names = [f"{'features' if t else 'dense P'}\nR={r}, B={b}" for t, r, b in groups]
        axis.set_yticklabels(names, fontsize=7)
        axis.invert_yaxis()
        axis.set_xlabel(label, fontsize=8)
        axis.tick_params(axis="x", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(fontsize=7, frameon=False)
    figure.suptitle("218 x 178 x 3, epsilon = 1e-5", fontsize=9)
    figure.tight_layout()
    return figure


def errors(found: dict[str, dict[str, list]]) -> Figure:
    """Errors in nats of log-density and entropy, a group a factor; a cross where there is none.

    Args:
      found: from `accuracy.errors`.
    """
    colors = {**_COLORS, **_FORM_COLORS}
    shown = [k for k in colors if all(row[k][0] != "not installed" for row in found.values())]
    figure = Figure(figsize=(9, 4.2), dpi=150)
    axes = figure.subplots(1, 2, sharey=True)
    for axis, which, label in ((axes[0], 0, "log-density"), (axes[1], 1, "entropy")):
        axis.axvline(190, color="0.6", lw=1, ls=":")
        axis.text(190, -0.62, "190 nats", fontsize=6.5, color="0.4", ha="center")
        for i, name in enumerate(shown):
            for g, row in enumerate(found.values()):
                y = g + 0.16 * (i - (len(shown) - 1) / 2)
                error = row[name][which]
                if isinstance(error, str) or not math.isfinite(error):
                    axis.plot(_FAILED / 2, y, "x", color=colors[name], ms=5, mew=1.5)
                else:
                    width = max(error, 1.1 * _LEAST) - _LEAST
                    axis.barh(y, width, 0.14, left=_LEAST, color=colors[name])
        axis.set_xscale("log")
        axis.set_xlim(_LEAST, _FAILED)
        axis.set_xlabel(
            f"error of the {label} / nats; x: not finite, or no factorisation", fontsize=8
        )
        axis.tick_params(axis="x", labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(found)))
    axes[0].set_yticklabels(list(found), fontsize=7.5)
    axes[0].invert_yaxis()
    for name in shown:
        axes[1].barh(0, 0, color=colors[name], label=name)
    axes[1].legend(fontsize=7, frameon=False, loc="upper right", bbox_to_anchor=(1, 0.97))
    figure.suptitle("float32 against float64: 218 x 178 x 3, rank 25, epsilon = 1e-5", fontsize=9)
    figure.tight_layout()
    return figure
