"""A headless Chromium and small models for the editor's tests."""

import editor_models
import httpx
import pytest
from editor_browser import Reader
from editor_models import LIMITS, ORIGIN
from starlette.testclient import TestClient

from tf_structvae.benchmarks.chromium import ARGUMENTS, executable
from tf_structvae.serving.app import create_app as create_serving_app
from tf_structvae.serving.editor.remote import Remote
from tf_structvae.serving.editor.server import create_app, create_remote_app

KINDS = {
    "waves": {},
    "grey": {"shape": editor_models.GREY},
    "standard": {"rank": 0},
    "blind": {"without": ["encode"]},
}


@pytest.fixture(autouse=True)
def _clean_keras():
    """Nothing here uses Keras, whose cleaning takes longer than a test."""


@pytest.fixture(scope="module")
def browser():
    """One a file: while playwright runs, nothing else in this process can run an event loop."""
    reason = "needs playwright: make test-browser, or pip install -e '.[browser]'"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    if executable() is None:
        pytest.skip("needs Chromium: make test-browser, or apt-get install chromium, or $CHROMIUM")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """(server, module) of a model of any of `KINDS`, once each."""
    running = {}

    def start(kind):
        if kind not in running:
            directory = tmp_path_factory.mktemp("models") / kind
            module = editor_models.save(directory, **KINDS[kind])
            running[kind] = editor_models.Served(create_app(kind, directory)), module
        return running[kind]

    yield start
    for server, _ in running.values():
        server.stop()


@pytest.fixture
def visit(browser, served):
    """Opens the editor in a fresh profile; the browser's errors fail the test."""
    opened = []

    def start(kind="waves", expected=None, width=1000, height=900, **options):
        server, model = served(kind)
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        opened.append((context, reader := Reader(context, server.url, expected)))
        reader.model = model
        return reader

    yield start
    for context, reader in opened:
        context.close()
        reader.check()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "waves"
    return directory, editor_models.save(directory)


@pytest.fixture(scope="module")
def app(saved):
    return create_app("waves", saved[0], LIMITS)


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app, base_url=ORIGIN) as found:
        yield found


@pytest.fixture(scope="module")
def remote(saved):
    """The editor of the same model behind another server."""
    serving = create_serving_app({"waves": saved[0]}, LIMITS)
    url = f"{ORIGIN}:8501/v1/models/waves"
    model = Remote(url, 5.0, transport=httpx.ASGITransport(serving))
    with TestClient(create_remote_app(model, LIMITS), base_url=ORIGIN) as found:
        yield found
