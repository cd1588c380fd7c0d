"""The paper's experiments from first to last: runs, Table 1, its order, figures, section 4.5."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tf_structvae.studies import paper_order
from tf_structvae.studies.variants import Run
from tf_structvae.utilities import provenance
from tf_structvae.utilities.files import write_whole
from tf_structvae.utilities.jobs import Job, run_all


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
      config: FILE of the variants.
      runs: for each data set.
      shown: for each data set, the variants of the figures.
      figures: for each data set, their numbers.
      density: the data sets of section 4.5.
      output: where all of it goes.
    """

    config: str
    runs: Mapping[str, Sequence[Run]]
    shown: Mapping[str, Sequence[str]]
    figures: Mapping[str, Sequence[int]]
    density: Sequence[str]
    output: Path

    @property
    def all_runs(self) -> list[Run]:
        """First the first seed of all, so that a first table is there early."""
        found = [r for runs in self.runs.values() for r in runs]
        return sorted(found, key=lambda r: r.seed)

    def good(self, data: str) -> list[Run]:
        """Runs that ended well."""
        return [r for r in self.runs[data] if r.finished and r.failure is None]


def plan(
    config: str, module: Any, data: Sequence[str], seeds: Sequence[int] | None, output: Path
) -> Plan:
    """From a config file such as configs/comparison.py.

    Args:
      config: its path.
      module: the loaded file: STUDIES, SEEDS, SHOWN, FIGURES, DENSITY.
      data: of the file's STUDIES.
      seeds: instead of the file's.
      output: where all of it goes.

    Raises:
      ValueError: no such study.
    """
    unknown = [d for d in data if d not in module.STUDIES]
    if unknown:
        raise ValueError(
            f"--data must be of {', '.join(module.STUDIES)}, got {', '.join(unknown)}."
        )
    runs = {
        d: [
            Run(f"{config}:{v}", v, s, output / f"{v}_{s}")
            for s in (module.SEEDS[d] if seeds is None else seeds)
            for v in module.STUDIES[d]
        ]
        for d in data
    }
    shown = {d: module.SHOWN[d] for d in data}
    density = [d for d in data if d in module.DENSITY]
    return Plan(config, runs, shown, module.FIGURES, density, output)


def evaluate_all(plan: Plan, flags: Sequence[str], at_a_time: int) -> None:
    """Scores of all runs that ended well, each kept, and then the tables of all together.

    Args:
      plan: trained.
      flags: of bin/evaluate.
      at_a_time: how many runs.
    """
    folder = plan.output / "evaluation"
    common = [f"--parts={folder / 'models'}", f"--cache={folder / 'reference'}", *flags]
    good = [r for data in plan.runs for r in plan.good(data)]
    jobs = {
        r: Job(
            "evaluate",
            (f"--workdir={r.workdir}", f"--output={r.workdir / 'evaluation'}", *common),
            r.workdir / "evaluation.txt",
        )
        for r in good
    }
    # the first of each data set before the others, which then find the statistics of the data
    firsts = [plan.good(data)[0] for data in plan.runs if plan.good(data)]
    _run_undone([(jobs[r], [r]) for r in firsts], at_a_time, "first scores")
    _run_undone([(jobs[r], [r]) for r in good if r not in firsts], at_a_time, "scores")
    together = Job(
        "evaluate",
        (*(f"--workdir={r.workdir}" for r in good), f"--output={folder}", *common),
        folder / "output.txt",
    )
    run_all([together], 1, "tables")


def _run_undone(jobs: Sequence[tuple[Job, Sequence[Run]]], at_a_time: int, label: str) -> None:
    """Runs jobs, each with the runs it reads, unless they were done since those ended."""
    todo = [job for job, runs in jobs if not _is_done(job, runs)]
    run_all(todo, at_a_time, label, len(jobs) - len(todo))
    for job in todo:
        write_whole(_mark(job), json.dumps(job.arguments) + "\n")


def _is_done(job: Job, runs: Sequence[Run]) -> bool:
    mark = _mark(job)
    if not mark.exists() or json.loads(mark.read_text()) != list(job.arguments):
        return False
    ended = max((r.workdir / "scores.json").stat().st_mtime for r in runs)
    return mark.stat().st_mtime > ended


def _mark(job: Job) -> Path:
    return job.output.with_suffix(".done.json")


def draw_all(plan: Plan, flags: Sequence[str], fit_flags: Sequence[str], at_a_time: int) -> None:
    """All figures of each data set from the first seed, and section 4.5.

    Args:
      plan: trained.
      flags: more of bin/figures.
      fit_flags: more of bin/fit_distribution, such as overrides of the config.
      at_a_time: how many programs.
    """
    jobs: list[tuple[Job, Sequence[Run]]] = []
    for data, variants in plan.shown.items():
        first = {r.variant: r for r in reversed(plan.good(data))}
        shown = [first[v] for v in variants if v in first]
        if not shown:
            continue
        folder = plan.output / "figures" / data
        numbers = ",".join(map(str, plan.figures[data]))
        named = [f"--workdir={r.workdir}" for r in shown]
        arguments = (*named, f"--figure={numbers}", f"--output={folder}", *flags)
        jobs.append((Job("figures", arguments, folder / "output.txt"), shown))
        if data in plan.density:
            folder = plan.output / "density" / data
            arguments = (f"--config={shown[-1].config}", f"--output={folder}", *fit_flags)
            jobs.append((Job("fit_distribution", arguments, folder / "output.txt"), shown))
    _run_undone(jobs, at_a_time, "figures")


def write_report(plan: Plan, command: str) -> Path:
    """results.md: the tables, in what order the rows came out, and of which code and runs."""
    found = json.loads((plan.output / "evaluation" / "evaluation.json").read_text())
    tables = (plan.output / "evaluation" / "evaluation.md").read_text().strip()
    parts = ["# Results", f"```sh\n{command}\n```", _origin(plan), tables, "## Order"]
    parts.append(paper_order.report(found))
    failed = [f"* {r.variant}, seed {r.seed}: {r.failure}" for r in plan.all_runs if r.failure]
    if failed:
        parts.append("\n".join(["Runs without an end:", "", *failed]))
    missing = [r.workdir.name for r in plan.all_runs if not r.finished]
    if missing:
        parts.append(f"Not run: {', '.join(missing)}.")
    for data in plan.runs:
        density = plan.output / "density" / data / "density.md"
        if density.exists():
            parts.append(f"## Section 4.5, {data}\n\n{density.read_text().strip()}")
    path = plan.output / "results.md"
    write_whole(path, "\n\n".join(parts) + "\n")
    return path


def _origin(plan: Plan) -> str:
    """Commits of the runs and of this report, which were resumed, and the versions they ran on."""
    starts: list[dict[str, Any]] = []
    resumed = []
    runs = [r for r in plan.all_runs if r.finished]
    for r in runs:
        path = r.workdir / "provenance.json"
        found = json.loads(path.read_text()) if path.exists() else []
        starts += found
        resumed += [f"{r.workdir.name} at step {s['step']}" for s in found if s.get("step")]
    commits = sorted({str(s["commit"]) for s in starts})
    here = provenance.describe()
    versions = ", ".join(f"{k} {v}" for k, v in here["versions"].items())
    return (
        f"{len(runs)} runs, trained at commit {', '.join(commits) or 'unknown'}, "
        f"resumed: {', '.join(resumed) or 'none'}; "
        f"evaluated at {here['commit']} on {versions}, Python {here['python']}."
    )
