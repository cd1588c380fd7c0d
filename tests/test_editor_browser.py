"""The editor in a real browser, by a person's means: pointer, keys, files."""

import io
import itertools
import json

import editor_models
import httpx
import numpy as np
import pytest
import tensorflow as tf
from editor_browser import BROKEN_LOAD, Reader
from PIL import Image

from tf_structvae import editing
from tf_structvae.benchmarks.chromium import ARGUMENTS, executable
from tf_structvae.editor.remote import Remote
from tf_structvae.editor.server import create_app, create_remote_app
from tf_structvae.serving.app import create_app as create_serving_app

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install -e '.[browser]'"
)
pytestmark = pytest.mark.skipif(
    executable() is None, reason="needs Chromium: apt-get install chromium, or set CHROMIUM"
)
GREY_LEVEL = 1 / 255  # pictures are compared as they are shown, in 256 levels


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(server, module) of a model of any kind, once each."""
    kinds = {
        "waves": {},
        "grey": {"shape": editor_models.GREY},
        "standard": {"rank": 0},
        "blind": {"without": ["encode"]},
    }
    running = {}

    def start(kind):
        if kind not in running:
            directory = tmp_path_factory.mktemp("models") / kind
            module = editor_models.save(directory, **kinds[kind])
            running[kind] = editor_models.Served(create_app(kind, directory)), module
        return running[kind]

    yield start
    for server, _ in running.values():
        server.stop()


@pytest.fixture
def visit(browser, served):
    """Opens the editor in a fresh profile; the browser's errors fail the test."""
    opened = []

    def start(kind="waves", expected=None, width=1000, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        reader = Reader(context, served(kind)[0].url, expected)
        reader.model = served(kind)[1]
        opened.append((context, reader))
        return reader

    yield start
    for context, reader in opened:
        context.close()
        reader.check()


def normal(reader, noise=None):
    """p(x | z) of the page's document; its picture moved to that of a noise."""
    document = reader.document
    p = reader.model.distribution([document["latents"]])
    noise = np.multiply(document["noise"], document["scales"]) if noise is None else noise
    directions, stddevs, rotation = p.principal_components()
    w = tf.linalg.matvec(rotation, tf.constant([noise], tf.float32))
    np.testing.assert_allclose(
        p.sample_from_noise(w),
        p.mean() + tf.linalg.matvec(directions, stddevs * np.float32([noise])),
        atol=1e-5,
    )
    return type(p)(p.sample_from_noise(w), p.cov_factor, p.cov_diag)


def painted(reader):
    """Mask and values [N] of the document's strokes, disc by disc as editing.py paints them."""
    shape = reader.shape
    mask, values = np.zeros(shape, bool), np.zeros(shape, np.float32)
    for stroke in reader.document["strokes"]:
        points = [stroke["points"][0], *stroke["points"]]
        for (r0, c0), (r1, c1) in itertools.pairwise(points):
            steps = max(abs(r1 - r0), abs(c1 - c0), 1)
            for i in range(steps + 1):
                # as JavaScript rounds
                pixel = (int(np.floor(r0 + (r1 - r0) * i / steps + 0.5)),
                         int(np.floor(c0 + (c1 - c0) * i / steps + 0.5)))  # fmt: skip
                disc = editing.disc(editing.Edit(pixel, (), stroke["size"]), shape)
                mask[disc] = not stroke["erase"]
                values[disc] = np.float32(stroke["colour"]) / 255
    return mask.ravel(), values.ravel()


def expected(reader):
    """The picture [N] that Python computes of the page's document."""
    mask, values = painted(reader)
    softness = reader.document["softness"]
    q = normal(reader).condition(mask, values, softness**2 or None)
    return np.ravel(q.mean())


def assert_shows(reader, picture):
    channels = reader.shape[-1]
    shown = reader.pixels()[..., :channels].ravel() / 255
    np.testing.assert_allclose(shown, np.clip(picture, 0, 1), atol=0.51 * GREY_LEVEL + 1e-4)


def test_page_tells_which_model_it_shows(visit):
    reader = visit()
    facts = reader.page.locator("#model-facts").inner_text()
    for word in ("version 1", "20 \u00d7 24 colour", "waves", "CC0-1.0"):
        assert word in facts
    reader.page.get_by_text("About this model").click()
    card = reader.page.locator("#model-card").inner_text()
    for word in ("Smooth waves.", "rank 4", "1,234", "Nobody"):
        assert word in card
    assert_shows(reader, np.ravel(normal(reader).mean()))


@pytest.mark.parametrize("kind", ["waves", "grey", "standard"])
def test_stroke_moves_the_rest_as_condition_says(visit, kind):
    reader = visit(kind)
    reader.tab("Picture")
    if kind != "standard":
        reader.press("Without noise: the mean")
    reader.tab("Edit")
    before = reader.pixels()
    reader.draw((4, 4), (7, 12), release=False)
    during = reader.pixels()
    reader.page.mouse.up()
    reader.frame()
    mask, values = painted(reader)
    p = reader.model.distribution([reader.document["latents"]])
    assert_shows(reader, np.ravel(p.condition(mask, values).mean()))
    np.testing.assert_array_equal(during, reader.pixels())
    away = ~mask.reshape(reader.shape)[..., 0]
    moved = np.any(before[away] != reader.pixels()[away])
    assert moved == (kind != "standard")
    assert 10 < mask.sum() < mask.size / 2


def test_edits_accumulate_soften_erase_and_undo_bit_for_bit(visit):
    reader = visit()
    page, shown = reader.page, [reader.pixels()]

    def step(expected_change=True):
        reader.frame()
        assert_shows(reader, expected(reader))
        assert np.any(reader.pixels() != shown[-1]) == expected_change
        shown.append(reader.pixels())

    reader.draw((3, 3), (5, 9))
    step()
    page.get_by_role("button", name="Colour #2f6f8f").click()
    reader.set("#size", 1)
    reader.draw((15, 12), (20, 15))
    step()
    assert reader.document["strokes"][1]["colour"] == [0x2F, 0x6F, 0x8F]
    assert reader.document["strokes"][1]["size"] == 1
    reader.set("#softness", 15)
    step()
    page.get_by_label("Eraser").check(force=True)
    reader.draw((3, 3), (5, 9))
    step()
    reader.tab("Picture")
    reader.press("New noise")
    step()
    reader.press("New latent")
    reader.wait("document.getElementById('busy').hidden")
    step()
    reader.press("Reset")
    step()
    for picture in reversed(shown[:-1]):
        page.keyboard.press("Control+z")
        reader.frame()
        np.testing.assert_array_equal(reader.pixels(), picture)
    assert page.locator("#undo").is_disabled()
    for picture in shown[1:]:
        reader.press("Redo")
        reader.frame()
        np.testing.assert_array_equal(reader.pixels(), picture)
    assert page.locator("#redo").is_disabled()


def test_before_picker_edited_pixels_and_samples(visit):
    reader = visit()
    page, first = reader.page, reader.pixels()
    page.get_by_label("Pick colour").check(force=True)
    reader.page.mouse.click(*reader.at((10, 10)))
    picked = page.locator("#colour").input_value()
    assert picked == "#" + bytes(first[10, 10, :3]).hex()
    assert page.get_by_label("Brush").is_checked()
    page.get_by_role("button", name="Colour #111111").click()
    reader.draw((8, 8))
    edited = reader.pixels()
    reader.press("Before")
    np.testing.assert_array_equal(reader.pixels(), first)
    reader.press("Before")
    np.testing.assert_array_equal(reader.pixels(), edited)
    page.mouse.move(5, 5)
    assert reader.lies_bare()
    page.get_by_label("Edited pixels").check()
    assert not reader.lies_bare()
    page.wait_for_timeout(200)
    samples = [reader.pixels(f"#samples button:nth-child({i}) canvas") for i in range(1, 5)]
    mask, _ = painted(reader)
    inside = mask.reshape(reader.shape)[..., 0]
    for sample in samples:
        np.testing.assert_array_equal(sample[inside], edited[inside])
        assert np.any(sample != edited)
    reader.press("Draw others")
    page.wait_for_timeout(200)
    assert np.any(reader.pixels("#samples button:nth-child(1) canvas") != samples[0])
    page.get_by_label("Sample 2: go on with it").click()
    assert_shows(reader, expected(reader))
    assert np.any(reader.pixels() != edited)


def test_sliders_are_equation_4(visit):
    reader = visit()
    reader.tab("Steer")
    assert reader.page.locator(".component").count() == editor_models.RANK
    shares = reader.page.locator(".component .quiet").all_inner_texts()
    strengths = [float(text.split(" ")[0]) for text in shares]
    assert strengths == sorted(strengths, reverse=True)
    assert sum(strengths) == pytest.approx(100, abs=0.5)
    first = reader.pixels()
    slider = reader.page.get_by_label("Component 2", exact=True)
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("-5", "5")
    slider.focus()
    for _ in range(10):
        reader.page.keyboard.press("ArrowLeft")
    reader.set("#component-3", -5)
    document = reader.document
    assert document["scales"] == pytest.approx([1, 0, 1, -5])
    p = reader.model.distribution([document["latents"]])
    rotation = p.principal_components()[2]
    w = tf.linalg.matvec(rotation, tf.constant([document["noise"]], tf.float32))
    steered = p.scale_components(np.float32([document["scales"]])).sample_from_noise(w)
    assert_shows(reader, np.ravel(steered))
    assert np.any(reader.pixels() != first)
    mean = normal(reader, np.zeros(editor_models.RANK)).mean()
    thumbnail = reader.pixels(".component:nth-child(1) canvas")[..., :3].ravel() / 255
    along = tf.reshape(p.principal_components()[0][0, :, 0], [-1])
    change = 0.6 * along / np.abs(along).max()
    np.testing.assert_allclose(thumbnail, np.clip(mean[0] + change, 0, 1), atol=GREY_LEVEL)
    reader.press("Reset sliders")
    np.testing.assert_array_equal(reader.pixels(), first)


def test_square_of_four_noise_samples(visit):
    reader = visit()
    reader.tab("Interpolate")
    first = reader.pixels()
    noise = reader.document["noise"]
    box = reader.page.locator("#square").bounding_box()
    reader.page.mouse.move(box["x"] + 5, box["y"] + 5)
    reader.page.mouse.down()
    reader.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.25 * box["height"], steps=4)
    reader.frame()
    during = reader.pixels()
    assert np.any(during != first)
    reader.page.mouse.up()
    assert_shows(reader, expected(reader))
    np.testing.assert_array_equal(reader.pixels(), during)
    # by keys to a corner, and to a point of Python's grid
    point = reader.page.locator("#square-point")
    point.focus()
    for _ in range(20):
        reader.page.keyboard.press("ArrowLeft")
        reader.page.keyboard.press("ArrowUp")
    np.testing.assert_allclose(reader.document["noise"], noise, atol=1e-6)
    corners = [noise]
    for keys in (["ArrowRight"], ["ArrowDown"], ["ArrowLeft"]):
        for key in keys * 20:
            reader.page.keyboard.press(key)
        corners.append(reader.document["noise"])
    for key in ["ArrowRight"] * 6 + ["ArrowUp"] * 9:
        reader.page.keyboard.press(key)
    a, b, d, c = corners
    grid = editing.slerp_grid(np.array([a, b, c, d]), 21, 21)
    np.testing.assert_allclose(reader.document["noise"], grid[11, 6], atol=1e-6)
    assert_shows(reader, expected(reader))


@pytest.mark.long
def test_path_between_two_codes(visit):
    reader = visit()
    start = reader.document["latents"]
    reader.tab("Interpolate")
    reader.wait("document.getElementById('path-to').width === 20")
    reader.page.locator("#path").evaluate(
        "e => { e.value = 0.3; e.dispatchEvent(new Event('input')); }"
    )
    reader.wait("!document.getElementById('take-path').disabled")
    shown = reader.pixels()
    reader.press("Go on with this picture")
    reader.wait("document.getElementById('take-path').disabled")
    assert set(reader.document["noise"]) == {0}
    taken = reader.document["latents"]
    mean = reader.model.distribution([taken]).mean()
    assert_shows(reader, np.ravel(mean))
    np.testing.assert_array_equal(reader.pixels(), shown)
    assert np.any(np.array(taken) != start)
    reader.press("Undo")
    assert reader.document["latents"] == start


@pytest.mark.long
def test_seeds_give_the_same_picture_again(visit):
    reader = visit()
    page = reader.page
    reader.tab("Picture")
    for label, seed in (("Latent seed", "42"), ("Noise seed", "7")):
        page.get_by_label(label).fill(seed)
        page.keyboard.press("Enter")
        reader.wait("document.getElementById('busy').hidden")
    reader.wait("document.documentElement.studio.history.at === 2")
    picture = reader.pixels()
    drawn = reader.model.sample(tf.constant([[42, 0]]))
    np.testing.assert_allclose(reader.document["latents"], drawn["latents"][0], atol=1e-6)
    assert np.abs(np.mean(reader.document["noise"])) < 3 / np.sqrt(editor_models.RANK)
    reader.press("New noise")
    reader.press("New latent")
    reader.wait("document.documentElement.studio.history.at === 4")
    assert np.any(reader.pixels() != picture)
    assert page.get_by_label("Latent seed").input_value() not in ("", "42")
    again = visit()
    again.tab("Picture")
    for i, (label, seed) in enumerate((("Noise seed", "7"), ("Latent seed", "42"))):
        again.page.get_by_label(label).fill(seed)
        again.page.keyboard.press("Enter")
        again.wait(f"document.documentElement.studio.history.at === {i + 1}")
    np.testing.assert_array_equal(again.pixels(), picture)
    again.page.get_by_label("Noise seed").fill("many")
    again.page.keyboard.press("Enter")
    again.notice("A seed is a whole number")


def _picture(height=90, width=200, **options):
    rows, columns = np.mgrid[:height, :width]
    colours = np.stack([rows / height, columns / width, 0 * rows + 0.5], -1)
    file = io.BytesIO()
    Image.fromarray(np.uint8(255 * colours)).save(file, **({"format": "PNG"} | options))
    return {"name": "mine.png", "mimeType": "image/png", "buffer": file.getvalue()}


@pytest.mark.parametrize("kind", ["waves", pytest.param("grey", marks=pytest.mark.long)])
def test_uploaded_picture_is_encoded_and_edited(visit, kind):
    reader = visit(kind)
    reader.tab("Picture")
    reader.page.set_input_files("#upload", _picture())
    reader.wait("document.documentElement.studio.history.at === 1")
    height, width, channels = reader.shape
    seen = reader.pixels("#upload-seen")[..., :channels].astype(np.float32) / 255
    # the middle of the picture, of the model's proportions
    colours = seen if channels == 3 else np.repeat(seen, 3, -1) * [np.nan, np.nan, np.nan]
    if channels == 3:
        np.testing.assert_allclose(colours[:, width // 2, 1], 0.5, atol=0.03)
        np.testing.assert_allclose(colours[:, 0, 0], (np.arange(height) + 0.5) / height, atol=0.03)
        across = 0.5 + 90 / 200 * width / height * ((np.arange(width) + 0.5) / width - 0.5)
        np.testing.assert_allclose(colours[0, :, 1], across, atol=0.03)
    found = reader.model.encode(seen[np.newaxis])
    np.testing.assert_allclose(reader.document["latents"], found["latents"][0], atol=0.02)
    p = reader.model.distribution([reader.document["latents"]])
    w = p.noise_posterior(seen.ravel()[np.newaxis])[0]
    assert_shows_closely(reader, np.ravel(p.sample_from_noise(w)))
    reader.tab("Edit")
    reader.draw((3, 3), (9, 9))
    assert_shows(reader, expected(reader))


def assert_shows_closely(reader, picture):
    """Up to two levels: the page encoded a picture whose rounding is not known here."""
    shown = reader.pixels()[..., : reader.shape[-1]].ravel() / 255
    np.testing.assert_allclose(shown, np.clip(picture, 0, 1), atol=2.5 * GREY_LEVEL)


@pytest.mark.long
def test_dropped_picture_is_taken(visit):
    reader = visit()
    reader.page.evaluate(
        """async (bytes) => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(bytes)], "a.png", {type: "image/png"}));
          document.getElementById("frame").dispatchEvent(
            new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
        }""",
        list(_picture()["buffer"]),
    )
    reader.wait("document.documentElement.studio.history.at === 1")
    assert reader.document["seed"] is None


@pytest.mark.long
def test_bad_uploads_are_told_and_lose_nothing(visit):
    reader = visit()
    reader.draw((3, 3), (9, 9))
    before = reader.pixels()
    reader.tab("Picture")
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    reader.page.set_input_files("#upload", text)
    reader.notice("notes.txt is no picture that this browser can read.")
    torn = {**_picture(), "name": "torn.png"}
    torn["buffer"] = torn["buffer"][:60]
    reader.page.set_input_files("#upload", torn)
    reader.notice("torn.png is no picture")
    reader.page.evaluate(
        """() => {
          const files = new DataTransfer();
          files.items.add(new File([new Uint8Array(41e6)], "huge.png", {type: "image/png"}));
          const input = document.getElementById("upload");
          input.files = files.files;
          input.dispatchEvent(new Event("change"));
        }"""
    )
    reader.notice("huge.png has 41 MB; at most 40 MB are taken.")
    np.testing.assert_array_equal(reader.pixels(), before)


@pytest.mark.long
def test_model_without_a_signature_is_told(visit):
    reader = visit("blind")
    reader.tab("Picture")
    reader.page.set_input_files("#upload", _picture())
    reader.notice("This model has no signature 'encode'")
    standard = visit("standard")
    standard.tab("Steer")
    assert "no signature 'components'" in standard.page.locator("#steer-help").inner_text()
    standard.tab("Picture")
    assert standard.page.get_by_role("button", name="New noise").is_disabled()


@pytest.mark.parametrize("soft", [False, True])
def test_maps_are_variance_and_covariance(visit, soft):
    reader = visit()
    if soft:
        reader.draw((2, 2), (2, 12))
        reader.set("#softness", 12)
    reader.tab("Look")
    reader.page.mouse.move(*reader.at((10, 6)))
    assert "row 10, column 6" in reader.page.locator("#look-help").inner_text()
    mask, values = painted(reader)
    q = normal(reader)
    if soft:
        q = q.condition(mask, values, reader.document["softness"] ** 2)
    dense = np.reshape(q.covariance(), [q.event_shape[0]] * 2)
    height, width, channels = reader.shape
    pixel = 10 * width + 6
    row = dense[:, channels * pixel : channels * (pixel + 1)].mean(-1)
    found = reader.array(f"conditional.covariances({pixel})")
    scale = np.abs(dense).max()
    np.testing.assert_allclose(found, row, atol=1e-4 * scale)
    variances = reader.array("conditional.variances()")
    np.testing.assert_allclose(variances, np.diag(dense), atol=1e-4 * scale)
    # colours: red where positive, blue where negative, by size
    signed = row.reshape(height, width, channels).mean(-1)
    shown = reader.pixels("#map").astype(int)
    redness = shown[..., 0] - shown[..., 2]
    far = np.abs(signed) > 0.15 * np.abs(np.delete(signed.ravel(), pixel)).max()
    far[10, 6] = False  # the mark
    assert far.sum() > 20
    np.testing.assert_array_equal(np.sign(redness[far]), np.sign(signed[far]))
    legend = reader.page.locator("#legend-high").inner_text().replace("\N{MINUS SIGN}", "-")
    others = np.delete(signed.ravel(), pixel)
    assert float(legend) == pytest.approx(np.abs(others).max(), rel=0.06)
    reader.page.get_by_label("Variance", exact=True).check(force=True)
    deviation = np.sqrt(np.diag(dense).reshape(reader.shape).mean(-1))
    legend = reader.page.locator("#legend-high").inner_text().replace("\N{MINUS SIGN}", "-")
    assert float(legend) == pytest.approx(deviation.max(), rel=0.06)
    brightness = reader.pixels("#map")[..., :3].sum(-1)
    assert np.corrcoef(brightness.ravel(), deviation.ravel())[0, 1] > 0.95
    assert len(reader.document["strokes"]) == soft  # looking paints nothing


def test_downloads_and_restored_session(visit, tmp_path):
    reader = visit()
    reader.draw((3, 3), (9, 9))
    reader.tab("Steer")
    reader.set("#component-0", 3)
    reader.tab("Picture")
    with reader.page.expect_download() as waiting:
        reader.press("Download picture (PNG)")
    png = Image.open(waiting.value.path())
    np.testing.assert_array_equal(np.array(png), reader.pixels())
    assert waiting.value.suggested_filename == "waves.png"
    with reader.page.expect_download() as waiting:
        reader.press("Download session (JSON)")
    session = json.loads(waiting.value.path().read_text())
    waiting.value.save_as(tmp_path / "session.json")
    assert session["model"]["name"] == "waves"
    other = visit()
    other.tab("Picture")
    other.page.set_input_files("#load-session", tmp_path / "session.json")
    other.notice("session.json is restored.")
    np.testing.assert_array_equal(other.pixels(), reader.pixels())
    assert other.document == reader.document
    for each in (other, reader):
        each.press("Undo")
        each.press("Undo")
    np.testing.assert_array_equal(other.pixels(), reader.pixels())
    for name, changed, message in (
        ("text.json", b"{", "it is no JSON"),
        ("other.json", b"[1]", "it is no session of this editor"),
        ("size.json", json.dumps(session | {"model": {"name": "x", "image_shape": [1, 2, 3]}}),
         "it is of the model x, with pictures of another size"),
        ("at.json", json.dumps(session | {"at": 99}), "does not say which picture"),
        ("bad.json", json.dumps(session).replace('"size": ', '"size": -'), "or damaged"),
    ):  # fmt: skip
        content = changed if isinstance(changed, bytes) else changed.encode()
        before = other.pixels()
        file = {"name": name, "mimeType": "application/json", "buffer": content}
        other.page.set_input_files("#load-session", file)
        other.notice(message)
        np.testing.assert_array_equal(other.pixels(), before)


def test_reloaded_page_shows_what_was_drawn(visit):
    reader = visit()
    reader.draw((3, 3), (9, 9))
    reader.page.locator("#undo").click()
    reader.page.locator("#redo").click()
    picture, document = reader.pixels(), reader.document
    reader.open()  # leaves at once; what is kept must not wait for a timer
    np.testing.assert_array_equal(reader.pixels(), picture)
    assert reader.document == document
    reader.press("Undo")
    assert reader.document["strokes"] == []


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
    assert_shows(reader, expected(reader))
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


def test_keyboard_alone_paints(visit):
    reader = visit()
    keys = reader.page.keyboard
    for _ in range(40):
        if reader.page.evaluate("document.activeElement.id") == "overlay":
            break
        keys.press("Tab")
    assert reader.page.evaluate("document.activeElement.id") == "overlay"
    keys.press("]")
    for key in ("ArrowUp", "ArrowUp", "Shift+ArrowLeft"):
        keys.press(key)
    keys.down(" ")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.up(" ")
    (stroke,) = reader.document["strokes"]
    assert stroke["points"] == [[10, 5], [10, 6], [10, 7]]
    assert stroke["size"] == 2
    assert_shows(reader, expected(reader))
    assert "Row 10, column 7" in reader.page.locator("#canvas-status").inner_text()
    keys.press("e")
    keys.press(" ")
    assert reader.document["strokes"][-1]["erase"] is True
    keys.press("i")
    keys.press(" ")
    assert reader.page.get_by_label("Brush").is_checked()
    keys.press("v")
    assert reader.page.locator("#before").get_attribute("aria-pressed") == "true"
    # every control can be reached, and none holds the focus
    seen = []
    for _ in range(80):
        keys.press("Tab")
        seen.append(reader.page.evaluate("document.activeElement.id"))
    for name in (
        "undo",
        "before",
        "colour",
        "size",
        "softness",
        "tab-edit",
        "more-samples",
        "theme",
    ):
        assert name in seen
    reader.page.locator("#tab-edit").focus()
    for tab in ("steer", "blend", "look", "source"):
        keys.press("ArrowRight")
        assert reader.page.locator(f"#{tab}").is_visible()


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
        reader.page.locator("#model-name", has_text="waves").wait_for(timeout=30_000)
        reader.wait("document.documentElement.dataset.ready === 'true'")
        reader.draw((3, 3), (9, 9))
        assert_shows(reader, expected(reader))
        context.close()
        reader.check()


@pytest.mark.long
def test_finger_paints(visit):
    reader = visit(width=360, has_touch=True, is_mobile=True)
    reader.page.touchscreen.tap(*reader.at((8, 8)))
    reader.frame()
    (stroke,) = reader.document["strokes"]
    assert stroke["points"] == [[8, 8]]
    assert_shows(reader, expected(reader))


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 768, 1920])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_are_kept_as_pictures(visit, width, scheme):
    reader = visit(width=width, color_scheme=scheme)
    reader.draw((3, 3), (9, 9))
    for tab in ("Edit", "Steer", "Interpolate", "Look", "Picture"):
        reader.tab(tab)
        reader.page.wait_for_timeout(100)
        reader.shot(f"{tab.lower()}_{width}_{scheme}")
        wide = reader.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, tab
        small = reader.page.locator("button:visible").evaluate_all(
            "all => all.filter(b => b.offsetHeight < 24 || b.offsetWidth < 24).map(b => b.id)"
        )
        assert small == [], tab
    background = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(x) for x in background[4:-1].split(",")[:3]])
    assert (brightness < 128) == (scheme == "dark")
    other = "light" if scheme == "dark" else "dark"
    reader.page.get_by_label("Theme").select_option(other)
    switched = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert switched != background
