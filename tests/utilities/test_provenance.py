"""Of which commit a result is, in checkouts made here."""

import re
import shutil
import subprocess

import pytest

from tf_structvae.utilities import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit, as if the package were imported from it."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "module.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "First")
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    return tmp_path, git


def test_commit_is_that_of_the_checkout(checkout):
    folder, git = checkout
    found = provenance.commit()
    assert re.fullmatch("[0-9a-f]{9}", found)
    assert git("rev-parse", "HEAD").startswith(found)
    (folder / "notes.txt").write_text("not under version control\n")
    assert provenance.commit() == found
    (folder / "module.py").write_text("a = 2\n")
    assert provenance.commit() == f"{found}+changes"
    assert provenance.describe()["commit"] == f"{found}+changes"


def test_without_a_checkout_or_git_there_is_none(checkout, monkeypatch, tmp_path_factory):
    folder, _ = checkout
    (folder / ".git/HEAD").write_text("ref: refs/heads/none\n")  # no commit yet
    assert provenance.commit() is None

    def missing(*_, **__):
        raise FileNotFoundError("git")

    def slow(*_, **__):
        raise subprocess.TimeoutExpired("git", 30)

    for fails in (missing, slow):
        monkeypatch.setattr(provenance.subprocess, "run", fails)
        assert provenance.commit() is None
    monkeypatch.setattr(provenance, "_ROOT", tmp_path_factory.mktemp("installed"))
    monkeypatch.setattr(provenance.subprocess, "run", None)
    assert provenance.commit() is None
