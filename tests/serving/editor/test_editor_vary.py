"""Other pictures in the editor: sliders, the square, the way between codes, seeds, maps."""

import editor_models
import numpy as np
import pytest
import tensorflow as tf
from editor_expected import GREY_LEVEL, assert_shows, normal, painted, picture, plain

from tf_structvae.distributions import editing


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
    noise = np.array(document["noise"])
    steered = [noise[0], round(noise[1], 1) - 1, noise[2], -5]
    np.testing.assert_allclose(document["coefficients"], steered, atol=1e-6)
    p = reader.model.distribution([document["latents"]])
    rotation = p.principal_components()[2]
    w = tf.linalg.matvec(rotation, tf.constant([noise], tf.float32))
    scaled = p.scale_components(np.float32([steered / noise]))
    assert_shows(reader, np.ravel(scaled.sample_from_noise(w)))
    assert np.any(reader.pixels() != first)
    mean = plain(reader).mean()
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
    assert_shows(reader, picture(reader))
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
    assert_shows(reader, picture(reader))


def test_square_keeps_up_with_what_is_done_elsewhere(visit):
    reader = visit()
    reader.tab("Interpolate")
    reader.page.get_by_label("Corner seed").fill("5")
    reader.page.keyboard.press("Enter")
    corners = reader.pixels("#square-map")
    point = reader.page.locator("#square-point")
    point.focus()
    for _ in range(4):
        reader.page.keyboard.press("ArrowRight")
    place = point.get_attribute("style")
    assert "left: 20%" in place
    reader.press("Undo")
    assert "left: 15%" in point.get_attribute("style")
    reader.press("Redo")
    assert point.get_attribute("style") == place
    reader.draw((3, 3), (9, 9))  # the small pictures follow
    height, width, _ = reader.shape
    cell = reader.pixels("#square-map")
    assert np.any(cell != corners)
    np.testing.assert_array_equal(cell[:height, width : 2 * width].shape, reader.pixels().shape)
    reader.tab("Picture")
    reader.press("New noise")
    reader.tab("Interpolate")
    assert "left: 0%" in point.get_attribute("style")
    np.testing.assert_array_equal(reader.pixels("#square-map")[:height, :width], reader.pixels())
    # the other corners are those of the seed still
    other = visit()
    other.tab("Interpolate")
    other.page.get_by_label("Corner seed").fill("5")
    other.page.keyboard.press("Enter")
    np.testing.assert_array_equal(other.pixels("#square-map"), corners)


@pytest.mark.parametrize("edited", [pytest.param(False, marks=pytest.mark.long), True])
def test_path_between_two_codes(visit, edited):
    reader = visit()
    if edited:
        reader.draw((3, 3), (9, 9))
    before, start = reader.pixels(), reader.document["latents"]
    reader.tab("Interpolate")
    reader.wait("document.getElementById('path-to').width === 20")
    reader.page.get_by_label("Second seed").fill("42")
    reader.page.keyboard.press("Enter")
    reader.wait("document.getElementById('target-form').querySelector('input').value === '42'")
    reader.set("#path", 0.3)
    reader.wait("!document.getElementById('take-path').disabled")
    reader.tab("Edit")  # what was not taken is gone
    np.testing.assert_array_equal(reader.pixels(), before)
    reader.tab("Interpolate")
    assert reader.page.locator("#path").input_value() == "0"
    reader.set("#path", 0.3)
    reader.wait("!document.getElementById('take-path').disabled")
    shown = reader.pixels()
    reader.press("Go on with this picture")
    reader.wait("document.getElementById('take-path').disabled")
    assert set(reader.document["noise"]) == {0}
    end = reader.model.sample(tf.constant([[42, 0]]))["latents"][0].numpy()
    taken = reader.document["latents"]
    np.testing.assert_allclose(taken, editing.slerp(np.float32(start), end, 0.3), atol=1e-5)
    assert_shows(reader, picture(reader))
    np.testing.assert_array_equal(reader.pixels(), shown)
    reader.press("Undo")
    assert reader.document["latents"] == start
    np.testing.assert_array_equal(reader.pixels(), before)


@pytest.mark.long
def test_seeds_give_the_same_picture_again(visit):
    reader = visit()
    page = reader.page
    reader.tab("Picture")
    for label, seed in (("Latent seed", "42"), ("Noise seed", "7")):
        page.get_by_label(label).fill(seed)
        page.keyboard.press("Enter")
        reader.wait("document.getElementById('busy').hidden")
    reader.at_state(2)
    picture = reader.pixels()
    drawn = reader.model.sample(tf.constant([[42, 0]]))
    np.testing.assert_allclose(reader.document["latents"], drawn["latents"][0], atol=1e-6)
    assert np.abs(np.mean(reader.document["noise"])) < 3 / np.sqrt(editor_models.RANK)
    reader.press("New noise")
    reader.press("New latent")
    reader.at_state(4)
    assert np.any(reader.pixels() != picture)
    assert page.get_by_label("Latent seed").input_value() not in ("", "42")
    again = visit()
    again.tab("Picture")
    for i, (label, seed) in enumerate((("Noise seed", "7"), ("Latent seed", "42"))):
        again.page.get_by_label(label).fill(seed)
        again.page.keyboard.press("Enter")
        again.at_state(i + 1)
    np.testing.assert_array_equal(again.pixels(), picture)
    again.page.get_by_label("Noise seed").fill("many")
    again.page.keyboard.press("Enter")
    again.notice("A seed is a whole number")


@pytest.mark.parametrize("soft", [pytest.param(False, marks=pytest.mark.long), True])
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
