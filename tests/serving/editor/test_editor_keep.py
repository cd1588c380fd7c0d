"""The brush that keeps pixels of the picture as they are, against float64 conditioning."""

import json

import numpy as np
import pytest
import reference
from editor_models import EPSILON

FACE, ELSEWHERE = ((12, 4), (15, 12)), ((3, 3), (4, 9))


def use(reader, tool):
    reader.page.get_by_label(tool, exact=True).check(force=True)


def keep(reader, *points):
    use(reader, "Keep")
    reader.draw(*points)
    use(reader, "Brush")


def shown(reader):
    """The picture [N] in the page's own precision, not clipped."""
    return reader.array("picture")


def masks(reader):
    """Which entries [N] are painted or kept, and which are kept."""
    channels = reader.shape[-1]
    edit = [reader.array(f"edit.{name}").astype(bool) for name in ("mask", "kept")]
    return [np.repeat(mask, channels) for mask in edit]


def conditioned(reader, values):
    """Mean [N] in float64 given `values` where the page holds pixels: kept ones exactly."""
    mask, kept = masks(reader)
    document = reader.document
    p = reader.model.distribution([document["latents"]])
    directions, stddevs, _ = p.principal_components()
    noise = stddevs[0].numpy() * np.array(document["coefficients"])
    loc = np.float64(p.mean()[0]) + directions[0].numpy() @ noise
    variances = np.where(kept, 0.0, document["softness"] ** 2)[mask]
    found, _ = reference.condition(mask, values, loc, p.cov_factor[0].numpy(), EPSILON, variances)
    return found


@pytest.mark.parametrize("kind", ["waves", pytest.param("grey", marks=pytest.mark.long)])
def test_kept_pixels_stay_while_the_rest_follows(visit, kind):
    reader = visit(kind)
    before = shown(reader)
    keep(reader, *FACE)
    mask, kept = masks(reader)
    assert 20 < kept.sum() < kept.size / 2
    np.testing.assert_array_equal(mask, kept)
    np.testing.assert_allclose(shown(reader), before, atol=2e-5)
    reader.draw(*ELSEWHERE)
    after, (mask, kept) = shown(reader), masks(reader)
    np.testing.assert_allclose(after[kept], before[kept], atol=1e-5)
    assert np.abs(after - before)[~mask].max() > 0.02
    values = np.where(kept, before, after)  # what is painted, the picture has
    np.testing.assert_allclose(after, conditioned(reader, values), atol=1e-4)


def test_kept_pixels_are_exact_where_strokes_are_soft(visit):
    reader = visit()
    reader.draw(*ELSEWHERE)
    painted = shown(reader)
    reader.set("#softness", 12)
    before = shown(reader)
    assert np.abs(before - painted).max() > 0.02
    use(reader, "Keep")
    reader.draw((4, 6), (12, 6), release=False)  # over some of what is painted, too
    during = reader.pixels()
    reader.page.mouse.up()
    np.testing.assert_array_equal(reader.pixels(), during)
    use(reader, "Brush")
    reader.draw((20, 5), (20, 12))
    mask, kept = masks(reader)
    after = shown(reader)
    np.testing.assert_allclose(after[kept], before[kept], atol=1e-5)
    colour = np.tile(np.array(reader.document["strokes"][0]["colour"]) / 255, mask.size // 3)
    found = conditioned(reader, np.where(kept, before, colour))
    free = (
        ~mask
    )  # of a soft stroke the page shows the painted pixels themselves, without their noise
    np.testing.assert_allclose(after[free], found[free], atol=1e-4)
    np.testing.assert_allclose(after[kept], found[kept], atol=1e-5)


def test_keep_changes_nothing_on_a_chosen_sample_and_erases(visit):
    reader = visit()
    reader.draw(*ELSEWHERE)
    reader.settle()
    reader.page.get_by_label("Sample 2: go on with it").click()
    sample = shown(reader)
    use(reader, "Keep")
    reader.draw((3, 3), (15, 12))  # over what is settled, too
    np.testing.assert_allclose(shown(reader), sample, atol=2e-5)
    use(reader, "Eraser")
    reader.draw((12, 9), (15, 12))
    mask, kept = masks(reader)
    erased = np.zeros(reader.shape, bool)
    erased[15, 12] = True
    assert not mask[erased.ravel()].any()
    assert kept.any()
    use(reader, "Brush")
    reader.draw((3, 3))  # paint replaces what is kept
    painted = np.zeros(reader.shape, bool)
    painted[3, 3] = True
    mask, kept = masks(reader)
    assert mask[painted.ravel()].all()
    assert not kept[painted.ravel()].any()


def test_keep_is_undone_saved_and_restored(visit, tmp_path):
    reader = visit()
    states = [reader.pixels()]
    keep(reader, *FACE)
    states.append(reader.pixels())
    reader.draw(*ELSEWHERE)
    states.append(reader.pixels())
    reader.tab("Picture")
    reader.press("New latent")
    reader.at_state(3)
    kept = masks(reader)[1].reshape(reader.shape)[..., 0]
    # the kept pixels go into the next picture
    difference = np.int32(reader.pixels())[kept] - states[1][kept]
    assert np.abs(difference).max() <= 1
    states.append(reader.pixels())
    for name, order in (("Undo", states[-2::-1]), ("Redo", states[1:])):
        for expected in order:
            reader.press(name)
            reader.settle()
            np.testing.assert_array_equal(reader.pixels(), expected)
    with reader.page.expect_download() as waiting:
        reader.press("Download session (JSON)")
    session = json.loads(waiting.value.path().read_text())
    waiting.value.save_as(tmp_path / "session.json")
    reader.open()  # this browser kept it
    np.testing.assert_array_equal(reader.pixels(), states[-1])
    other = visit()
    other.tab("Picture")
    other.page.set_input_files("#load-session", tmp_path / "session.json")
    other.notice("session.json is restored.")
    np.testing.assert_array_equal(other.pixels(), states[-1])
    pixels = session["strokes"][0]["kept"]["pixels"]
    for bad in ([*pixels, 1], [*pixels[1:], -1], [*pixels[1:], kept.size], None):
        session["strokes"][0]["kept"]["pixels"] = bad
        file = {"name": "bad.json", "mimeType": "application/json"}
        file["buffer"] = json.dumps(session).encode()
        other.page.set_input_files("#load-session", file)
        other.notice("bad.json cannot be restored: it is of another model, or damaged.")
        other.page.locator(".notice.error .close").click()


def test_kept_pixels_are_marked(visit):
    reader = visit()
    keep(reader, *FACE)  # the pointer is not on the picture any more
    assert reader.lies_bare()
    use(reader, "Keep")
    assert not reader.lies_bare()
    use(reader, "Brush")
    assert reader.lies_bare()
    reader.page.get_by_label("Edited pixels").check()
    assert not reader.lies_bare()
    reader.page.get_by_label("Edited pixels").uncheck()
    reader.page.mouse.move(*reader.at((3, 3)))
    kept = masks(reader)[1].reshape(reader.shape)[..., 0]
    rows, columns = np.argwhere(kept)[:, 0], np.argwhere(kept)[:, 1]
    seen = reader.pixels("#overlay")[..., 3] > 0
    scale = seen.shape[0] / kept.shape[0]
    middle = np.int32((rows.mean() + 0.5) * scale), np.int32((columns.mean() + 0.5) * scale)
    around = seen[middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8]
    assert 0.2 < around.mean() < 0.8
