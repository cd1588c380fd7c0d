"""The programs as a user starts them."""

import subprocess
import sys

import pytest
from forked import run


def test_train_and_compare(data_dir, tmp_path):
    options = [
        f"--config.data.dir={data_dir}",  # before --config: the order of flags is free
        f"--config.export_dir={tmp_path / 'models'}",
        "--config",
        "configs/smoke.py",
    ]
    first = run("bin/train", *options, "--workdir", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr
    for word in ("model ", "picture ", "logs ", "next ", "kl ", "autocorrelation"):
        assert word in first.stdout
    assert (tmp_path / "models/smoke/1/saved_model.pb").exists()
    again = run("bin/train", *options, "--workdir", str(tmp_path / "a"))
    assert again.returncode == 2
    assert "already holds a run" in again.stderr
    assert "Traceback" not in again.stderr
    both = run(
        "bin/compare", "--workdir", str(tmp_path / "a"), "--workdir", str(tmp_path / "a"),
        "--output", str(tmp_path / "out"),
    )  # fmt: skip
    assert both.returncode == 0, both.stderr
    assert (tmp_path / "out/comparison.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config must have a value"),
        (["--config=configs/none.py"], "configs/none.py"),
        (["--config=configs/smoke.py", "--config.train.stepz=3"], "stepz"),
        (["--config=configs/smoke.py", "--config.train.steps=-3"], "must be a positive integer"),
        (["--config=configs/smoke.py", "--config.train.steps=abc"], "abc"),
        (["--config=configs/smoke.py", "--config.data.variant=9x9"], "variant of avatars"),
        (["--config=configs/smoke.py", "--colour=red"], "colour"),
        (["--config=configs/smoke.py", "now"], "unexpected argument 'now'"),
    ],
)
def test_errors_are_one_message(arguments, message, tmp_path):
    result = run("bin/train", *arguments, "--workdir", str(tmp_path / "run"))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_import_is_quiet_and_does_not_load_tensorflow():
    code = "import tf_structvae, sys; assert 'tensorflow' not in sys.modules"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_module_runs_any_program_and_help_names_it():
    assert "slerp" in run("-m", "tf_structvae", "figures", "--figure=list").stdout
    listed = run("-m", "tf_structvae", "--help")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "PROGRAM: benchmark, compare, " in listed.stdout
    done = run("-m", "tf_structvae", "train", "--help")
    assert done.returncode == 0
    helped = done.stdout
    assert "\nUSAGE: python -m tf_structvae train [flags]\n" in helped
    assert "--workdir: Where the run is kept" in helped
    helped = run("bin/local_workers", "--help").stdout
    assert "\nUSAGE: bin/local_workers [flags] -- COMMAND\n" in helped
    refused = run("-m", "tf_structvae", "paint")
    assert refused.returncode == 2
    assert "must be one of benchmark, compare, " in refused.stderr
