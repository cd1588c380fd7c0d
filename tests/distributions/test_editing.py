"""Noise between corners, and scripted edits, against slow formulas in float64."""

import json

import numpy as np
import pytest
import reference
from edited_normal import SHAPE, B, N, R, problem

from tf_structvae.distributions import (
    editing,
)
from tf_structvae.distributions.editing import Edit


def slow_slerp(a, b, t):
    w = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return (np.sin((1 - t) * w) * a + np.sin(t * w) * b) / np.sin(w)


# The grid.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_corners_of_the_grid_are_the_given_ones_exactly(dtype):
    corners = np.random.default_rng(1).normal(size=(3, 4, R)).astype(dtype)
    grid = editing.slerp_grid(corners, 5, 7).numpy()
    assert (grid.shape, grid.dtype) == ((3, 5, 7, R), dtype)
    found = np.stack([grid[:, 0, 0], grid[:, 0, -1], grid[:, -1, 0], grid[:, -1, -1]], 1)
    np.testing.assert_array_equal(found, corners)


def test_the_grid_is_slerp_along_two_sides_and_then_between_them():
    a, b, c, d = corners = np.random.default_rng(2).normal(size=(4, R))
    grid = editing.slerp_grid(corners, 3, 5).numpy()
    for j, t in enumerate([0, 0.25, 0.5, 0.75, 1]):
        top, bottom = slow_slerp(a, b, t), slow_slerp(c, d, t)
        for i, s in enumerate([0, 0.5, 1]):
            np.testing.assert_allclose(grid[i, j], slow_slerp(top, bottom, s), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "rows", "columns", "message"),
    [
        ((3, R), 5, 5, r"corners must be \[..., 4, R\], got \(3, 4\)"),
        ((R,), 5, 5, "corners must be"),
        ((4, R), 1, 5, "rows must be at least 2, got 1"),
        ((4, R), 5, 0, "columns must be at least 2, got 0"),
    ],
)
def test_the_grid_refuses(shape, rows, columns, message):
    with pytest.raises(ValueError, match=message):
        editing.slerp_grid(np.zeros(shape), rows, columns)


# What a script may say.


@pytest.mark.parametrize(
    ("shape", "edit", "expected"),
    [
        ((9, 8, 3), {"colour": [0, 0.5, 1], "brush": 2}, ((0.0, 0.5, 1.0), 2.0, "")),
        ((9, 8, 3), {"colour": "#00fF33", "name": "hair"}, ((0.0, 1.0, 0.2), 0.0, "hair")),
        ((9, 8, 3), {"colour": 0.25}, ((0.25,) * 3, 0.0, "")),
        ((9, 8, 1), {"colour": 1, "brush": 1.5}, ((1.0,), 1.5, "")),
        ((9, 8, 1), {"colour": [0.5]}, ((0.5,), 0.0, "")),
        ((9, 8, 1), {"colour": "#333333"}, ((0.2,), 0.0, "")),
        ((9, 8, 2), {"colour": [0.5, 1]}, ((0.5, 1.0), 0.0, "")),
    ],
)
def test_edits_are_read_from_json(shape, edit, expected):
    script = json.loads(json.dumps([{"pixel": [8, 7], **edit}]))
    assert editing.parse_edits(script, shape) == [Edit((8, 7), *expected)]


@pytest.mark.parametrize("script", [None, {}, [], "hair", 3])
def test_a_script_is_a_list_of_edits(script):
    with pytest.raises(ValueError, match="edits must be a list of at least one edit, got"):
        editing.parse_edits(script, (9, 8, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel": [9, 0]}, r"edits\[1\].pixel .* inside the image of 9x8; got \[9, 0\]"),
        ({"pixel": [0, 8]}, "pixel"),
        ({"pixel": [-1, 0]}, "pixel"),
        ({"pixel": [1.5, 0]}, "pixel"),
        ({"pixel": [True, 0]}, "pixel"),
        ({"pixel": [1]}, "pixel"),
        ({"pixel": "12"}, "pixel"),
        ({"brush": -1}, r"edits\[1\].brush must be a radius in pixels >= 0, got -1"),
        ({"brush": float("nan")}, "brush"),
        ({"brush": float("inf")}, "brush"),
        ({"brush": True}, "brush"),
        ({"brush": "2"}, "brush"),
        ({"name": 3}, r"edits\[1\].name must be a text, got 3"),
        ({"colour": [0, 0.5, 1.1]}, r"edits\[1\].colour must be 3 numbers in \[0, 1\]"),
        ({"colour": [0, 0.5]}, "colour"),
        ({"colour": []}, "colour"),
        ({"colour": [0, float("nan"), 0]}, "colour"),
        ({"colour": [0, None, 0]}, "colour"),
        ({"colour": 2}, "colour"),
        ({"colour": "red"}, "#rrggbb .* got 'red'"),
        ({"colour": "#12345"}, "colour"),
        ({"color": "#123456"}, "pixel and colour, perhaps brush and name, and nothing else"),
    ],
)
def test_what_is_no_edit_is_refused_with_its_place(change, message):
    good = {"pixel": [0, 0], "colour": [0, 0, 0]}
    with pytest.raises(ValueError, match=message):
        editing.parse_edits([good, {**good, **change}], (9, 8, 3))


def test_missing_fields_and_colours_on_grey_images_are_refused():
    for edit in ({"pixel": [0, 0]}, {"colour": 0.5}, "hair", None):
        with pytest.raises(ValueError, match=r"edits\[0\] must be an object"):
            editing.parse_edits([edit], (9, 8, 3))
    with pytest.raises(ValueError, match=r"must be 1 numbers in .* one number for a grey"):
        editing.parse_edits([{"pixel": [0, 0], "colour": "#ff0000"}], (9, 8, 1))


# What an edit does.


@pytest.mark.parametrize("pixel", [(0, 0), (4, 3), (8, 2)])
def test_a_disc_is_what_lies_within_the_brush(pixel):
    for brush in (0, 0.9, 1, 1.5, 3, 100):
        found = editing.disc(Edit(pixel, (0.0,), brush), (9, 8, 3))
        for i, j in np.ndindex(9, 8):
            assert found[i, j] == (np.hypot(i - pixel[0], j - pixel[1]) <= brush)
        assert brush >= 1 or found.sum() == 1


@pytest.mark.parametrize("kind", ["dense", "features"])
@pytest.mark.parametrize("noise_variance", [None, 0.05])
def test_edits_add_up_to_equation_6(kind, noise_variance):
    """Three edits, the second of which paints over a part of the first."""
    p, loc, factor = problem(kind)
    edits = [
        Edit((1, 1), (1.0, 0.0, 0.5), 1.0),
        Edit((2, 1), (0.2, 0.9, 0.1), 1.0),
        Edit((4, 3), (0.0, 0.0, 1.0)),
    ]
    steps = editing.edit_sequence(p, edits, SHAPE, noise_variance)
    mask, value = np.zeros(SHAPE, bool), np.zeros(SHAPE)
    shown = loc.reshape(B, *SHAPE)
    for edit, step in zip(edits, steps, strict=True):
        inside = editing.disc(edit, SHAPE)
        mask[inside], value[inside] = True, edit.colour
        expected = [
            reference.condition(
                mask.ravel(), value.ravel(), loc[b], factor[b], 0.01, noise_variance or 0.0
            )[0]
            for b in range(B)
        ]
        assert step.edit is edit
        np.testing.assert_allclose(step.mean.reshape(B, N), expected, atol=1e-9)
        assert (step.painted[:, inside] == edit.colour).all()
        np.testing.assert_array_equal(step.painted[:, ~inside], shown[:, ~inside])
        shown = step.mean
    assert mask.sum() == 3 * (5 + 5 - 2 + 1)
    if noise_variance is None:
        np.testing.assert_array_equal(shown[:, mask], np.broadcast_to(value[mask], (B, 27)))
    else:
        assert np.abs(shown[:, mask] - value[mask]).max() > 1e-3
    assert np.abs(shown - loc.reshape(B, *SHAPE))[:, ~mask].max() > 0.05
