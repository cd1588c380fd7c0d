"""What goes into the editor and comes out of it: pictures and sessions."""

import io
import json

import numpy as np
import pytest
from editor_browser import upload
from editor_expected import assert_shows, picture
from PIL import Image


@pytest.mark.parametrize("kind", ["waves", pytest.param("grey", marks=pytest.mark.long)])
def test_uploaded_picture_is_encoded_and_edited(visit, kind):
    reader = visit(kind)
    reader.tab("Picture")
    reader.page.set_input_files("#upload", upload())
    reader.at_state(1)
    height, width, channels = reader.shape
    seen = reader.pixels("#upload-seen")[..., :channels].astype(np.float32) / 255
    if channels == 3:  # the middle of the picture, of the model's proportions
        np.testing.assert_allclose(seen[..., 2], 0.5, atol=0.03)
        down = (np.arange(height) + 0.5) / height
        np.testing.assert_allclose(seen[:, 0, 0], down, atol=0.03)
        across = 0.5 + 90 / 200 * width / height * ((np.arange(width) + 0.5) / width - 0.5)
        np.testing.assert_allclose(seen[0, :, 1], across, atol=0.03)
    found = reader.model.encode(seen[np.newaxis])
    np.testing.assert_allclose(reader.document["latents"], found["latents"][0], atol=0.02)
    p = reader.model.distribution([reader.document["latents"]])
    w = p.noise_posterior(seen.ravel()[np.newaxis])[0]
    # the page encoded a picture whose rounding is not known here
    assert_shows(reader, np.ravel(p.sample_from_noise(w)), levels=2.5)
    reader.tab("Edit")
    reader.draw((3, 3), (9, 9))
    assert_shows(reader, picture(reader))


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
        list(upload()["buffer"]),
    )
    reader.at_state(1)
    assert reader.document["seed"] is None


@pytest.mark.long
def test_bad_uploads_are_told_and_lose_nothing(visit):
    reader = visit()
    reader.draw((3, 3), (9, 9))
    before = reader.pixels()
    reader.tab("Picture")
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    reader.page.set_input_files("#upload", text)
    reader.notice("notes.txt is no picture that this browser can read")
    torn = upload(name="torn.png")
    reader.page.set_input_files("#upload", torn | {"buffer": torn["buffer"][:60]})
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
    file = io.BytesIO()  # small as a file, and 0.8 GB as colours
    Image.new("1", (20_000, 10_000)).save(file, "PNG")
    many = {"name": "many.png", "mimeType": "image/png", "buffer": file.getvalue()}
    reader.page.set_input_files("#upload", many)
    reader.notice("many.png has 20000 \u00d7 10000 pixels; at most 100 million are taken.")
    np.testing.assert_array_equal(reader.pixels(), before)


def test_downloads_and_restored_session(visit, tmp_path):
    reader = visit()
    reader.draw((3, 3), (9, 9))
    reader.draw((9, 9), (9, 3))
    reader.page.get_by_label("Sample 2: go on with it").click()
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
    assert len(session["strokes"]) == 2  # each once, though four states have the first
    other = visit()
    other.tab("Picture")
    other.page.set_input_files("#load-session", tmp_path / "session.json")
    other.notice("session.json is restored.")
    np.testing.assert_array_equal(other.pixels(), reader.pixels())
    assert other.document == reader.document
    for each in (other, reader):
        for _ in range(3):
            each.press("Undo")
    np.testing.assert_array_equal(other.pixels(), reader.pixels())
    for name, changed, message in (
        ("text.json", b"{", "it is no JSON"),
        ("other.json", b"[1]", "it is no session of this editor"),
        ("size.json", json.dumps(session | {"model": {"name": "x", "image_shape": [1, 2, 3]}}),
         "it is of the model x, with pictures of another size"),
        ("stroke.json", json.dumps(session | {"strokes": session["strokes"][:1]}), "or damaged"),
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


def test_session_whose_sliders_were_factors_is_read(visit):
    reader = visit()
    document = reader.document
    noise = document.pop("coefficients")
    scales = [0.5, 2.0, *[1.0] * (len(noise) - 2)]
    model = {"name": "waves", "version": "1", "image_shape": list(reader.shape)}
    states = [document | {"scales": scales}]
    session = {"format": 2, "model": model, "at": 0, "states": states, "strokes": []}
    file = {"name": "s.json", "mimeType": "application/json"}
    file["buffer"] = json.dumps(session).encode()
    reader.tab("Picture")
    reader.page.set_input_files("#load-session", file)
    reader.notice("s.json is restored.")
    steered = np.multiply(noise, scales)
    np.testing.assert_array_equal(reader.document["coefficients"], steered)
    assert_shows(reader, picture(reader))
    session["states"] = [{**states[0], "scales": scales[:-1]}]
    file["buffer"] = json.dumps(session).encode()
    reader.page.set_input_files("#load-session", file)
    reader.notice("s.json cannot be restored: it is of another model, or damaged.")
    for bad in ("no list", [None], [{"noise": 3}]):
        file["buffer"] = json.dumps(session | {"states": bad}).encode()
        reader.page.set_input_files("#load-session", file)
        reader.notice("s.json cannot be restored")


@pytest.mark.long
def test_session_of_another_version_is_told(visit):
    reader = visit()
    model = {"name": "waves", "version": "7", "image_shape": list(reader.shape)}
    states = [reader.document]
    session = {"format": 3, "model": model, "at": 0, "states": states, "strokes": []}
    file = {
        "name": "s.json",
        "mimeType": "application/json",
        "buffer": json.dumps(session).encode(),
    }
    reader.tab("Picture")
    reader.page.set_input_files("#load-session", file)
    reader.notice("It was made with waves, version 7")


@pytest.mark.long
def test_start_afresh_can_be_undone(visit):
    reader = visit()
    first = reader.pixels()
    reader.draw((3, 3), (9, 9))
    drawn = reader.pixels()
    reader.tab("Picture")
    reader.press("Start afresh")
    reader.at_state(2)
    np.testing.assert_array_equal(reader.pixels(), first)
    reader.press("Undo")
    reader.at_state(1)
    np.testing.assert_array_equal(reader.pixels(), drawn)
