"""The editor without its server, behind another one, and with a model that lacks something."""

import editor_models
import httpx
import numpy as np
import pytest
from editor_browser import BROKEN_LOAD, Reader, upload
from editor_expected import assert_shows, picture

from tf_structvae.serving.app import create_app as create_serving_app
from tf_structvae.serving.editor.remote import Remote
from tf_structvae.serving.editor.server import create_app, create_remote_app


def test_drawing_survives_the_loss_of_the_server(browser, tmp_path):
    directory = tmp_path / "waves"
    model = editor_models.save(directory)
    server = editor_models.Served(create_app("waves", directory))
    context = browser.new_context()
    reader = Reader(context, server.url, BROKEN_LOAD)
    reader.model = model
    reader.draw((3, 3), (9, 9))
    server.stop()
    reader.tab("Picture")
    before = reader.pixels()
    reader.press("New latent")
    reader.notice("The server does not answer. What you drew is kept")
    np.testing.assert_array_equal(reader.pixels(), before)
    reader.draw((15, 3), (15, 12))  # the page needs no server for this
    assert_shows(reader, picture(reader))
    drawn = reader.pixels()
    again = editor_models.Served(create_app("waves", directory), port=server.port)
    reader.notice("The server answers again.")
    assert reader.page.locator(".notice.error").count() == 0
    np.testing.assert_array_equal(reader.pixels(), drawn)
    reader.open()
    np.testing.assert_array_equal(reader.pixels(), drawn)
    again.stop()
    context.close()
    reader.check()


class Failing(httpx.AsyncBaseTransport):
    """Reaches a server in this process, or not."""

    def __init__(self, app):
        self.inner, self.fails = httpx.ASGITransport(app), True

    async def handle_async_request(self, request):
        if self.fails:
            raise httpx.ConnectError("connection refused")
        return await self.inner.handle_async_request(request)


def test_model_behind_another_server_that_comes_later(browser, tmp_path):
    model = editor_models.save(tmp_path / "waves")
    transport = Failing(create_serving_app({"waves": tmp_path / "waves"}))
    remote = Remote("http://127.0.0.1:8501/v1/models/waves", 5.0, transport)
    context = browser.new_context()
    with editor_models.served(create_remote_app(remote)) as server:
        reader = Reader(context, server.url, BROKEN_LOAD)
        reader.model = model
        reader.notice("The server does not answer.")
        transport.fails = False
        reader.page.locator("#model-name", has_text="waves").wait_for(timeout=300_000)
        reader.wait("document.documentElement.dataset.ready === 'true'")
        reader.draw((3, 3), (9, 9))
        assert_shows(reader, picture(reader))
        context.close()
        reader.check()


@pytest.mark.long
def test_model_without_a_signature_is_told(visit):
    reader = visit("blind")
    reader.tab("Picture")
    reader.page.set_input_files("#upload", upload())
    reader.notice("This model has no signature 'encode'")
    standard = visit("standard")
    standard.tab("Steer")
    assert "no signature 'components'" in standard.page.locator("#steer-help").inner_text()
    standard.tab("Picture")
    assert standard.page.get_by_role("button", name="New noise").is_disabled()
