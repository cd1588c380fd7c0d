"""The trained normal beside the closed form and PCA: numbers, tables and files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_structvae.evaluation.heldout import Estimate
from tf_structvae.studies.density import figure
from tf_structvae.studies.density.closed_form import principal_angles
from tf_structvae.studies.density.fit import Fit
from tf_structvae.utilities import markdown
from tf_structvae.utilities.files import save_figure, whole, write_whole

__all__ = ["Fit", "angles", "log_probs", "numbers", "table", "write"]

_LEADING = 10  # components whose subspaces are compared


def log_probs(fits: Mapping[str, Fit], batches: Iterable) -> dict[str, np.ndarray]:
    """Log-density of each image under each fit, nats, [n] in float64.

    Args:
      fits: by name.
      batches: images [B, H, W, C], read once.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in fits}
    for x in batches:
        flat = np.reshape(np.asarray(x, np.float64), [len(x), -1])
        for name, fit in fits.items():
            found[name].append(fit.distribution.log_prob(flat).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def angles(a: Fit, b: Fit) -> dict[int, float]:
    """Largest principal angle of the subspaces of the leading k components, degrees, by k.

    For k = 1..10, as far as there are as many, and for all. Components without variance have no
    direction, and their subspaces are left out.

    Args:
      a: a fit.
      b: another.
    """
    rank = min(int(np.sum(np.any(fit.directions != 0, axis=0))) for fit in (a, b))
    sizes = [*range(1, min(rank, _LEADING) + 1), *([rank] if rank > _LEADING else [])]
    return {k: float(principal_angles(a.directions[:, :k], b.directions[:, :k])[0]) for k in sizes}


def numbers(fits: Mapping[str, Fit], log_prob: Mapping[str, np.ndarray]) -> dict:
    """All that is reported of several fits, the first of which is compared with the others.

    Args:
      fits: by name.
      log_prob: from `log_probs`.

    Returns:
      Log-probs with their standard errors, paired differences of the first to the others, angles
      between each two, noise variances, entropies above the noise's (nats per image), seconds.
    """
    first, *others = fits
    pairs = [(a, b) for i, a in enumerate(fits) for b in list(fits)[i + 1 :]]
    gaps = {}
    for name in others:
        gap = Estimate.of(log_prob[first] - log_prob[name])
        relative = gap.value / abs(float(np.mean(log_prob[name])))
        gaps[name] = {**_json(gap), "relative": relative}
    return {
        "images": len(log_prob[first]),
        "fits": {name: _describe(fit, log_prob[name]) for name, fit in fits.items()},
        "difference": gaps,
        "angles": {f"{a} - {b}": angles(fits[a], fits[b]) for a, b in pairs},
    }


def _json(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "standard_error": estimate.error}


def _describe(fit: Fit, log_prob: np.ndarray) -> dict:
    p = fit.distribution
    return {
        "log_prob": _json(Estimate.of(log_prob)),
        "noise_variance": float(tf.reshape(p.cov_diag, [])),
        "entropy_above_floor": float(p.entropy() - p.entropy_floor()),
        "seconds": fit.seconds,
    }


def table(found: Mapping) -> str:
    """`numbers` as two Markdown tables.

    Args:
      found: from `numbers`.
    """
    first = next(iter(found["fits"]))
    rows = []
    for name, fit in found["fits"].items():
        gap = found["difference"].get(name)
        difference, part = "", ""
        if gap is not None:
            difference, part = _text(gap), f"{gap['relative']:+.4%}"
        shown = (f"{fit['noise_variance']:.4g}", f"{fit['entropy_above_floor']:.2f}")
        log_prob = _text(fit["log_prob"])
        rows.append([name, log_prob, difference, part, *shown, f"{fit['seconds']:.0f}"])
    titles = (
        f"|held-out log p, nats per image|{first} minus this|of it|noise variance|"
        "entropy above the noise's|seconds"
    )
    sizes = list(next(iter(found["angles"].values())))
    angle_rows = [
        [pair, *(f"{by_size[k]:.2f}" if k in by_size else "-" for k in sizes)]
        for pair, by_size in found["angles"].items()
    ]
    angle_titles = ["largest angle of the leading, degrees", *sizes]
    return "\n\n".join(
        [markdown.table(titles.split("|"), rows), markdown.table(angle_titles, angle_rows)]
    )


def _text(estimate: Mapping[str, float]) -> str:
    return str(Estimate(estimate["value"], estimate["standard_error"]))


def write(
    directory: Path,
    fits: Mapping[str, Fit],
    found: Mapping,
    image_shape: tuple[int, int, int],
    title: str,
) -> Sequence[Path]:
    """density.json, density.md, density.png, and the first fit's parameters as density.npz.

    Args:
      directory: made if it is not there.
      fits: by name.
      found: from `numbers`.
      image_shape: (H, W, C).
      title: of the figure.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"density.{kind}" for kind in ("json", "md", "png", "npz")]
    write_whole(paths[0], json.dumps(found, indent=2) + "\n")
    write_whole(paths[1], f"{title}\n\n{table(found)}\n")
    save_figure(figure.figure(fits, image_shape, title), paths[2])
    p = next(iter(fits.values())).distribution
    loc, factor, diag = (np.asarray(v, np.float32) for v in (p.loc, p.cov_factor, p.cov_diag))
    with whole(paths[3]) as partial:
        np.savez(partial, loc=loc, cov_factor=factor, cov_diag=diag)
    return paths
