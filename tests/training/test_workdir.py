"""Which directories a run may use, and what is told of one that holds none."""

import json

import pytest

from tf_structvae.training import config as config_lib
from tf_structvae.training import config_fields, tf_config, workdir
from tf_structvae.utilities import files


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A folder with the runs runs/avatars and runs/brains, where the test is."""
    for name in ("avatars", "brains"):
        workdir.write_config(tmp_path / "runs" / name, config_lib.default())
    (tmp_path / "runs/notes").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def resumed(directory):
    with pytest.raises(ValueError, match="holds no run to go on with") as error:
        workdir.check(directory, config_lib.default(), resume=True)
    return str(error.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("runs/avatrs", "runs/avatars"),
        ("runs/avatars2", "runs/avatars"),
        ("rnus/brains", "runs/brains"),
        ("runs/notes", None),  # it is there, but holds nothing and is like none
        ("runs/qqq", None),
        ("here/runs/qqq/avatars", None),
        ("runs", "runs/avatars, runs/brains"),
    ],
)
def test_resuming_where_no_run_is_names_those_that_may_be_meant(runs, given, meant):
    told = resumed(given)
    assert told.startswith(f"workdir {given} holds no run to go on with.")
    assert "--resume_if_any" in told
    assert (f"Of a name like it there are: {meant}. " in told) if meant else ("like it" not in told)
    absolute = resumed(runs.parent / given)
    if meant and "," not in meant:
        assert f"there are: {runs.parent / meant}. " in absolute
    assert not (runs.parent / "rnus").exists()


def test_a_run_without_a_checkpoint_can_be_resumed(runs):
    """It was killed in its first epoch."""
    assert workdir.holds_run("runs/avatars")
    assert not workdir.holds_run("runs/notes")
    workdir.check("runs/avatars", config_lib.default(), resume=True)


def test_reading_the_config_of_no_run_names_those_that_may_be_meant(runs):
    with pytest.raises(FileNotFoundError, match=r"avatrs holds no run: .* are: runs/avatars\.$"):
        workdir.read_config("runs/avatrs")


def test_run_from_before_a_schedule_longer_than_it_was_refused_can_be_read(tmp_path):
    """300 steps of pre-training of 10 steps: those were the 10."""
    old = json.loads(config_lib.default().to_json())
    old["train"]["steps"] = 10
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = workdir.read_config(tmp_path)
    assert (config.objective.pretrain_steps, config.train.warmup_steps) == (10, 10)
    config_lib.validate(config)


@pytest.mark.parametrize(("part", "name"), config_fields.AT_MOST_STEPS)
def test_schedules_may_take_all_steps_and_no_more(part, name):
    config = config_lib.default()
    config[part][name] = config.train.steps
    config_lib.validate(config)
    config[part][name] += 1
    with pytest.raises(
        ValueError, match=rf"{part}\.{name} = 1801: must be at most config\.train\.steps = 1800$"
    ):
        config_lib.validate(config)


def test_only_the_first_worker_writes(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert tf_config.writes("none")
    assert tf_config.writes("mirrored")
    with pytest.raises(ValueError, match="needs TF_CONFIG"):
        tf_config.writes("multi_worker")
    for index in (0, 1):
        monkeypatch.setenv("TF_CONFIG", tf_config.of_worker(["a:1", "b:1"], index))
        assert tf_config.writes("multi_worker") == (index == 0)


def test_a_directory_that_can_be_written_is_not_made(tmp_path):
    files.check_writable("output", tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^output .*/file/b cannot be written: Not a directory$"):
        files.check_writable("output", tmp_path / "file/b")
