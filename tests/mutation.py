"""How many small changes of the code do the tests notice? By cosmic-ray; see `make mutation`.

Each mutant (a number plus one, < for <=, `not` before a condition, a loop that never runs, ...) is
tested in a fork of a process that has imported TensorFlow, in a copy of the checkout. What is done
is kept in build/mutation, one database of cosmic-ray a module, so that a run that was stopped goes
on, and a module that has changed starts again.
"""

import argparse
import collections
import hashlib
import multiprocessing
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/mutation"

# Of each module, the tests that guard it: what one process runs, the quickest first. Where a mutant
# outlives them all, it may still fail one of the slow tests that are not here.
_MODEL = ["models/test_vae.py -k 'not meets_its_target and not users_own and not calibrates'"]
_REFUSED = "project/test_bad_input.py -k '{}'"
TARGETS = {
    "models/vae": [
        *_MODEL, "models/test_conditional.py",
        _REFUSED.format("model or fit or evaluate or predict or encode or decode or compile"),
    ],
    "models/vae_arguments": ["models/test_vae_arguments.py", _REFUSED.format("model:")],
    "models/training_step": [
        *_MODEL, "models/test_accumulation.py -k 'whole or any_size or loss_scale'",
        "models/test_conditional.py", "models/test_accumulation.py -m long -k two_devices",
    ],
    "models/objective": [
        "models/test_objective.py", *_MODEL,
        "models/test_constraints.py", "models/test_accumulation.py -k whole",
        "layers/test_drop_in.py",
    ],
    "models/constraints": ["models/test_constraints.py", _REFUSED.format("constraint:"), *_MODEL],
    "training/checkpoints": ["training/test_checkpoints.py -k 'not killed and not disk'"],
    "training/run_state": ["training/test_checkpoints.py -k 'not killed and not disk'"],
    "models/replicas": [
        "models/test_replicas.py", "models/test_accumulation.py -m long -k two_devices",
        "training/test_distribute.py -m long -k two_equal",
        "models/test_fit_matrix.py", "training/test_conditional_runs.py -m long -k two_replicas",
    ],
    "models/accumulation": ["models/test_accumulation.py -k 'not memory'"],
    "studies/density/closed_form": [
        "studies/test_closed_form.py", _REFUSED.format("closed_form or budget"),
    ],
    "export/signatures": ["export/test_export_signatures.py", "export/test_conditional_export.py",
                          "export/test_export_proposal.py -k card_tells"],
    "distributions/operations": [
        "distributions/test_batch_ranks.py", "distributions/test_operations.py",
        "distributions/test_low_rank_normal.py -k 'condition or posterior'",
        _REFUSED.format("dense: or features: or batches"), "distributions/test_low_rank_normal.py",
    ],
    "serving/batching": ["serving/test_serving_batching.py"],
}  # fmt: skip

# One change for each operator of the language. Left out are those of `|`, which stands in
# annotations that nobody evaluates.
_BINARY = {"Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul",
           "Pow": "Mul"}  # fmt: skip
_COMPARISONS = {"Eq": "NotEq", "NotEq": "Eq", "Lt": "LtE", "LtE": "Lt", "Gt": "GtE", "GtE": "Gt",
                "Is": "IsNot", "IsNot": "Is"}  # fmt: skip
OPERATORS = [
    *(f"core/ReplaceBinaryOperator_{a}_{b}" for a, b in _BINARY.items()),
    *(f"core/ReplaceComparisonOperator_{a}_{b}" for a, b in _COMPARISONS.items()),
    "core/ReplaceUnaryOperator_Delete_USub",
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/AddNot",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ExceptionReplacer",
    "core/NumberReplacer",
    "core/RemoveDecorator",
    "core/ZeroIterationForLoop",
]

_context = multiprocessing.get_context("forkserver")
# Nothing of the package itself: each fork imports its mutant.
_context.set_forkserver_preload(
    ["keras", "matplotlib.pyplot", "ml_collections", "pytest", "tensorflow_datasets",
     "tensorflow_probability", "hypothesis"]
)  # fmt: skip


def _tests_in_fork(tree: str, words: list[str], output: str) -> None:
    os.setsid()  # the programs that tests start end with it
    with open(output, "wb") as f:
        os.dup2(f.fileno(), 1)
        os.dup2(f.fileno(), 2)
    os.chdir(tree)
    os.environ["PYTHONPATH"] = tree
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    sys.dont_write_bytecode = True
    sys.path.insert(0, tree)
    import pytest

    os._exit(int(pytest.main(words)))


def run_tests(tree: Path, tests: str, limit: float) -> tuple[int | None, str]:
    """The status of pytest, None if it took more than `limit` seconds, and what it wrote."""
    output = tree.parent / f"{tree.name}.txt"
    words = shlex.split(f"tests/{tests} -x -q -n0 -pno:cacheprovider --no-header --durations=0")
    process = _context.Process(target=_tests_in_fork, args=(str(tree), words, str(output)))
    process.start()
    process.join(limit)
    late = process.exitcode is None
    if late or process.exitcode < 0:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
        process.join()
    return None if late else process.exitcode, output.read_text(errors="replace")


def copy_checkout(tree: Path) -> None:
    """The files of the checkout as they are now, committed or not."""
    shutil.rmtree(tree, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _place(item):
    (mutation,) = item.mutations
    return mutation.start_pos, mutation.operator_name, mutation.occurrence


def open_database(name: str, module: Path, limit: int, seed: int):
    """The mutants of a module; at most `limit` of them, drawn by `seed`."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB

    digest = hashlib.sha256(f"{module.read_text()}{OPERATORS}{limit}{seed}".encode()).hexdigest()
    path = BUILD / f"{name.replace('/', '_')}-{digest[:12]}.sqlite"
    new = not path.exists()
    database = WorkDB(path, WorkDB.Mode.create)
    if new:
        init([module], database, {})
        found = [i for i in database.work_items if i.mutations[0].operator_name in OPERATORS]
        found.sort(key=_place)
        if 0 < limit < len(found):
            found = random.Random(seed).sample(found, limit)
        database.clear()
        database.add_work_items(found)
    return database


def mutate(name: str, tree: Path, limit: int, seed: int) -> dict[str, int]:
    """Tests what is left of a module's mutants and prints those that no test notices."""
    from cosmic_ray.mutating import use_mutation
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult
    from tqdm import tqdm

    module = tree / f"tf_structvae/{name}.py"
    database = open_database(name, module, limit, seed)
    pending = sorted(database.pending_work_items, key=_place)
    limits = {}
    for tests in TARGETS[name] if pending else ():
        begin = time.monotonic()
        status, text = run_tests(tree, tests, 1800)
        if status != 0:
            raise SystemExit(f"{tests} fails without any mutation:\n{text[-3000:]}")
        limits[tests] = 60 + 5 * (time.monotonic() - begin)
    for item in tqdm(pending, desc=name, unit="mutant"):
        (mutation,) = item.mutations
        operator = get_operator(mutation.operator_name)(**mutation.operator_args)
        with use_mutation(module, operator, mutation.occurrence) as (_, changed):
            if changed is None:
                result = WorkResult(WorkerOutcome.NO_TEST)
            else:
                found = (run_tests(tree, tests, limit) for tests, limit in limits.items())
                failed = next((text for status, text in found if status != 0), None)
                outcome = TestOutcome.SURVIVED if failed is None else TestOutcome.KILLED
                result = WorkResult(WorkerOutcome.NORMAL, (failed or "")[-2000:], outcome)
        database.set_result(item.job_id, result)
    return report(name, database, module)


def report(name: str, database, module: Path) -> dict[str, int]:
    """Counts of mutants; prints a line for each that survived."""
    lines = module.read_text().splitlines()
    counts: collections.Counter = collections.Counter()
    for item, result in database.completed_work_items:
        if result.test_outcome is None:
            continue
        (mutation,) = item.mutations
        line = lines[mutation.start_pos[0] - 1].strip()
        kind = re.sub(r"core/(Replace)?", "", mutation.operator_name)
        survived = result.test_outcome == "survived"
        counts["survived" if survived else "killed"] += 1
        if survived:
            print(f"  {name}.py:{mutation.start_pos[0]}: {kind} #{mutation.occurrence}: {line}")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TARGETS)}; all without")
    parser.add_argument("--limit", type=int, default=25, help="mutants of a module; 0: all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of mutants")
    chosen = parser.parse_args()
    unknown = [m for m in chosen.modules if m not in TARGETS]
    if unknown:
        parser.error(f"modules must be of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    tree = BUILD / f"tree-{os.getpid()}"
    copy_checkout(tree)
    total: collections.Counter = collections.Counter()
    try:
        for name in chosen.modules or TARGETS:
            counts = mutate(name, tree, chosen.limit, chosen.seed)
            total += counts
            print(f"{name}: {counts['killed']} of {counts.total()} mutants killed", flush=True)
    finally:
        shutil.rmtree(tree, ignore_errors=True)
    print(f"All: {total['killed']} of {total.total()} killed, "
          f"{100 * total['killed'] / max(total.total(), 1):.1f}%.")  # fmt: skip


if __name__ == "__main__":
    main()
