"""bin/edit as a user starts it."""

import json
import signal
import sys
import urllib.error
import urllib.request

import editor_models
import pytest
from serving_models import eventually, process

from tf_structvae.serving.directory import choose


def get(url):
    with urllib.request.urlopen(url, timeout=300) as answer:
        return answer.read()


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """The file to which a browser that only notes its address writes."""
    file, program = tmp_path / "opened", tmp_path / "browser.py"
    program.write_text(f"import sys; open({str(file)!r}, 'w').write(sys.argv[1])")
    monkeypatch.setenv("BROWSER", f"{sys.executable} {program} %s")
    return file


def test_one_command_opens_the_page(tmp_path, opened):
    editor_models.save(tmp_path / "waves")
    with process("--model", tmp_path / "waves", program="edit") as editor:
        assert editor.url.startswith("http://127.0.0.1:")
        assert b"<!doctype html>" in get(editor.url)
        assert json.loads(get(f"{editor.url}/editor/model"))["name"] == "waves"
        assert eventually(lambda: opened.exists() and opened.read_text().strip("/") == editor.url)
        assert editor.end(signal.SIGINT) == 130
        assert editor.lines.get(timeout=300) is None


@pytest.mark.long
def test_of_a_model_of_bin_serve(tmp_path):
    editor_models.save(tmp_path / "waves")
    with (
        process("--model", tmp_path / "waves") as server,
        process("--server", f"{server.url}/v1/models/waves", "--noopen", program="edit") as editor,
    ):
        found = json.loads(get(f"{editor.url}/editor/model"))
        assert found["card"]["data"]["license"] == "CC0-1.0"
        assert server.end() == 0
        with pytest.raises(urllib.error.HTTPError) as error:
            get(f"{editor.url}/editor/model")
        assert "does not answer" in json.load(error.value)["error"]
        assert b"<!doctype html>" in get(editor.url)


def test_choice_of_a_model(tmp_path):
    with pytest.raises(ValueError, match="holds no exported model"):
        choose(None, tmp_path)
    for name in ("a", "b", "demo"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "saved_model.pb").touch()
        if name == "a":
            assert choose(None, tmp_path) == tmp_path / "a"
        if name == "b":
            with pytest.raises(ValueError, match="holds a, b"):
                choose(None, tmp_path)
    assert choose(None, tmp_path) == tmp_path / "demo"
    assert str(choose("x/y", tmp_path)) == "x/y"
