"""Runs the paper's experiments: trains, evaluates and draws; what is done is not done again."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from tf_structvae.programs import command
from tf_structvae.training import config_file

_CONFIG = flags.DEFINE_string("config", "configs/comparison.py", "A file such as this one.")
_DATA = flags.DEFINE_list("data", None, "Of the file's data sets; default all.")
_SEEDS = flags.DEFINE_list("seeds", None, "Of all runs; default the file's.")
_JOBS = flags.DEFINE_integer("jobs", 2, "How many runs at a time.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "runs/comparison", "Where everything goes.")
_SET = flags.DEFINE_multi_string("set", [], "FIELD=VALUE, a change of the config of every run.")
_EVALUATE = flags.DEFINE_multi_string(
    "evaluate", None, "FLAG=VALUE of bin/evaluate; default the file's."
)
_FIGURES = flags.DEFINE_multi_string("figures", [], "FLAG=VALUE of bin/figures.")
_FIT = flags.DEFINE_multi_string("fit", [], "FLAG=VALUE of bin/fit_distribution.")
_TRAIN = flags.DEFINE_boolean("train", True, "--notrain evaluates and draws what is trained.")
_LIST = flags.DEFINE_boolean("list", False, "Only list the runs and say which are done.")


def _seeds() -> list[int] | None:
    if _SEEDS.value is None:
        return None
    if not _SEEDS.value or not all(s.isdigit() and s.isascii() for s in _SEEDS.value):
        raise ValueError(f"--seeds must be whole numbers, got {','.join(_SEEDS.value)!r}.")
    return list(map(int, _SEEDS.value))


def main() -> None:
    seeds = _seeds()
    from tf_structvae.studies import reproduction, variants

    file = config_file.find(_CONFIG.value)
    module = variants.load_file(file)
    variants.check_overrides(_SET.value)
    output = Path(_OUTPUT.value)
    data = _DATA.value or list(module.STUDIES)
    plan = reproduction.plan(file, module, data, seeds, output)
    if _LIST.value:
        for run in plan.all_runs:
            print(f"{run.failure or ('done' if run.finished else 'to do'):<8} {run.workdir}")
        return
    if _TRAIN.value:
        variants.train_all(plan.all_runs, _SET.value, _JOBS.value)
    elif not any(plan.good(name) for name in data):
        raise ValueError(f"--notrain: no run in {output} is finished.")
    evaluate = module.EVALUATE if _EVALUATE.value is None else _EVALUATE.value
    reproduction.evaluate_all(plan, [f"--{f}" for f in evaluate], _JOBS.value)
    overrides = [f"--config.{o}" for o in _SET.value]
    fit = [*overrides, *(f"--{f}" for f in _FIT.value)]
    reproduction.draw_all(plan, [f"--{f}" for f in _FIGURES.value], fit, _JOBS.value)
    words = " ".join(["bin/reproduce", *sys.argv[1:]])
    print(f"\nresults   {reproduction.write_report(plan, words)}")
    print(f"table 1   {output / 'evaluation' / 'table1.png'}")
    for name in data:
        print(f"figures   {output / 'figures' / name}, {output / 'density' / name}")


def run() -> None:
    command.run(main)
