"""Several experiments with several seeds, each in a process of its own, and their table."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from tf_structvae import figures
from tf_structvae.studies import report, scores
from tf_structvae.training import workdir
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities import markdown
from tf_structvae.utilities.files import write_whole
from tf_structvae.utilities.jobs import Job, fail, run_all


def load_file(path: str | Path) -> ModuleType:
    """A config file with VARIANTS and STUDIES, such as configs/study.py.

    Args:
      path: of the file.

    Raises:
      ValueError: no such file, or another kind of config.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"--config: {path} does not exist.")
    spec = importlib.util.spec_from_file_location("study_config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "STUDIES"):
        raise ValueError(f"--config: {path} has no STUDIES, as configs/study.py has.")
    return module


def check_overrides(words: Sequence[str]) -> None:
    """Refuses overrides of another form.

    Args:
      words: of the flag --set.

    Raises:
      ValueError: a word is not FIELD=VALUE.
    """
    for word in words:
        if not re.fullmatch(r"[\w.]+=.*", word):
            raise ValueError(f"--set must be FIELD=VALUE, got {word!r}.")


class Run(NamedTuple):
    """One variant with one seed."""

    config: str  # FILE:VARIANT
    variant: str
    seed: int
    workdir: Path

    @property
    def finished(self) -> bool:
        """Whether it has its scores."""
        return (self.workdir / "scores.json").exists() or self.failure is not None

    @property
    def failure(self) -> str | None:
        """How the run ended, if its loss stopped being finite."""
        path = self.workdir / workdir.FAILURE
        return re.split(r"[;.] ", path.read_text())[0] if path.exists() else None


def train_all(runs: Sequence[Run], overrides: Sequence[str], jobs: int) -> None:
    """Trains what is not finished, `jobs` at a time, each on its own share of the cores.

    A run whose loss is not finite is a result and noted as such.

    Args:
      runs: those of a study.
      overrides: FIELD=VALUE, for every run.
      jobs: how many at a time.

    Raises:
      RuntimeError: a run ended for any other reason.
    """
    todo = {_job(r, overrides): r for r in runs if not r.finished}

    def note(job: Job, text: str) -> None:
        if todo[job].failure is None:
            fail(job, text)

    run_all(list(todo), jobs, "training", len(runs) - len(todo), note)


def _job(run: Run, overrides: Sequence[str]) -> Job:
    arguments = (
        f"--config={run.config}",
        f"--config.seed={run.seed}",
        f"--workdir={run.workdir}",
        "--resume_if_any",
        *(f"--config.{o}" for o in overrides),
    )
    return Job("train", arguments, run.workdir / "output.txt")


def score_frechet(runs: Sequence[Run], features: str) -> None:
    """Table 1's scores of all runs that ended well, each kept beside the run.

    Args:
      runs: those of a study.
      features: one of `evaluation.features.NAMES`.
    """
    data = None
    todo = [r for r in runs if r.failure is None and not _frechet_file(r, features).exists()]
    for run in tqdm(todo, desc=features, unit="run"):
        experiment = Experiment.load(run.workdir)
        data = data or scores.data_moments(experiment, features)
        found = scores.frechet(experiment, data, features)
        write_whole(_frechet_file(run, features), json.dumps(found))
        keras.backend.clear_session()


def _frechet_file(run: Run, features: str) -> Path:
    return run.workdir / f"frechet_{features}.json"


def picture(runs: Sequence[Run], columns: int = 12) -> Figure:
    """Means and samples of the first good run of each variant, at the same latents.

    Args:
      runs: those of a study.
      columns: pictures in a row.
    """
    rows = []
    for variant in dict.fromkeys(r.variant for r in runs):
        good = [r for r in runs if r.variant == variant and r.failure is None]
        if good:
            experiment = Experiment.load(good[0].workdir)
            for label, images in report.prior_panels([experiment], columns):
                rows.append(figures.Row(label.replace(": ", "\n"), images))
            keras.backend.clear_session()
    note = "Latents from the prior. " + report.NO_PIXEL_NOISE
    return figures.sheet(rows, "Means and samples of each variant", note)


def results(run: Run) -> dict[str, float]:
    """Held-out scores, and the means of the constrained quantities over the last epoch.

    Args:
      run: one that ended well.
    """
    saved = json.loads((run.workdir / "scores.json").read_text())
    found = {k: v["value"] for k, v in saved["estimates"].items()}
    for path in run.workdir.glob("frechet_*.json"):
        found.update(json.loads(path.read_text()))
    with (run.workdir / "log.csv").open(newline="") as f:
        last = list(csv.DictReader(f))[-1]
    for name in ("kl", "entropy_above_floor", "entropy_multiplier"):
        if name in last:
            found[f"train_{name}"] = float(last[name])
    return found


def table(runs: Sequence[Run], columns: Sequence[str]) -> str:
    """Mean and standard deviation over the seeds of each variant, as a Markdown table.

    Args:
      runs: those of a study.
      columns: rows of `results`.
    """
    rows = []
    for variant in dict.fromkeys(r.variant for r in runs):
        own = [r for r in runs if r.variant == variant]
        good = [results(r) for r in own if r.failure is None and r.finished]
        failed = [f"seed {r.seed}: {r.failure}" for r in own if r.failure]
        cells = [_cell([g[c] for g in good if c in g]) for c in columns]
        count = f"{len(good)} of {len(own)}" if failed else str(len(good))
        rows += [[variant, count, *cells], *(["", text] for text in failed)]
    return markdown.table(["variant", "runs", *columns], rows)


def _cell(values: list[float]) -> str:
    if not values:
        return "-"
    mean, spread = np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0
    return f"{mean:.4g} ± {spread:.2g}"
