"""The colour that shows through the transparent parts of an image."""

from __future__ import annotations

import re

DEFAULT = "white"


def parse(colour: object) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255.

    Args:
      colour: "#rrggbb" or a name of CSS, such as "white".

    Raises:
      ValueError: neither.
    """
    from PIL import ImageColor

    text = colour.lower() if isinstance(colour, str) else ""
    named = ImageColor.colormap.get(text)
    text = named if isinstance(named, str) else text
    if not re.fullmatch("#[0-9a-f]{6}", text):
        raise ValueError(
            "background (config.data.background) must be a colour, '#rrggbb' or a name such as "
            f"'white', got {colour!r}."
        )
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)
