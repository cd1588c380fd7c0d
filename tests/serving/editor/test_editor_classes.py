"""The editor of a conditional model: what its server tells, and the chooser in a real browser."""

import json

import conditional
import editor_models
import numpy as np
import pytest
import tensorflow as tf
from editor_browser import Reader
from editor_models import ORIGIN, ask
from PIL import Image
from starlette.testclient import TestClient

from tf_structvae.export import export
from tf_structvae.serving.editor import packing
from tf_structvae.serving.editor.information import describe
from tf_structvae.serving.editor.server import create_app

SHAPE = (12, 10, 3)
NAMES = ["ant", "bee", "cat", "dog"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(model, directory of its versions)."""
    model = conditional.make(shape=SHAPE)
    directory = tmp_path_factory.mktemp("models") / "animals"
    export(model, directory, about={"classes": NAMES}, warm_up=False)
    return model, directory


@pytest.fixture(scope="module")
def client(exported):
    with TestClient(create_app("animals", exported[1]), base_url=ORIGIN) as found:
        yield found


def test_server_tells_the_classes_and_passes_labels(exported, client):
    latents = np.array([[0.3, -1.0, 0.7]], np.float32)
    assert client.get("/editor/model").json()["classes"] == NAMES
    for k in (0, 2):
        arrays = {"latents": latents, "labels": np.array([k], np.int32)}
        answer = ask(client, "decode", arrays)
        assert answer.status_code == 200, answer.text
        means = packing.unpack(answer.content)[0]["means"].reshape(1, -1)
        np.testing.assert_allclose(means, exported[0].decode(latents, [k]).mean(), atol=1e-6)
    assert "labels" in ask(client, "decode", {"latents": latents}).json()["error"]
    far = ask(client, "decode", {"latents": latents, "labels": np.array([4], np.int32)})
    assert "labels must be from 0 to 3" in far.json()["error"]


def test_model_whose_classes_nobody_names_is_refused(client):
    """TF-Serving gives no card."""
    found = client.get("/v1/models/animals/metadata").json()
    metadata = found["metadata"]["signature_def"]["signature_def"]
    with pytest.raises(ValueError, match="takes labels, and the editor knows their classes from"):
        describe("animals", "1", metadata, None)
    assert describe("animals", "1", metadata, {"classes": NAMES})["classes"] == NAMES


@pytest.fixture
def visit(browser, exported):
    """Opens pages of the model; their errors fail the test."""
    opened = []
    server = editor_models.Served(create_app("animals", exported[1]))

    def start():
        opened.append(Reader(browser.new_context(), server.url))
        return opened[-1]

    yield start
    for reader in opened:
        reader.page.context.close()
        reader.check()
    server.stop()


def picture(model, document):
    """What Python computes of a document without strokes, [N]."""
    z, labels = np.float32([document["latents"]]), [document["label"]]
    p = model.decode(z, labels)
    directions, stddevs, _ = p.principal_components()
    u = directions.numpy()[0]
    u *= np.sign(u[np.abs(u).argmax(0), np.arange(u.shape[1])])  # as the signature orients them
    noise = stddevs.numpy()[0] * document["coefficients"]
    return np.clip(p.mean()[0] + u @ noise, 0, 1)


def assert_shows(reader, model):
    shown = reader.pixels()[..., :3].ravel() / 255
    np.testing.assert_allclose(shown, picture(model, reader.document), atol=0.51 / 255 + 1e-4)


def choose(reader, name):
    reader.page.locator("#class").select_option(label=name)
    reader.wait(f"document.documentElement.studio.history.current.label === {NAMES.index(name)}")


def test_chosen_class_keeps_latents_and_noise(visit, exported, tmp_path):
    model = exported[0]
    reader = visit()
    first = reader.document
    assert first["label"] == 0
    assert_shows(reader, model)
    options = reader.page.locator("#class option").all_inner_texts()
    assert options == NAMES
    before = reader.pixels()
    choose(reader, "cat")
    assert_shows(reader, model)
    assert reader.document == {**first, "label": 2}
    assert np.abs(reader.pixels().astype(int) - before).max() > 5
    reader.tab("Picture")
    reader.press("New latent")
    reader.wait("document.documentElement.studio.history.at === 2")
    assert reader.document["label"] == 2
    assert_shows(reader, model)
    reader.press("Undo")
    reader.press("Undo")
    reader.wait("document.documentElement.studio.history.at === 0")
    np.testing.assert_array_equal(reader.pixels(), before)
    assert reader.page.locator("#class").input_value() == "0"
    reader.press("Redo")
    reader.wait("document.documentElement.studio.history.at === 1")
    assert reader.page.locator("#class").input_value() == "2"
    # the way between two codes is that of the class
    reader.tab("Interpolate")
    reader.wait(
        "document.documentElement.studio.document && document.getElementById('path-to').width > 1"
    )
    p = model.decode(np.float32([reader.document["latents"]]), [2])
    shown = reader.pixels("#path-from")[..., :3].ravel() / 255
    np.testing.assert_allclose(shown, np.clip(p.mean()[0], 0, 1), atol=0.51 / 255 + 1e-4)
    choose(reader, "dog")
    p = model.decode(np.float32([reader.document["latents"]]), [3])
    shown = reader.pixels("#path-from")[..., :3].ravel() / 255
    np.testing.assert_allclose(shown, np.clip(p.mean()[0], 0, 1), atol=0.51 / 255 + 1e-4)


def test_session_upload_and_return_keep_the_class(visit, exported, tmp_path):
    model = exported[0]
    reader = visit()
    choose(reader, "bee")
    reader.tab("Picture")
    file = tmp_path / "mine.png"
    image = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    Image.fromarray(image).save(file)
    reader.page.set_input_files("#upload", file)
    reader.wait("document.documentElement.studio.history.at === 2")
    q = model.encode(tf.constant(image[np.newaxis] / np.float32(255)), [1])
    np.testing.assert_allclose(reader.document["latents"], q.mean()[0], atol=1e-4)
    assert reader.document["label"] == 1
    with reader.page.expect_download() as waiting:
        reader.press("Download session (JSON)")
    text = waiting.value.path().read_text()
    assert [s["label"] for s in json.loads(text)["states"]] == [0, 1, 1]
    reader.open()  # the browser kept it
    assert reader.document["label"] == 1
    other = visit()
    other.tab("Picture")
    (tmp_path / "s.json").write_text(text)
    other.page.set_input_files("#load-session", tmp_path / "s.json")
    other.notice("s.json is restored.")
    assert other.document == reader.document
    assert other.page.locator("#class").input_value() == "1"
    np.testing.assert_array_equal(other.pixels(), reader.pixels())
    session = json.loads(text)
    for label in (4, None, "bee"):
        session["states"][0]["label"] = label
        (tmp_path / "s.json").write_text(json.dumps(session))
        other.page.set_input_files("#load-session", tmp_path / "s.json")
        other.notice("s.json cannot be restored")
