"""Speed, memory and accuracy beside TFP's and PyTorch's classes, in one run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from tf_structvae.programs import command
from tf_structvae.utilities.files import save_figure, write_whole

_SUITE = flags.DEFINE_enum(
    "suite",
    "distribution",
    [
        "distribution",
        "accuracy",
        "train",
        "data",
        "serving",
        "editor",
        "priors",
        "covariance",
        "posterior",
        "segmentation",
        "scaling",
        "batching",
        "start",
    ],
    "What to measure.",
)
_QUICK = flags.DEFINE_bool("quick", False, "Fewer sizes and repeats: two minutes.")
_PROFILE = flags.DEFINE_bool("profile", False, "With --suite=train: where a step's time goes, too.")
_DATA = flags.DEFINE_string("data_dir", "data", "Where --suite=data keeps its records.")
_OUTPUT = flags.DEFINE_string("output", "runs/benchmark", "Where tables and plot go.")


def main() -> None:
    from tf_structvae.benchmarks import (
        accuracy,
        annotators,
        arithmetic,
        batching,
        covariance,
        data,
        editor,
        plot,
        posterior,
        prior,
        profile,
        runner,
        scaling,
        serving,
        start,
        train_step,
    )

    if _PROFILE.value and _SUITE.value != "train":
        raise ValueError(f"--profile needs --suite=train, got --suite={_SUITE.value}.")
    if _SUITE.value == "editor":
        editor.check()
    output = Path(_OUTPUT.value)
    output.mkdir(parents=True, exist_ok=True)
    text = f"{runner.machine()}\n\n"
    plain: dict[str, Any] = {
        "priors": prior,
        "covariance": covariance,
        "posterior": posterior,
        "segmentation": annotators,
    }
    whole: dict[str, Any] = {
        "scaling": scaling,
        "batching": batching,
        "editor": editor,
        "start": start,
    }
    if _SUITE.value == "accuracy":
        errors = accuracy.errors()
        text += f"Absolute error against float64, nats:\n\n{accuracy.table(errors)}"
        write_whole(output / "accuracy.json", json.dumps(errors, indent=1) + "\n")
        save_figure(plot.errors(errors), output / "accuracy.png")
    elif _SUITE.value == "train":
        peak = arithmetic.peak()
        traced = runner.run([train_step.profile_job()]) if _PROFILE.value else []
        results = runner.run(train_step.jobs(_QUICK.value))
        text += "\n\n".join([train_step.table(results, peak), *map(profile.table, traced)])
        write_whole(output / "train.json", json.dumps([results, peak, traced], indent=1) + "\n")
    elif _SUITE.value in plain:
        suite = plain[_SUITE.value]
        results = runner.run(suite.jobs(_QUICK.value))
        text += suite.table(results)
        write_whole(output / f"{_SUITE.value}.json", json.dumps(results, indent=1) + "\n")
    elif _SUITE.value == "data":
        results = runner.run(data.jobs(_QUICK.value, _DATA.value))
        consumed = runner.run(data.consumption_jobs(results))
        text += data.table(results, consumed)
        write_whole(output / "data.json", json.dumps([results, consumed], indent=1) + "\n")
    elif _SUITE.value == "serving":
        with tempfile.TemporaryDirectory() as models:
            networks = ["default"] if _QUICK.value else list(serving.SIZES)
            jobs = serving.jobs(serving.export_models(Path(models), networks), _QUICK.value)
            results = runner.run(jobs)
            # it took minutes
            write_whole(output / "serving.json", json.dumps([results, []], indent=1) + "\n")
            served = serving.measure_http(jobs)
        text += serving.table(results, served)
        write_whole(output / "serving.json", json.dumps([results, served], indent=1) + "\n")
    elif _SUITE.value in whole:
        suite = whole[_SUITE.value]
        results = suite.run(_QUICK.value)
        text += suite.table(results)
        write_whole(output / f"{_SUITE.value}.json", json.dumps(results, indent=1) + "\n")
    else:
        bandwidth = runner.memory_bandwidth()
        results = runner.run(runner.distribution_jobs(_QUICK.value))
        text += f"Memory bandwidth of a copy: {bandwidth / 1e9:.1f} GB/s\n\n"
        text += runner.table(results, bandwidth)
        write_whole(output / "distribution.json", json.dumps(results, indent=1) + "\n")
        save_figure(plot.time_and_memory(results), output / "distribution.png")
    path = output / f"{_SUITE.value}.md"
    write_whole(path, text + "\n")
    print(f"\n{text}\n\ntable     {path}")


def run() -> None:
    command.run(main)
