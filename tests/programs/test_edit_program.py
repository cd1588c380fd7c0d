"""bin/edit and bin/serve up to the server, which is made up: what is served, where, and the end."""

import os
import sys
import webbrowser
from pathlib import Path

import pytest
from program_flags import program

from tf_structvae.serving import directory, hosts, server
from tf_structvae.serving.editor import remote
from tf_structvae.serving.editor import server as editor


class Ended(Exception):
    """Instead of the end of the process."""


@pytest.fixture
def edit(tmp_path, monkeypatch, capfd):
    """Flags -> (status, what was asked for, what was printed)."""
    (tmp_path / "face/1").mkdir(parents=True)
    (tmp_path / "face/1/saved_model.pb").write_bytes(b"")

    def run(*flags, finished=True):
        asked = {}

        def serve(app, bound, ready, seconds):
            asked.update(app=app, seconds=seconds, port=bound.getsockname()[1])
            ready()
            bound.close()
            return finished

        def leave(status):
            raise Ended(status)

        def load(*given):
            assert kept == [1]  # before models are loaded, which are garbage some day
            return ("local", *given)

        kept = []
        monkeypatch.setattr(server, "run", serve)
        monkeypatch.setattr(server, "keep_imports", lambda: kept.append(1))
        monkeypatch.setattr(editor, "create_app", load)
        monkeypatch.setattr(editor, "create_remote_app", lambda *given: ("remote", *given))
        monkeypatch.setattr(remote, "Remote", lambda *given: given)
        monkeypatch.setattr(webbrowser, "open", lambda url: asked.update(opened=url))
        with program("edit") as module:
            monkeypatch.setattr(sys, "argv", ["bin/edit", "--port=0", *flags])
            monkeypatch.setattr(os, "_exit", leave)
            with pytest.raises((SystemExit, Ended)) as ended:
                module.run()
            monkeypatch.undo()
        status = ended.value.args[0] if ended.value.args else None
        return ended.type, status, asked, "".join(capfd.readouterr())

    return run


def test_a_directory_is_shown_in_a_browser(edit, tmp_path):
    how, status, asked, printed = edit(f"--model={tmp_path / 'face'}", "--timeout=7")
    assert (how, status) == (SystemExit, None)
    kind, name, directory, limits, allowed = asked["app"]
    assert (kind, name, directory) == ("local", "face", tmp_path / "face")
    assert limits.seconds == asked["seconds"] == 7
    assert allowed == hosts.LOOPBACK
    address = f"http://127.0.0.1:{asked['port']}"
    assert asked["opened"] == address
    assert printed == f"editor    {address} shows {directory}; Ctrl-C ends it.\nstopped.\n"


def test_a_server_is_shown_without_a_browser(edit):
    url = "http://elsewhere:8501/v1/models/face"
    _, status, asked, printed = edit(f"--server={url}", "--noopen", "--host=0.0.0.0")
    assert status is None
    kind, (server_url, seconds), _, allowed = asked["app"]
    assert (kind, server_url, seconds, allowed) == ("remote", url, 60.0, hosts.ANY)
    assert "opened" not in asked
    assert f"shows {url};" in printed


def test_a_call_that_does_not_end_does_not_keep_it(edit, tmp_path):
    how, status, _, printed = edit(f"--model={tmp_path / 'face'}", "--noopen", finished=False)
    assert (how, status) == (Ended, 1)
    assert printed.endswith("stopped.\n")


@pytest.mark.parametrize(
    ("name", "missing"), [("edit", "serving.editor.server"), ("serve", "serving.server")]
)
def test_what_is_not_installed_is_told(name, missing, tmp_path, monkeypatch, capfd):
    """As where fastapi is missing: the module that needs it cannot be imported."""

    (tmp_path / "face/1").mkdir(parents=True)
    (tmp_path / "face/1/saved_model.pb").write_bytes(b"")
    package, _, module = missing.rpartition(".")
    monkeypatch.delattr(sys.modules[f"tf_structvae.{package}"], module, raising=False)
    monkeypatch.setitem(sys.modules, f"tf_structvae.{missing}", None)
    monkeypatch.delenv("STRUCTVAE_TRACEBACK", raising=False)
    with program(name) as found:
        words = [f"bin/{name}", "--port=0", f"--model={tmp_path / 'face'}"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            found.run()
    assert ended.value.code == 2
    told = capfd.readouterr().err
    extra = {"edit": "the editor needs the extra [editor]", "serve": "the server needs the extra"}
    assert extra[name] in told
    assert "Traceback" not in told


def test_which_model_is_shown_if_none_is_named(tmp_path):
    def add(*names):
        for name in names:
            (tmp_path / name / "1").mkdir(parents=True)
            (tmp_path / name / "1/saved_model.pb").touch()

    (tmp_path / "empty/1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"must be given: .* holds no exported model"):
        directory.choose(None, tmp_path)
    add("faces")
    assert directory.choose(None, tmp_path) == tmp_path / "faces"
    add("brains")
    with pytest.raises(ValueError, match=r"must be given: .* holds brains, faces"):
        directory.choose(None, tmp_path)
    add("demo")
    assert directory.choose(None, tmp_path) == tmp_path / "demo"
    assert directory.choose("faces", tmp_path) == Path("faces")
