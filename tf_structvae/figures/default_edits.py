"""Edits for pictures of heads where the user scripts none; places are parts of height and width."""

from __future__ import annotations

from typing import NamedTuple

from tf_structvae.distributions.editing import Edit, parse_edits


class _Place(NamedTuple):
    name: str
    row: float
    column: float


# Looked up on avatars and brains; where people differ, these are inside most of them.
_HAIR = _Place("hair", 0.07, 0.5)
_SKIN = _Place("skin", 0.47, 0.5)
_BACKGROUND = _Place("background", 0.08, 0.06)
_CLOTHES = _Place("clothes", 0.93, 0.4)
_VENTRICLE = _Place("ventricle", 0.42, 0.46)
_MATTER = _Place("white matter", 0.33, 0.36)
_OUTSIDE = _Place("outside", 0.08, 0.08)

_BRUSH = 0.05  # of the shorter side
_HEADS = {
    5: ((_HAIR, "#d8401c", _BRUSH), (_SKIN, "#5c3320", _BRUSH)),
    10: (
        (_HAIR, "#3c5ab4", _BRUSH),
        (_SKIN, "#f0c8a0", _BRUSH),
        (_CLOTHES, "#e6c81e", _BRUSH),
    ),
    11: ((_HAIR, "#d8401c", 0.0),),
    12: ((_SKIN, "#5c3320", _BRUSH),),
    13: ((_BACKGROUND, "#1e82c8", _BRUSH),),
}
_BRAINS = {
    5: ((_VENTRICLE, 0.7, _BRUSH), (_MATTER, 0.45, _BRUSH)),
    10: ((_MATTER, 0.75, _BRUSH), (_VENTRICLE, 0.4, _BRUSH)),
    11: ((_VENTRICLE, 0.7, 0.0),),
    12: ((_MATTER, 0.4, _BRUSH),),
    13: ((_OUTSIDE, 0.2, _BRUSH),),
}
_NAMED = {
    3: ("avatars", "celeb_a"),
    1: ("brains", "ukbb"),
}
FIGURES = tuple(_HEADS)


def default_edits(figure: int, data: str, image_shape: tuple[int, int, int]) -> list[Edit]:
    """The edits of one of the paper's figures, in the order in which they are made.

    Args:
      figure: one of `FIGURES`.
      data: name of the data set; parts are named only where it shows heads.
      image_shape: (H, W, C); with three channels edits are coloured, else grey.

    Returns:
      At least one edit.
    """
    h, w, channels = image_shape
    script = []
    for place, colour, brush in (_HEADS if channels == 3 else _BRAINS)[figure]:
        script.append(
            {
                "pixel": [int(place.row * h), int(place.column * w)],
                "colour": colour,
                "brush": brush * min(h, w),
                "name": place.name if data in _NAMED.get(channels, ()) else "",
            }
        )
    return parse_edits(script, image_shape)
