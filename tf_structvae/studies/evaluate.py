"""Any number of trained models, grouped by their data: tables, JSON and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from tf_structvae.evaluation.features import Extractor
from tf_structvae.studies import combine_seeds, plot, table
from tf_structvae.studies import evaluated_prior as prior_lib
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.evaluated_model import EvaluatedModel, Places
from tf_structvae.studies.part_store import PartStore
from tf_structvae.studies.references import References
from tf_structvae.studies.run_labels import recipes
from tf_structvae.utilities.files import save_figure, write_whole


class Written(NamedTuple):
    """What `evaluate` wrote, and the tables as text."""

    text: str
    tables: Path
    numbers: Path
    picture: Path


def titles(networks: Sequence[Extractor]) -> dict[str, str]:
    """What a Frechet distance on each network's features may be called.

    Args:
      networks: of the features.
    """
    return {
        n.name: ("FID" if n.name == "inception_2015" else "FID (PyTorch's weights)")
        if n.is_inception
        else f"Frechet distance on {n.name}"
        for n in networks
    }


def evaluate(
    runs: dict[str, Path],
    networks: Sequence[Extractor],
    settings: Settings,
    output: Path,
    cache: Path | None = None,
    checkpoint: str = "last",
    force: bool = False,
    parts: Path | None = None,
) -> Written:
    """Evaluates models, skipping what is already there with the same settings.

    Runs that differ in their seed alone are one column and one set of rows in tables and picture,
    see `seeds.combine`; the JSON has each of them too.

    Args:
      runs: from `labels.check_runs`.
      networks: the features of Table 1.
      settings: how.
      output: where evaluation.md, evaluation.json, table1.png and models/ go.
      cache: where statistics of the data are kept; None for output/reference.
      checkpoint: "last" or "best".
      force: compute all of the models' scores again.
      parts: where the models' scores are kept; None for output/models.

    Returns:
      What was written.

    Raises:
      OSError, ValueError: a run that cannot be loaded, or files that cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    places = Places.within(output, cache, parts)
    groups: dict[str, dict[str, Any]] = {}
    references: dict[str, References] = {}
    stores: dict[str, PartStore] = {}
    named = recipes(runs)
    for label, path, prior in ((k, p, prior) for k, p in runs.items() for prior in settings.priors):
        own = prior_lib.label(label, prior, settings.priors)
        print(f"{own}: {path}", flush=True)
        model = EvaluatedModel(path, prior, settings, places.parts, checkpoint, force)
        experiment = model.experiment
        data = References(experiment, settings, places.cache)
        if data.key not in references:
            data.find(networks)
            references[data.key] = data
        data = references[data.key]
        group = groups.setdefault(
            data.key, {"data": data.about, "floor": data.floor(networks), "models": {}}
        )
        if model.part not in stores:
            stores[model.part] = model.store()
        found = model.scores(stores[model.part])
        group["models"][own] = {
            "workdir": str(path),
            "checkpoint": checkpoint,
            "recipe": prior_lib.label(named[label], prior, settings.priors),
            "prior": prior_lib.describe(experiment, prior),
            "seed": int(experiment.config.seed),
            "step": experiment.step,
            **found.measures(),
            "distances": found.distances(networks, data.features, data.about),
        }
        keras.backend.clear_session()
    return _write(groups, titles(networks), settings, output)


def _names(groups: dict[str, dict[str, Any]]) -> dict[str, str]:
    """A heading for each group of models; two of one name are distinguished by their size."""
    names = {k: g["data"]["name"] for k, g in groups.items()}
    for key, group in groups.items():
        if list(names.values()).count(group["data"]["name"]) > 1:
            height, width, _ = group["data"]["image_shape"]
            names[key] = f"{group['data']['name']} {height}x{width} {key[:4]}"
    return names


def _write(groups, shown: dict[str, str], settings: Settings, output: Path) -> Written:
    names = _names(groups)
    text = "\n\n".join(_section(names[k], g, shown, settings) for k, g in groups.items())
    numbers = {
        "settings": vars(settings),
        "titles": shown,
        "data_sets": {names[k]: group for k, group in groups.items()},
    }
    written = Written(
        text, output / "evaluation.md", output / "evaluation.json", output / "table1.png"
    )
    write_whole(written.tables, text + "\n")
    write_whole(written.numbers, json.dumps(numbers, indent=1) + "\n")
    shown_models = {
        names[k]: {
            label: m["distances"] for label, m in combine_seeds.combine(group["models"]).items()
        }
        for k, group in groups.items()
    }
    if shown:
        figure = plot.table1(shown_models, shown, {names[k]: g["floor"] for k, g in groups.items()})
        save_figure(figure, written.picture)
    return written


def _drawn(models, settings: Settings) -> str:
    """Where their latents are from."""
    if settings.latents == "posterior":
        return "at latents of training images"
    found = {m["prior"] for m in models.values()}
    return f"z from {found.pop()}" if len(found) == 1 else "z from the prior that it names"


def _section(name: str, group, shown: dict[str, str], settings: Settings) -> str:
    data, models = group["data"], combine_seeds.combine(group["models"])
    parts = [f"## {name}"]
    if shown:
        distances = {label: m["distances"] for label, m in models.items()}
        parts.append(table.distances(name, distances, shown, group["floor"]))
        parts.append(
            f"{settings.images} images of each row, {_drawn(models, settings)}, to "
            f"{data['images']} of the "
            f"{data['split']} split; +- is a standard error, over the seeds where there are "
            "several. Samples are drawn as eq. 3 with omega_d = 0 unless noise is named. Only "
            "Inception features give FID and KID."
        )
        parts.append(table.nearness(distances, shown, group["floor"]))
    parts.append(table.measures({label: m["estimates"] for label, m in models.items()}))
    return "\n\n".join(parts)
