"""Comments behind the fields of a class are its documentation, for the reference too."""

from __future__ import annotations

import re

import griffe

_COMMENT = re.compile(r"\S.*?\s#\s(?P<text>.+)$")


class FieldComments(griffe.Extension):
    """Takes `field: type  # what it is` for the docstring of a field that has none."""

    def on_attribute(self, *, attr: griffe.Attribute, **_: object) -> None:
        if attr.docstring or not attr.lineno or attr.lineno != attr.endlineno:
            return
        found = _COMMENT.search(attr.lines_collection[attr.filepath][attr.lineno - 1])
        if found:
            attr.docstring = griffe.Docstring(found["text"], parent=attr)
