"""Painting in the editor: strokes, what follows them, undo, samples."""

import editor_models
import numpy as np
import pytest
from editor_expected import GREY_LEVEL, assert_shows, painted, picture, plain


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
    assert_shows(reader, np.ravel(plain(reader).condition(mask, values).mean()))
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
        assert_shows(reader, picture(reader))
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
    for earlier in reversed(shown[:-1]):
        page.keyboard.press("Control+z")
        reader.frame()
        np.testing.assert_array_equal(reader.pixels(), earlier)
    assert page.locator("#undo").is_disabled()
    for later in shown[1:]:
        reader.press("Redo")
        reader.frame()
        np.testing.assert_array_equal(reader.pixels(), later)
    assert page.locator("#redo").is_disabled()


def test_picker_before_and_edited_pixels(visit):
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
    page.locator("#colour").focus()
    page.keyboard.press("Control+z")
    reader.frame()
    np.testing.assert_array_equal(reader.pixels(), first)


def thumbnails(reader):
    """The mean and the samples, when they are drawn."""
    reader.settle()
    count = reader.page.locator("#samples button").count()
    return [reader.pixels(f"#samples button:nth-child({i + 1}) canvas") for i in range(count)]


def test_mean_and_samples_of_the_conditional(visit):
    reader = visit()
    reader.draw((8, 8), (8, 12))
    mask, values = painted(reader)
    p = plain(reader)
    q = p.condition(mask, values)
    mean, *samples = thumbnails(reader)
    np.testing.assert_allclose(
        mean[..., :3].ravel() / 255, np.clip(q.mean()[0], 0, 1), atol=0.51 * GREY_LEVEL + 1e-4
    )
    assert len(samples) == 4
    inside = mask.reshape(reader.shape)[..., 0]
    for sample in samples:
        np.testing.assert_array_equal(sample[inside], mean[inside])
        assert np.any(sample != mean)
    # a sample is the mean and this matrix times standard normal numbers
    draws = np.array(reader.studio(
        f"""conditional && Array.from({{length: {editor_models.RANK}}}, (_, k) => Array.from(
        document.documentElement.studio.conditional.noiseOf(Array.from(
        {{length: {editor_models.RANK}}}, (_, i) => Number(i === k)))))"""
    ))  # fmt: skip
    directions, stddevs, _ = p.principal_components()
    away = (
        directions[0].numpy() * stddevs[0].numpy() @ (draws - reader.array("conditional.centre")).T
    )
    free = np.flatnonzero(~mask)
    dense = np.reshape(q.covariance(), [mask.size] * 2)[np.ix_(free, free)]
    np.testing.assert_allclose(
        away[free] @ away[free].T + editor_models.EPSILON * np.eye(len(free)),
        dense,
        atol=1e-4 * np.abs(dense).max(),
    )
    reader.press("Draw others")
    others = thumbnails(reader)
    np.testing.assert_array_equal(others[0], mean)
    assert np.any(others[1] != samples[0])


@pytest.mark.parametrize("soft", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_sample_that_is_chosen_stays_and_is_edited_further(visit, soft):
    reader = visit()
    first = reader.pixels()
    reader.draw((8, 8), (8, 12))
    if soft:
        reader.set("#softness", 12)
    chosen = thumbnails(reader)[2]
    reader.page.get_by_label("Sample 2: go on with it").click()
    np.testing.assert_array_equal(reader.pixels(), chosen)
    assert_shows(reader, picture(reader))
    reader.draw((18, 4), (16, 9))
    assert_shows(reader, picture(reader))
    assert np.any(reader.pixels() != chosen)
    reader.set("#softness", 15)
    assert_shows(reader, picture(reader))
    reader.tab("Steer")
    reader.set("#component-1", -3)
    assert_shows(reader, picture(reader))
    reader.press("Before")
    np.testing.assert_array_equal(reader.pixels(), first)
    reader.press("Before")
    reader.press("Reset")
    assert reader.document["strokes"] == []
    np.testing.assert_array_equal(reader.pixels(), first)
