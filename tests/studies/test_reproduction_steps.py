"""bin/reproduce in this process, with programs that only write the files of the true ones."""

import json
import os
import sys
from pathlib import Path

import pytest
from evaluated_model import model
from program_flags import program

from tf_structvae.studies import reproduction, variants

CONFIG = """
STUDIES = {"faces": ("plain", "good"), "broken": ("bad",)}
SEEDS = {"faces": (0, 1), "broken": (0,)}
SHOWN = {"faces": ("plain", "good"), "broken": ("bad",)}
FIGURES = {"faces": (1, 3), "broken": (7,)}
DENSITY = ("faces", "broken")
EVALUATE = ("images=2000",)
"""
FAILURE = "the loss is nan at step 3"
SCORES = {"plain": ("Standard VAE, plain", 2.0, 6.0), "good": ("Our VAE, good", 3.0, 1.0)}


class Programs:
    """Takes the place of `run_all`, and remembers what it was asked for."""

    def __init__(self):
        self.calls = []

    def __call__(self, jobs, at_a_time, label, done=0, on_failure=None):
        assert at_a_time == (1 if label == "tables" else 3)
        self.calls.append((label, done, [self._name(job) for job in jobs]))
        for job in jobs:
            job.output.parent.mkdir(parents=True, exist_ok=True)
            getattr(self, job.program)(job, on_failure)

    def _name(self, job):
        """Of a program with one run that of the run, else that of its output."""
        workdirs = values(job, "workdir")
        return Path((workdirs if len(workdirs) == 1 else values(job, "output"))[0]).name

    def train(self, job, on_failure):
        (workdir,) = map(Path, values(job, "workdir"))
        if "bad" in workdir.name:
            (workdir / "failure.txt").write_text(f"{FAILURE}; multipliers {{}}; batch: images 1.\n")
            on_failure(job, "")
            return
        commit = "abc123" if workdir.name.endswith("0") else "def456"
        (workdir / "provenance.json").write_text(json.dumps(self.starts(workdir.name, commit)))
        (workdir / "scores.json").write_text("{}")
        date(workdir / "scores.json", -60)

    @staticmethod
    def starts(name, commit):
        """Of what is written by `provenance.record`: good_1 was stopped at step 40."""
        steps = [0, 40] if name == "good_1" else [0]
        return [{"step": step, "commit": commit} for step in steps]

    def evaluate(self, job, on_failure):
        (folder,) = map(Path, values(job, "output"))
        folder.mkdir(parents=True, exist_ok=True)
        models = {}
        for name in (Path(w).name for w in values(job, "workdir")):
            variant, seed = name.split("_")
            recipe, means, samples = SCORES[variant]
            models[name] = model(recipe, int(seed), means, samples)
        found = {"titles": {"cnn": ""}, "data_sets": {"faces": {"models": models}}}
        (folder / "evaluation.json").write_text(json.dumps(found))
        (folder / "evaluation.md").write_text(f"\nTable of {', '.join(models)}\n")

    def figures(self, job, on_failure):
        self.figure_arguments = job.arguments

    def fit_distribution(self, job, on_failure):
        self.fit_arguments = job.arguments
        (Path(*values(job, "output")) / "density.md").write_text("Fitted densities\n")


def values(job, flag):
    return [w.removeprefix(f"--{flag}=") for w in job.arguments if w.startswith(f"--{flag}=")]


def date(path, seconds):
    """Lets a file be so much older or younger than the marks written now."""
    now = path.stat().st_mtime
    os.utime(path, (now + seconds, now + seconds))


@pytest.fixture
def reproduce(tmp_path, monkeypatch, capfd):
    """Flags -> (the programs it started, what it printed)."""
    (tmp_path / "tiny.py").write_text(CONFIG)

    def run(*flags, status=None):
        programs = Programs()
        monkeypatch.setattr(reproduction, "run_all", programs)
        monkeypatch.setattr(variants, "run_all", programs)
        words = [f"--config={tmp_path / 'tiny.py'}", f"--output={tmp_path / 'out'}", "--jobs=3"]
        with program("reproduce") as module:
            monkeypatch.setattr(sys, "argv", ["bin/reproduce", *words, *flags])
            with pytest.raises(SystemExit) as ended:
                module.run()
        printed = capfd.readouterr()
        assert ended.value.code == status, printed.err
        return programs, printed.err if status else printed.out

    return run


def test_first_everything_and_then_nothing_is_done(reproduce, tmp_path):
    out = tmp_path / "out"
    programs, printed = reproduce("--set=model.rank=3", "--figures=rows=2", "--fit=steps=9")
    assert programs.calls == [
        ("training", 0, ["plain_0", "good_0", "bad_0", "plain_1", "good_1"]),
        ("first scores", 0, ["plain_0"]),
        ("scores", 0, ["good_0", "plain_1", "good_1"]),
        ("tables", 0, ["evaluation"]),
        ("figures", 0, ["faces", "faces"]),
    ]
    assert programs.figure_arguments == (
        f"--workdir={out / 'plain_0'}",
        f"--workdir={out / 'good_0'}",
        "--figure=1,3",
        f"--output={out / 'figures/faces'}",
        "--rows=2",
    )
    assert programs.fit_arguments == (
        f"--config={tmp_path / 'tiny.py'}:good",
        f"--output={out / 'density/faces'}",
        "--config.model.rank=3",
        "--steps=9",
    )
    for word in (out / "results.md", out / "evaluation/table1.png", out / "figures/faces"):
        assert str(word) in printed
    text = (out / "results.md").read_text()
    assert text.startswith(f"# Results\n\n```sh\nbin/reproduce --config={tmp_path / 'tiny.py'} ")
    for part in (
        "--set=model.rank=3 --figures=rows=2 --fit=steps=9\n```\n",
        "\n\n5 runs, trained at commit abc123, def456, resumed: good_1 at step 40; evaluated at ",
        "\n\nTable of plain_0, good_0, plain_1, good_1\n\n## Order\n",
        "| ours (samples) < standard (means) | 0.50 (+7), 0.50 (+7) |",
        f"\n\nRuns without an end:\n\n* bad, seed 0: {FAILURE}\n\n",
        "\n\n## Section 4.5, faces\n\nFitted densities\n",
    ):
        assert part in text
    assert "Not run" not in text
    assert "## Section 4.5, broken" not in text

    again = reproduce("--set=model.rank=3", "--figures=rows=2", "--fit=steps=9")[0]
    assert again.calls == [
        ("training", 5, []),
        ("first scores", 1, []),
        ("scores", 3, []),
        ("tables", 0, ["evaluation"]),
        ("figures", 2, []),
    ]
    programs, printed = reproduce("--list")
    assert programs.calls == []
    states = [line.split() for line in printed.splitlines()]
    assert [(words[0], Path(words[-1]).name) for words in states] == [
        ("done", "plain_0"), ("done", "good_0"), ("the", "bad_0"), ("done", "plain_1"),
        ("done", "good_1"),
    ]  # fmt: skip


def test_what_changed_is_done_again(reproduce, tmp_path):
    reproduce()
    date(tmp_path / "out/good_1/scores.json", 120)  # it was trained some more
    programs, _ = reproduce()
    assert programs.calls[1:] == [
        ("first scores", 1, []),
        ("scores", 2, ["good_1"]),
        ("tables", 0, ["evaluation"]),
        ("figures", 2, []),  # of the first seed
    ]
    date(tmp_path / "out/good_1/scores.json", -120)
    programs, _ = reproduce("--evaluate=images=40", "--figures=rows=2")
    assert [names for _, _, names in programs.calls[1:]] == [
        ["plain_0"],
        ["good_0", "plain_1", "good_1"],
        ["evaluation"],
        ["faces"],  # the figures, not the densities
    ]


def test_what_is_trained_is_evaluated_without_the_rest(reproduce, tmp_path):
    message = reproduce("--notrain", status=2)[1]
    assert f"--notrain: no run in {tmp_path / 'out'} is finished." in message
    reproduce("--data=faces", "--seeds=0")
    programs, _ = reproduce("--notrain", "--data=faces")
    assert [names for _, _, names in programs.calls] == [[], [], ["evaluation"], []]
    text = (tmp_path / "out/results.md").read_text()
    assert "2 runs, trained at commit abc123, resumed: none; evaluated" in text
    assert "\n\nNot run: plain_1, good_1.\n" in text
    assert "Runs without an end" not in text


def test_an_unknown_failure_ends_it(tmp_path):
    run = variants.Run("tiny.py:bad", "bad", 0, tmp_path / "bad_0")

    def failing(jobs, at_a_time, label, done, on_failure):
        on_failure(jobs[0], "Segmentation fault")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "run_all", failing)
        with pytest.raises(RuntimeError, match=r"bad_0 .*failed:\nSegmentation fault"):
            variants.train_all([run], [], 1)
    assert not run.finished
