"""Time and memory of forward and backward against rank, as a figure."""

from __future__ import annotations

from matplotlib.figure import Figure

from tf_structvae.benchmarks.problem import Problem

# Okabe and Ito's colours, which the colour-blind tell apart
_COLORS = {"ours": "#0072B2", "tfp_covariance": "#E69F00", "torch": "#CC79A7"}


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
