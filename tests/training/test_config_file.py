"""A config that cannot be used is told in one line that names the file and the line in it."""

import sys
from pathlib import Path

import pytest
from absl import flags
from program_flags import program

from tf_structvae.training import config_file

ROOT = Path(__file__).parents[2]

BROKEN = {
    "is no Python": ("def get_config(:\n", "line 1: SyntaxError: invalid syntax"),
    "imports what is not there": ("\nimport no_such_module\n", "line 2: ModuleNotFoundError: "),
    "uses what is not defined": (
        "def get_config():\n    return steps\n",
        "line 2: NameError: name 'steps' is not defined",
    ),
    "has a wrong value": ("def get_config():\n    return int('x')\n", "line 2: ValueError: "),
    "reads what is not there": (
        "def get_config():\n    open('/no/such/file')\n",
        "line 2: FileNotFoundError: ",
    ),
    "asks for a field that is not there": (
        "from tf_structvae import config\ndef get_config():\n    return config.default().stepz\n",
        "line 3: AttributeError: ",
    ),
    "has no function": ("steps = 3\n", "wrong.py defines no get_config()."),
    "returns a number": (
        "def get_config():\n    return 3\n",
        "config must be a ConfigDict, as get_config() returns, got 3.",
    ),
    "takes an argument": (
        "def get_config(name):\n    return name\n",
        "wrong.py:ARGUMENT is what get_config takes: ",
    ),
}  # fmt: skip


def refused(name, monkeypatch, capfd, *words):
    """What a program tells that is run in this process and refuses its flags."""
    monkeypatch.delenv("STRUCTVAE_TRACEBACK", raising=False)
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # the last config's names
    with program(name) as module:
        monkeypatch.setattr(sys, "argv", [f"bin/{name}", *words])
        with pytest.raises(SystemExit) as ended:
            module.run()
    told = capfd.readouterr().err
    assert ended.value.code == 2, told
    assert "Traceback" not in told
    return told[told.index("error: ") :]


@pytest.mark.parametrize("kind", BROKEN)
def test_mistake_in_a_config_is_one_line(kind, tmp_path, monkeypatch, capfd):
    code, message = BROKEN[kind]
    (tmp_path / "wrong.py").write_text(code)
    config = f"--config={tmp_path / 'wrong.py'}"
    told = refused("train", monkeypatch, capfd, config, f"--workdir={tmp_path / 'run'}")
    assert message in told
    assert len(told.splitlines()) == 1
    if "line" in message:
        assert told.startswith(f"error: {tmp_path / 'wrong.py'}, line ")
    assert not (tmp_path / "run").exists()


def test_mistake_in_a_file_of_variants_is_one_line(tmp_path, monkeypatch, capfd):
    (tmp_path / "wrong.py").write_text("VARIANTS = {\n")
    told = refused("study", monkeypatch, capfd, "--config", str(tmp_path / "wrong.py"))
    assert f"{tmp_path / 'wrong.py'}, line 1: SyntaxError: '{{' was never closed" in told


def test_the_line_is_that_of_the_config_and_not_of_what_it_imports(tmp_path):
    (tmp_path / "wrong.py").write_text("import os\n\nos.stat('/no/such/file')\n")
    with pytest.raises(FileNotFoundError) as found:
        exec(compile((tmp_path / "wrong.py").read_text(), str(tmp_path / "wrong.py"), "exec"))
    try:
        raise RuntimeError("while loading") from found.value
    except RuntimeError as error:
        told = config_file.explain(error, f"{tmp_path / 'wrong.py'}:argument")
    assert told == f"{tmp_path / 'wrong.py'}, line 3: FileNotFoundError: {found.value}"
    assert config_file.explain(ValueError("no such field"), str(tmp_path / "wrong.py")) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("smoke", "--config: smoke does not exist; is configs/smoke.py meant? There are configs/"),
        ("configs/avatrs.py", "does not exist; is configs/avatars.py meant?"),
        ("avatars_standard.py:x", "is configs/avatars_standard.py meant?"),
        ("/nowhere/qqqqq.py", "--config: /nowhere/qqqqq.py does not exist. There are configs/app"),
        ("configs", "--config: configs is a directory"),
        ("", "--config: '' does not exist. There are configs/"),
    ],
)
@pytest.mark.parametrize("form", ["one word", "two words"])
def test_missing_file_is_told_with_those_that_there_are(given, message, form, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    words = [f"--config={given}"] if form == "one word" else ["--config", given]
    # before and behind the others: the order of flags is free
    told = refused("train", monkeypatch, capfd, "--distribute=none", *words)
    assert message in told
    for file in (ROOT / "configs").glob("*.py"):
        assert f"configs/{file.name}" in told
    assert "config_config" not in told


def test_traceback_is_shown_where_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text("def get_config(:\n")
    monkeypatch.setenv("STRUCTVAE_TRACEBACK", "1")
    with program("train") as module:
        monkeypatch.setattr(sys, "argv", ["bin/train", f"--config={tmp_path / 'wrong.py'}"])
        with pytest.raises(SyntaxError):
            module.run()


def test_find_takes_the_file_that_is_there(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert config_file.find("configs/smoke.py") == "configs/smoke.py"
    assert config_file.find("configs/study.py:default") == "configs/study.py:default"
    monkeypatch.chdir(tmp_path)
    assert config_file.find("mine/smoke.py") == "mine/smoke.py"
    assert config_file.find("configs/none.py") == "configs/none.py"


def test_find_falls_back_to_what_is_installed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "share").mkdir()
    monkeypatch.setattr(
        config_file, "_installed", lambda: {"configs/a.py": tmp_path / "share/a.py"}
    )
    assert config_file.find("configs/a.py:b") == f"{tmp_path / 'share/a.py'}:b"
    with pytest.raises(ValueError, match=r"b\.py does not exist.*There are configs/a\.py\."):
        config_file.check("configs/b.py")


@pytest.mark.parametrize("flag", ["--help", "--helpshort", "--helpfull", "--helpxml"])
def test_help_is_no_error(flag, monkeypatch, capfd):
    with program("train") as module:
        monkeypatch.setattr(sys, "argv", ["bin/train", flag])
        with pytest.raises(SystemExit) as ended:
            module.run()
    assert ended.value.code == 0
    assert "workdir" in capfd.readouterr().out


def test_empty_words_are_refused_but_for_overrides(monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    told = refused("train", monkeypatch, capfd, "--config=configs/smoke.py", "--workdir=")
    assert told == "error: --workdir must not be empty.\nTry --help.\n"
    told = refused("compare", monkeypatch, capfd, "--workdir=a", "--workdir=", "--output=x")
    assert "--workdir must not be empty" in told
    told = refused("evaluate", monkeypatch, capfd, "--workdir=a", "--output=")
    assert "--output must not be empty" in told
    assert "config" not in flags.FLAGS  # all is as it was
