"""Results of `evaluation` as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_structvae.evaluation.estimate import Estimate
from tf_structvae.utilities import markdown

KIND_NAMES = {
    "means": "means",
    "samples": "samples",
    "noisy_samples": "samples with the noise of every pixel",
}
# what each measure is, in the order of the table
MEASURES = {
    "elbo": "ELBO / nats",
    "elbo_bits": "ELBO / bits per dimension",
    "log_likelihood": "log p(x), importance-weighted / nats",
    "log_likelihood_bits": "log p(x), importance-weighted / bits per dimension",
    "importance_gain": "its gain over the ELBO of the same images / nats",
    "importance_effective_samples": "effective importance samples",
    "log_prob": "log p(x given z) / nats",
    "log_prob_bits": "log p(x given z) / bits per dimension",
    "kl": "KL / nats",
    "prior_mismatch": "its part from a prior that does not fit, at least / nats",
    "mutual_information": "its part from information about the image, at most / nats",
    "mutual_information_found": "information that tells one of these images from the others / nats",
    "entropy": "entropy of p(x given z) / nats",
    "entropy_above_floor": "its part above the entropy of D / nats",
    "autocorrelation": "lag-1 autocorrelation of sample - mean",
    "autocorrelation_with_noise": "the same with the noise of every pixel",
    "effective_rank": "effective rank of P",
    "component_square_min": "E[c_k^2], least of the strong components",
    "component_square_max": "E[c_k^2], greatest of them",
    "displacement": "bias of the mean along P, |E[c]|^2",
    "residual_square": "mean square of the standardized residual",
    "share_latent": "share of variance in z (means)",
    "share_structured": "share of variance in P",
    "share_noise": "share of variance in D",
    "total_variance": "total variance at draws from the prior",
    "variance_ratio": "variance of samples / variance of the data",
    "saturation": "share of samples' numbers outside [0, 1]",
}


def measures(models: Mapping[str, Mapping[str, Any]]) -> str:
    """One row a measure, one column a model.

    Args:
      models: for each label, {name: {value, standard_error}}.
    """
    rows = [
        [text, *(_cell(found.get(name)) for found in models.values())]
        for name, text in MEASURES.items()
        if any(name in found for found in models.values())
    ]
    return markdown.table(["per image", *models], rows)


def distances(
    data_name: str,
    models: Mapping[str, Mapping[str, Any]],
    titles: Mapping[str, str],
    floor: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Table 1: two rows and more a model, two columns a kind of features.

    Args:
      data_name: of the data set.
      models: for each label, {features: {kind: scores}}, see `collection.distance`.
      titles: for each features, "FID" or the name of what is no FID.
      floor: the same of images of another split, {features: {split: scores}}, for a last row.
    """
    names = list(titles)
    heads = [h for n in names for h in column_titles(n, titles[n])]
    rows = []
    shown = dict(models) | ({"the data themselves": floor} if floor else {})
    for label, found in shown.items():
        for kind in found[names[0]]:
            cells = [c for n in names for c in _cells(found[n][kind], titles[n])]
            text = KIND_NAMES.get(kind, f"{kind} split")
            rows.append([f"{label} ({text})", data_name, *cells])
    return markdown.table(["method", "data set", *heads], rows)


NEARNESS = ("precision", "recall", "density", "coverage")


def nearness(
    models: Mapping[str, Mapping[str, Any]],
    titles: Mapping[str, str],
    floor: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Fidelity and diversity: the rows of `distances`, on each kind of features.

    Args:
      models: as in `distances`.
      titles: as in `distances`.
      floor: as in `distances`.
    """
    rows = []
    shown = dict(models) | ({"the data themselves": floor} if floor else {})
    for label, found in shown.items():
        for features in titles:
            for kind, scores in found[features].items():
                text = KIND_NAMES.get(kind, f"{kind} split")
                cells = [_cell(scores.get(name)) for name in NEARNESS]
                rows.append([f"{label} ({text})", features, *cells])
    return markdown.table(["method", "features", *NEARNESS], rows)


def column_titles(features: str, title: str) -> tuple[str, str]:
    """Of the two columns of some features; only Inception's are FID and KID."""
    if is_fid(title):
        return title, title.replace("FID", "KID x 1000")
    return f"Frechet on {features} / variance", f"kernel distance on {features}"


def is_fid(title: str) -> bool:
    """Whether a title of `titles` says that its features are Inception's."""
    return title.startswith("FID")


def _cells(found: Mapping[str, Any], title: str) -> tuple[str, str]:
    kernel = Estimate.from_json(found["kernel"])
    if not is_fid(title):
        return _cell(found["relative"]), str(kernel)
    return _cell(found["frechet"]), str(Estimate(1000 * kernel.value, 1000 * kernel.error))


def _cell(saved: Any) -> str:
    return "-" if saved is None else str(Estimate.from_json(saved))
