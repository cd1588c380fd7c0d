"""What an exported model is, in model_card.json: for programs that use it, and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_structvae.export.likelihoods import Likelihood
from tf_structvae.export.signatures import Signature
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.utilities import markdown, provenance

if TYPE_CHECKING:
    from tf_structvae.training.experiment import Experiment

FILE = "model_card.json"
FORMAT = 1
_ABOUT = ("training", "metrics", "data")
_CLASSES = "classes"  # the names of a conditional model's
_LICENSE = "license"  # of the model, as hubs name it
# where files are on the machine that trained
_PLACES = (("data", "dir"), ("data", "manual_dir"), ("export_dir",))


def check_about(about: Mapping[str, Any] | None, classes: int = 0) -> dict[str, Any]:
    """The fields that only the trainer knows, None where it does not tell.

    Args:
      about: see `export`.
      classes: K of a conditional model, whose classes are "0" to "K - 1" where nothing names them.

    Raises:
      ValueError: another field, one that is no JSON, other than K names, or a licence that is no
        text.
    """
    given = dict(about or {})
    known = (*_ABOUT, _LICENSE, *((_CLASSES,) if classes else ()))
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"about must have keys of {known}, got {unknown}.")
    names = list(given.pop(_CLASSES, None) or map(str, range(classes)))
    if len(names) != classes or not all(isinstance(n, str) for n in names):
        raise ValueError(f"about['classes'] must be {classes} names, got {names}.")
    own = {k: given.pop(k) for k in (_LICENSE,) if given.get(k) is not None}
    if not all(isinstance(v, str) and v for v in own.values()):
        raise ValueError(
            f"about['license'] must be a name like 'apache-2.0', got {own[_LICENSE]!r}."
        )
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"about must be JSON: {error}.") from error
    named = {**({_CLASSES: names} if classes else {}), **own}
    return {**named, **{k: given.get(k) for k in _ABOUT}}


def card(
    model: StructuredVAE,
    found: Mapping[str, Signature],
    tensors: Mapping[str, dict],
    likelihood: Likelihood,
    name: str,
    version: int,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The card as JSON.

    Args:
      model: the exported one.
      found: its signatures.
      tensors: inputs and outputs of each, from `saved_model.write`.
      likelihood: the kind of p(x | z).
      name: of the model.
      version: of the export.
      about: from `check_about`.
    """
    return {
        "format": FORMAT,
        "name": name,
        "version": version,
        "image_shape": list(model.image_shape),
        "latent_dim": model.latent_dim,
        "rank": likelihood.rank,
        "likelihood": likelihood.name,
        "prior": model.prior.describe(),
        "signatures": {
            k: {**tensors[k], "description": signature.description}
            for k, signature in found.items()
        },
        "value_range": [0, 1],
        "parameters": model.encoder.count_params() + model.decoder.count_params(),
        "targets": {c.name: {"target": float(c.target), "kind": c.kind} for c in model.constraints},
        **about,
    }


def write(content: Mapping[str, Any], path: Path) -> None:
    """Writes model_card.json into a version's directory."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (path / FILE).write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """The card of a version's directory; {} where there is none."""
    file = path / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def table(content: Mapping[str, Any]) -> str:
    """The signatures of a card as a Markdown table."""
    rows = [
        (f"`{name}`", _tensors(signature["inputs"]), _tensors(signature["outputs"]))
        for name, signature in content["signatures"].items()
    ]
    return markdown.table(("signature", "inputs", "outputs"), rows)


def _tensors(tensors: Mapping[str, dict]) -> str:
    def describe(name: str, about: dict) -> str:
        shape = ",".join("B" if n is None else str(n) for n in about["shape"])
        return f"{name} [{shape}]{'' if about['dtype'] == 'float32' else ' ' + about['dtype']}"

    return ", ".join(describe(k, v) for k, v in tensors.items())


def of_experiment(experiment: Experiment, checkpoint: str = "last") -> dict[str, Any]:
    """Training, metrics, data and names of the classes of a run, the `about` of `export`.

    Args:
      experiment: trained or loaded.
      checkpoint: which one it was loaded from. The scores of a run are those of "last".
    """
    names = experiment.class_names
    return {
        **({_CLASSES: list(names)} if names else {}),
        "training": {
            "config": _portable(json.loads(experiment.config.to_json())),
            "steps": experiment.step,
            "commit": _commit(experiment.workdir),
        },
        "metrics": _metrics(experiment.workdir) if checkpoint == "last" else None,
        "data": _data(experiment.source.info),
    }


def _portable(config: dict) -> dict:
    for *parents, last in _PLACES:
        part = config
        for key in parents:
            part = part[key]
        part[last] = ""
    return config


def _commit(workdir: Path) -> str | None:
    """Of the code that trained last; that of this code where the run does not tell."""
    file = workdir / "provenance.json"
    starts = json.loads(file.read_text()) if file.exists() else []
    return starts[-1]["commit"] if starts else provenance.commit()


def _metrics(workdir: Path) -> dict | None:
    """The held-out scores, unless the run went on or took another prior after them."""
    file = workdir / "scores.json"
    if not file.exists():
        return None
    later = [*(workdir / "checkpoints").glob("ckpt-*.index"), *workdir.glob("prior/last.npz")]
    saved = [p.stat().st_mtime for p in later]
    if saved and max(saved) > file.stat().st_mtime:
        return None
    return json.loads(file.read_text())["estimates"]


def _data(info) -> dict[str, str]:
    terms = " ".join(info.licence.split()) or "not stated"
    return {
        "name": info.name,
        "description": info.description,
        "license": info.licence,
        "citation": info.citation,
        "homepage": info.homepage,
        "attribution": f"Trained on {info.name} ({info.homepage or 'no homepage'}). Terms: {terms}",
    }
