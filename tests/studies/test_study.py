"""Studies: several variants and seeds, their failures, their table. The long ones hold the recipes
to what the README says of them."""

import json
import re

import numpy as np
import pytest
from forked import run
from study_config import CONFIG

from tf_structvae.studies import variants


@pytest.mark.long
def test_study(data_dir, tmp_path):
    config = tmp_path / "tiny.py"
    config.write_text(CONFIG.format(data_dir=data_dir))
    arguments = [
        "bin/study", f"--config={config}", "--study=both", "--seeds=3", "--jobs=2",
        "--features=random_cnn", f"--output={tmp_path / 'out'}", "--set=export_dir=",
    ]  # fmt: skip
    first = run(*arguments)
    assert first.returncode == 0, first.stderr
    saved = json.loads((tmp_path / "out/good_3/config.json").read_text())
    assert (saved["seed"], saved["export_dir"]) == (3, "")
    lines = (tmp_path / "out/both.md").read_text().splitlines()
    assert lines[2].startswith("| good | 1 |")
    assert lines[3].startswith("| bad | 0 of 1 |")
    assert "seed 3: the loss is" in lines[4]
    assert "random_cnn_samples" in lines[0]
    assert (tmp_path / "out/both.png").read_bytes().startswith(b"\x89PNG")
    before = (tmp_path / "out/good_3/scores.json").stat().st_mtime_ns
    again = run(*arguments)
    assert again.returncode == 0
    assert (tmp_path / "out/good_3/scores.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--study=none"], "--study must be one of families, recipes, shares, stability"),
        (["--variants=paper,none"], "--variants must be of .* got none"),
        (["--seeds=a"], "--seeds must be whole numbers"),
        (["--config=none.py"], "none.py does not exist"),
        (["--features=inception"], "inception"),
        (["--jobs=0"], "jobs"),
    ],
)
def test_bad_arguments(arguments, message, tmp_path):
    done = run("bin/study", *arguments, f"--output={tmp_path}")
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr


def fake(tmp_path, seed, elbo):
    workdir = tmp_path / str(seed)
    workdir.mkdir()
    estimates = {"estimates": {"elbo": {"value": elbo, "standard_error": 1.0}}}
    (workdir / "scores.json").write_text(json.dumps(estimates))
    (workdir / "log.csv").write_text("step,kl,val_kl\n1,3,3\n2,4,5\n")
    return variants.Run("", "one", seed, workdir)


def test_table_is_mean_and_standard_deviation(tmp_path):
    runs = [fake(tmp_path, seed, value) for seed, value in enumerate((10.0, 12.0, 14.0))]
    lines = variants.table(runs, ["elbo", "train_kl", "saturation"]).splitlines()
    assert lines[2] == "| one | 3 | 12 ± 2 | 4 ± 0 | - |"


# --- The long ones: about 25 minutes on 2 cores ------------------------------------------------

SEEDS = ("0", "1", "2")
RECIPES = ("calibrated", "standard", "paper", "paper_closed_form_no_entropy")


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """Scores of each recipe, a list over the seeds."""
    output = tmp_path_factory.mktemp("study")
    done = run(
        "bin/study", f"--variants={','.join(RECIPES)}", f"--seeds={','.join(SEEDS)}",
        "--features=", f"--output={output}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {
        v: [variants.results(variants.Run("", v, int(s), output / f"{v}_{s}")) for s in SEEDS]
        for v in RECIPES
    }


@pytest.mark.long
def test_papers_recipe_meets_its_targets(recipes):
    for found in recipes["paper"]:
        assert abs(found["train_kl"] / 45 - 1) < 0.03
        assert abs(found["train_entropy_above_floor"] - 100) < 1


@pytest.mark.long
def test_calibrated_recipe_is_calibrated(recipes):
    for name in ("calibrated", "paper_closed_form_no_entropy"):
        for found in recipes[name]:
            assert abs(found["train_kl"] / 45 - 1) < 0.03
            assert 0.7 < found["component_square_min"] <= found["component_square_max"] < 1.4


@pytest.mark.long
def test_calibrated_recipe_beats_the_standard_vae(recipes):
    ours, standard = ([f["log_prob"] for f in recipes[n]] for n in ("calibrated", "standard"))
    error = np.hypot(np.std(ours, ddof=1), np.std(standard, ddof=1)) / np.sqrt(len(SEEDS))
    assert np.mean(ours) - np.mean(standard) > 5 * error
