"""Every program refuses bad flags with one message and status 2, before it does anything.

The programs run in this process; see `program_flags`.
"""

import sys
from pathlib import Path

import pytest
from absl import flags
from program_flags import program

ROOT = Path(__file__).parents[2]
SMOKE = "--config=configs/smoke.py"


CASES = [
    (name, words, pattern)
    for name, rows in {
        "train": [
            ([], "config must have a value"),
            (["--config=configs/none.py"], "configs/none.py does not exist"),
            ([SMOKE, "--config.train.stepz=3"], "stepz"),
            (
                [SMOKE, "--config.train.steps=-3"],
                "config.train.steps = -3: must be a positive integer",
            ),
            ([SMOKE, "--config.train.steps=abc"], "abc"),
            ([SMOKE, "--config.data.variant=9x9"], "variant of avatars must be one of"),
            ([SMOKE, "--distribute=two"], "distribute=two: value should be one of"),
            ([SMOKE, "--memory_budget=-1"], "memory_budget"),
            ([SMOKE, "--pixel=1"], "pixel must be ROW,COLUMN"),
            ([SMOKE, "--pixel=99,1"], "pixel 99,1 is outside the image of 16x16"),
            ([SMOKE, "--workdir=setup.py"], "workdir setup.py cannot be written: Not a directory"),
            ([SMOKE, "--workdir=setup.py/run"], "workdir setup.py/run cannot be written"),
            ([SMOKE, "--workdir="], "--workdir must not be empty"),
            (
                [SMOKE, "--config.export_dir=setup.py"],
                "config.export_dir setup.py/smoke cannot be written: Not a directory",
            ),
            (
                [SMOKE, "--config.train.steps=1"],
                "config.objective.pretrain_steps = 2: must be at most config.train.steps = 1",
            ),
            (
                [SMOKE, "--config.train.warmup_steps=7"],
                "config.train.warmup_steps = 7: must be at most config.train.steps = 6",
            ),
            ([SMOKE, "--resume"], "out holds no run to go on with"),
            ([SMOKE, "--colour=red"], "colour"),
            ([SMOKE, "now"], "unexpected argument 'now'"),
        ],
        "compare": [
            ([], "--workdir is missing"),
            (["--workdir=nowhere"], "workdir nowhere holds no run"),
            (
                ["--workdir=nowhere", "--checkpoint=worst"],
                "checkpoint=worst: value should be one of",
            ),
        ],
        "evaluate": [
            ([], "workdir is missing"),
            (["--workdir=nowhere"], "workdir nowhere holds no run"),
            (["--workdir=a", "--workdir=a"], "workdir a is given more than once"),
            (["--workdir=a", "--images=0"], "images must be at least 40, got 0"),
            (["--workdir=a", "--images=x"], "images"),
            (["--workdir=a", "--resamples=1"], "resamples must be at least 2, got 1"),
            (["--workdir=a", "--reference_split=all"], "reference_split"),
        ],
        "figures": [
            ([], "--workdir is missing"),
            (["--workdir=a", "--figure=x"], "--figure must be 'all', 'list' or numbers"),
            (["--workdir=a", "--figure=99"], "figure must be one of"),
            (["--workdir=a", "--edits=/nowhere.json"], "/nowhere.json"),
            (["--workdir=a", "--edits=setup.py"], "--edits=setup.py is not JSON"),
            (["--workdir=a", "--columns=1"], "columns"),
            (["--workdir=a", "--edit_noise=-1"], "edit_noise"),
            (["--workdir=nowhere"], "workdir nowhere holds no run"),
        ],
        "fit_distribution": [
            ([], "config must have a value"),
            ([SMOKE, "--epsilon=0"], "epsilon = 0: must be a finite number > 0"),
            ([SMOKE, "--epsilon=nan"], "epsilon = nan: must be a finite number > 0"),
            ([SMOKE, "--entropy_budget=5"], "entropy_budget needs noise = fixed"),
            ([SMOKE, "--noise=fixed", "--entropy_budget=-5"], "entropy_budget = -5"),
            ([SMOKE, "--learning_rate=-1"], "learning_rate = -1: must be a finite number > 0"),
            ([SMOKE, "--steps=0"], "steps"),
            ([SMOKE, "--noise=white"], "noise=white: value should be one of"),
        ],
        "study": [
            (["--config=nowhere.py"], "--config: nowhere.py does not exist"),
            (["--study=none"], "--study must be one of"),
            (["--variants=none"], "--variants must be of"),
            (["--seeds=x"], "--seeds must be whole numbers, got 'x'"),
            (["--seeds="], "--seeds must be whole numbers, got ''"),
            (["--features=alexnet"], "features must be one of"),
            (["--set=steps"], "--set must be FIELD=VALUE, got 'steps'"),
            (["--jobs=0"], "jobs"),
        ],
        "reproduce": [
            (["--config=nowhere.py"], "--config: nowhere.py does not exist"),
            (["--config=configs/smoke.py"], "configs/smoke.py has no STUDIES"),
            (["--data=faces"], "--data must be of"),
            (["--seeds=x"], "--seeds must be whole numbers, got 'x'"),
            (["--set=steps"], "--set must be FIELD=VALUE, got 'steps'"),
            (["--notrain", "--output=nowhere"], "--notrain: no run in nowhere is finished"),
        ],
        "generate": [
            (["--output=x"], "--count must be given for samples"),
            (["--count=0", "--output=x"], "count"),
        ],
        "embed": [(["--output=x"], "--images or --data must be given")],
        "export": [
            ([], "workdir must have a value"),
            (["--workdir=nowhere"], "workdir nowhere holds no run"),
            (["--workdir=nowhere", "--version=0"], "version"),
            (["--workdir=nowhere", "--directory=setup.py", "--version=1"], "setup.py"),
        ],
        "fit_prior": [
            ([], "workdir must have a value"),
            (["--workdir=nowhere"], "workdir nowhere holds no run"),
            (["--workdir=nowhere", "--kind=gamma"], "kind"),
            (["--workdir=nowhere", "--components=0"], "components"),
        ],
        "prepare": [
            ([], "config must have a value"),
            ([SMOKE, "--workers=2"], "--runner must be given with --runner_option and --workers"),
            ([SMOKE, "--workers=-1"], "workers"),
            ([SMOKE, "--runner=local"], "runner must be left out for avatars"),
            (
                [SMOKE, "--runner=local", "--runner_option=x"],
                "an option of the runner must be '--name=value', got 'x'",
            ),
        ],
        "suggest_targets": [
            ([], "config must have a value"),
            ([SMOKE, "--kl_target=-1"], "kl_target = -1 nats per image cannot be met"),
            ([SMOKE, "--epsilon=0"], "epsilon = 0.0: must be a finite number > 0"),
            ([SMOKE, "--rank=0"], "rank"),
            ([SMOKE, "--rank_share=2"], "rank_share"),
            ([SMOKE, "--images=1"], "images"),
        ],
        "serve": [
            ([], "model must have a value"),
            (["--model=nowhere"], "nowhere is no directory of a model"),
            (["--model=tests"], "tests holds no version"),
            (["--model=a=tests", "--model=a=docs"], "--model: the name 'a' is given twice"),
            (
                ["--model=tests", "--poll_seconds=0"],
                "--poll_seconds must be positive and finite, got 0",
            ),
            (["--model=tests", "--port=99999"], "port"),
            (["--model=@model", "--max_batch=0"], "--max_batch must be positive and finite, got 0"),
            (["--model=@model", "--timeout=nan"], "--timeout must be positive and finite, got nan"),
            (
                ["--model=@model", "--max_request_mb=-1"],
                "--max_request_mb must be positive and finite, got -1",
            ),
            (
                ["--model=@model", "--concurrency=0"],
                "--concurrency must be positive and finite, got 0",
            ),
            (["--model=@model", "--queue=-1"], "queue must not be negative, got -1"),
            (["--model=@model", "--host=no.such.host.invalid"], "host no.such.host.invalid"),
        ],
        "demo": [
            (["--model=none"], "none is no directory of a model"),
            (["--seed=-1"], "seed"),
            (["--output=setup.py"], "output setup.py cannot be written: Not a directory"),
        ],
        "edit": [
            (["--model=nowhere", "--server=http://x/v1/models/m"], "--model and --server exclude"),
            (["--model=nowhere"], "nowhere is no directory of a model"),
            (["--server=localhost"], "--server must be http://HOST:PORT/v1/models/NAME"),
            (["--model=@model", "--timeout=0"], "--timeout must be positive and finite, got 0"),
            (["--model=@model", "--host=no.such.host.invalid"], "host no.such.host.invalid"),
        ],
        "benchmark": [
            (["--suite=sleep"], "suite=sleep: value should be one of"),
            (["--profile"], "--profile needs --suite=train, got --suite=distribution"),
            (["--output=setup.py"], "setup.py"),
        ],
        "load_test": [
            (["--model=nowhere"], "--model nowhere is no exported version"),
            (["--minutes=0"], "minutes"),
            (["--clients=0"], "clients"),
            (["--output=setup.py"], "setup.py"),
        ],
        "local_workers": [
            ([], "which program?"),
            (["--workers=0", "--", "true"], "workers"),
            (["--", "/nowhere/program"], "/nowhere/program"),
            (["--logs=setup.py", "--", "true"], "setup.py"),
        ],
    }.items()
    for words, pattern in rows
]


def test_all_programs_are_here():
    assert {name for name, _, _ in CASES} == {
        p.name for p in (ROOT / "bin").iterdir() if p.is_file()
    }


@pytest.mark.parametrize(
    ("name", "words", "message"), CASES, ids=lambda v: v if isinstance(v, str) else " ".join(v)
)
def test_bad_flags(name, words, message, tmp_path, data_dir, monkeypatch, capfd):
    model = tmp_path / "model/1/saved_model.pb"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"")
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("STRUCTVAE_TRACEBACK", raising=False)
    given = [w.replace("@model", str(tmp_path / "model")) for w in words]
    with program(name) as module:
        for flag in ("workdir", "output"):  # nothing may be written where the test runs
            wanted = flag in flags.FLAGS and not any(w.startswith(f"--{flag}") for w in words)
            if wanted and "multi" not in flags.FLAGS[flag].flag_type() and flag not in str(message):
                given.insert(0, f"--{flag}={tmp_path / 'out'}")
        if SMOKE in words and hasattr(module, "config_flags"):  # else --config has no fields
            given.append(f"--config.data.dir={data_dir}")
        monkeypatch.setattr(sys, "argv", [f"bin/{name}", *given])
        with pytest.raises(SystemExit) as ended:
            module.run()
    printed = capfd.readouterr()
    assert ended.value.code == 2, printed
    assert message in printed.err
    assert "Traceback" not in printed.err
    told = printed.err[printed.err.index("error: ") :]  # behind the progress of a data set
    assert len(told.strip().splitlines()) < 12
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
