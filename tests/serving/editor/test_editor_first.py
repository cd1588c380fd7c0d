"""What a reader meets first: the first picture, the hint, the header, the colour told, errors."""

import editor_models
import numpy as np
import pytest
from editor_browser import upload
from editor_expected import assert_shows, plain

NOISE_SEEDS = range(1, 9)
MOST_CLIPPED = 0.01


def clarity(picture):
    """Mean difference of neighbours [H, W, C]; below 0 where too much leaves [0, 1]."""
    clipped = np.mean((picture < 0) | (picture > 1))
    inside = np.clip(picture, 0, 1)
    edges = [np.abs(np.diff(inside, axis=0))[:, 1:], np.abs(np.diff(inside, axis=1))[1:]]
    return -clipped if clipped > MOST_CLIPPED else sum(e.sum() for e in edges) / picture.size


def test_first_picture_is_the_clearest_of_a_few(visit):
    reader = visit()
    document = reader.document
    p = plain(reader)
    directions, stddevs, _ = p.principal_components()
    normals = reader.page.evaluate(
        "import('/random.js').then(({normals}) =>"
        f" {list(NOISE_SEEDS)}.map((seed) => normals(seed, {editor_models.RANK})))"
    )
    weights = np.array(normals) * stddevs[0].numpy()
    pictures = p.mean()[0] + weights @ directions[0].numpy().T
    scores = [clarity(np.reshape(picture, reader.shape)) for picture in pictures]
    best = int(np.argmax(scores))
    assert scores[best] > 0
    assert min(scores) < scores[best]
    assert document["noiseSeed"] == NOISE_SEEDS[best]
    np.testing.assert_array_equal(document["noise"], normals[best])
    assert_shows(reader, pictures[best])


def test_hint_to_paint_goes_with_the_first_stroke(visit):
    reader = visit()
    hint = reader.page.locator("#hint")
    assert hint.is_visible()
    reader.tab("Look")  # where the pointer paints nothing
    assert not hint.is_visible()
    reader.tab("Edit")
    assert hint.is_visible()
    reader.draw((3, 3), release=False)
    assert not hint.is_visible()
    reader.page.mouse.up()
    reader.press("Undo")
    assert not hint.is_visible()


@pytest.mark.parametrize("kind", ["waves", pytest.param("grey", marks=pytest.mark.long)])
def test_status_tells_the_colour_of_the_picture(visit, kind):
    reader = visit(kind)
    status = reader.page.locator("#canvas-status")

    def told():
        colour = [int(x) for x in status.inner_text().split(":")[1].split(maxsplit=1)[1].split(",")]
        patch = status.evaluate("e => getComputedStyle(e, '::before').backgroundColor")
        channels = colour if len(colour) == 3 else colour * 3
        assert patch == "rgb({}, {}, {})".format(*channels)
        return colour

    channels = reader.shape[-1]
    first = reader.pixels()
    reader.page.mouse.move(*reader.at((10, 6)))
    assert status.inner_text().startswith("Row 10, column 6:")
    assert told() == list(first[10, 6, :channels])
    reader.draw((4, 4), (7, 12))
    reader.page.mouse.move(*reader.at((10, 6)))
    painted = reader.pixels()
    assert np.any(painted[10, 6] != first[10, 6])
    assert told() == list(painted[10, 6, :channels])
    reader.page.keyboard.press("v")  # beneath a pointer that rests
    assert told() == list(first[10, 6, :channels])


def test_errors_go_when_something_succeeds(visit):
    reader = visit()
    errors = reader.page.locator(".notice.error")

    def fail():
        reader.tab("Picture")
        reader.page.get_by_label("Noise seed").fill("many")
        reader.page.keyboard.press("Enter")
        reader.notice("A seed is a whole number")

    def fill():
        reader.page.get_by_label("Noise seed").fill("7")
        reader.page.keyboard.press("Enter")

    actions = [
        lambda: reader.draw((3, 3), (9, 9)),
        lambda: reader.press("Undo"),
        lambda: reader.press("Draw others"),
        lambda: reader.set("#component-0", 1),
        fill,
    ]
    for tab, action in zip(("Edit", "Edit", "Edit", "Steer", "Picture"), actions, strict=True):
        fail()
        assert errors.count() == 1
        reader.tab(tab)
        assert errors.count() == 1  # looking elsewhere does nothing yet
        action()
        reader.wait("!document.querySelector('.notice.error')")
    fail()
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
    reader.page.set_input_files("#upload", text)
    reader.notice("notes.txt is no picture")
    assert errors.count() == 2  # an action that fails ends none
    reader.page.set_input_files("#upload", upload())
    reader.wait("!document.querySelector('.notice.error')")


@pytest.mark.parametrize("width", [375, pytest.param(768, marks=pytest.mark.long)])
def test_small_screens_are_left_to_the_picture(visit, width):
    reader = visit(width=width, height=667)
    header = reader.page.locator("header").bounding_box()
    assert header["height"] < 60
    box = reader.page.locator("#frame").bounding_box()
    assert box["y"] < 100
    assert box["height"] > 0.4 * 667
    for text in ("About", "System"):
        assert text in reader.page.locator("header").inner_text()
    reader.page.locator("#about summary").click()
    card = reader.page.locator("#model-card").bounding_box()
    assert card["x"] >= 0
    assert card["x"] + card["width"] <= width
    assert "CC0-1.0" in reader.page.locator("#model-card").inner_text()
    reader.page.evaluate("document.getElementById('model-name').textContent = 'long '.repeat(30)")
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
    assert reader.page.locator("header").bounding_box()["height"] < 60
