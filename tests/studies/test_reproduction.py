"""The paper's experiments by one command: what is planned, done again, and told of it."""

import json
import os
import re
from pathlib import Path

import pytest
from evaluated_model import model, scores
from forked import run

from tf_structvae.studies import paper_order, reproduction
from tf_structvae.studies import variants as study
from tf_structvae.utilities import jobs, provenance

CONFIG = """
import importlib.util

STUDIES = {{"faces": ("plain", "good")}}
SEEDS = {{"faces": (0, 1)}}
SHOWN = {{"faces": ("plain", "good")}}
FIGURES = {{"faces": (1, 3)}}
DENSITY = ("faces",)
EVALUATE = ("images=2000",)


def get_config(variant):
    spec = importlib.util.spec_from_file_location("smoke", "configs/smoke.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    c = module.get_config()
    c.data.dir = {data_dir!r}
    c.name = variant
    c.model.likelihood = "independent" if variant == "plain" else "low_rank"
    c.export_dir = ""
    return c
"""


@pytest.mark.long  # four trainings, six evaluations, each a process
def test_everything_from_first_to_last(data_dir, tmp_path):
    config, out = tmp_path / "tiny.py", tmp_path / "out"
    config.write_text(CONFIG.format(data_dir=data_dir))
    arguments = [
        "bin/reproduce", f"--config={config}", f"--output={out}", "--evaluate=images=40",
        "--evaluate=importance_samples=0", "--evaluate=features=random_cnn",
        "--evaluate=resamples=3", "--fit=batch_size=64", "--fit=steps=100",
    ]  # fmt: skip
    before = run(*arguments, "--list")
    assert re.findall(r"to do +\S+/(\S+)", before.stdout) == [
        "plain_0",
        "good_0",
        "plain_1",
        "good_1",
    ]
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    text = (out / "results.md").read_text()
    for part in (
        "Our VAE, good, 2 seeds (samples)",
        "Standard VAE, plain, 2 seeds (means)",
        "the data themselves (train split)",
        "| ours (samples) < standard (means) |",
        "Section 4.5, faces",
        "4 runs, trained at commit",
    ):
        assert part in text
    for name in ("figure_01_samples.png", "figure_03_interpolation.pdf"):
        assert (out / "figures/faces" / name).exists()
    assert (out / "density/faces/density.png").exists()
    kept = [
        *out.glob("*_?/scores.json"), *out.glob("*_?/evaluation/evaluation.json"),
        *(out / "evaluation/models").iterdir(),
    ]  # fmt: skip
    assert len(kept) == 12
    times = {p: p.stat().st_mtime_ns for p in kept}
    again = run(*arguments)
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in kept} == times
    assert run(*arguments, "--list").stdout.count("done") == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=a"], "--seeds must be whole numbers"),
        (["--config=none.py"], "none.py does not exist"),
        (["--notrain"], "is finished"),
        (["--data=faces"], "--data must be of avatars, brains, further, got faces"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    done = run(
        "bin/reproduce",
        *arguments,
        f"--output={tmp_path}",
        *([] if "--notrain" in arguments else ["--list"]),
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_committed_plan_is_whole():
    module = study.load_file("configs/comparison.py")
    plan = reproduction.plan("comparison.py", module, list(module.STUDIES), None, Path("out"))
    runs = plan.all_runs
    assert len(runs) == len({r.workdir for r in runs}) == 20
    assert [r.seed for r in runs] == sorted(r.seed for r in runs)
    for data, variants in plan.shown.items():
        assert set(variants) <= set(module.STUDIES[data])
    for name in module.VARIANTS:
        config = module.get_config(name)
        assert config.name == name
        assert config.data.name == name.split("_")[0]


def test_recipes_differ_in_their_recipe_alone():
    module = study.load_file("configs/comparison.py")
    for variants in (module.AVATARS + module.FURTHER, module.BRAINS):
        configs = [module.get_config(v) for v in variants]
        for field in ("data", "train", "evaluation", "seed"):
            assert len({json.dumps(c[field], default=dict) for c in configs}) == 1
        for field in ("encoder", "decoder", "latent_dim", "rank"):
            assert len({str(c.model[field]) for c in configs}) == 1
        assert len({c.objective.kl_target for c in configs}) == 1


# What is told of the order.


def test_claims_are_ratios_and_differences_in_errors():
    ours = {"means": scores(3.0), "samples": scores(1.0, 0.3)}
    found = paper_order.claims(ours, {"means": scores(2.0, 0.4), "samples": scores(4.0)})
    assert list(found) == list(paper_order.CLAIMS)
    ratio, sure = found["ours (samples)", "standard (means)"]
    assert (ratio, sure) == (0.5, pytest.approx(2.0))
    assert found["ours (means)", "standard (samples)"][0] == 0.75
    assert found["standard (means)", "standard (samples)"][1] == pytest.approx(2 / 17**0.5 * 10)


def test_report_pairs_runs_of_the_same_seed():
    models = {
        "s0": model("Standard VAE, s", 0, 2.0, 6.0),
        "s1": model("Standard VAE, s", 1, 4.0, 6.0),
        "a0": model("Our VAE, a", 0, 3.0, 1.0),
        "a1": model("Our VAE, a", 1, 3.0, 5.0),
        "b7": model("Our VAE, b", 7, 3.0, 5.0),  # no standard VAE of that seed
    }
    found = {"titles": {"cnn": ""}, "data_sets": {"faces": {"models": models}}}
    lines = paper_order.report(found).splitlines()
    assert lines[2] == "| faces, cnn | Our VAE, a | Our VAE, b |"
    assert lines[4] == "| ours (samples) < standard (means) | 0.50 (+7), 1.25 (-7) | - |"


# Runs in processes of their own.


def test_jobs_share_the_cores_and_fail_with_what_they_printed(tmp_path):
    good = jobs.Job("figures", ("--figure=list",), tmp_path / "good/output.txt")
    bad = jobs.Job("figures", ("--figure=none",), tmp_path / "bad/output.txt")
    failed = []
    jobs.run_all([good, bad], 2, "jobs", on_failure=lambda job, text: failed.append((job, text)))
    assert "  3  slerp" in good.output.read_text()
    ((job, text),) = failed
    assert job is bad
    assert "--workdir is missing" in text
    with pytest.raises(RuntimeError, match=r"--figure=none failed:\n(.|\n)*--workdir is missing"):
        jobs.run_all([bad], 1, "jobs")


def test_provenance_is_kept_of_every_start(tmp_path):
    path = tmp_path / "provenance.json"
    provenance.record(path, 0)
    provenance.record(path, 7)
    starts = json.loads(path.read_text())
    assert [s["step"] for s in starts] == [0, 7]
    assert set(starts[0]) == {"step", "commit", "versions", "python", "command"}
    if Path(".git").exists() and os.path.isdir(".git"):
        assert re.fullmatch(r"[0-9a-f]{9,}(\+changes)?", starts[0]["commit"])
