"""What a built site must keep: it needs no other host, and every public name is in it."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import public_api

_LOADED = (
    re.compile(r"<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc=\"?(https?:)?//[^\s\">]+"),
    re.compile(r"<link\b[^>]*\srel=\"?(?:stylesheet|preconnect|preload|icon)[^>]*https?://[^\">]+"),
    re.compile(r"(?:url\(|@import )[\"']?https?://[^\"')]+"),
)


def on_post_build(config, **_) -> None:
    """Refuses a site that is not whole."""
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    wrong = [f"{path}: loads {what}" for path, what in loaded_from_elsewhere(site)]
    missing = sorted(public_api.names() - inventory(site / "objects.inv"))
    wrong += [f"{name} has no place in docs/reference, or no docstring" for name in missing]
    if wrong:
        raise PluginError("\n".join(["the site is not whole:", *wrong]))


def loaded_from_elsewhere(site: Path) -> list[tuple[Path, str]]:
    """(file, tag) of whatever a browser would fetch from another host to show a page."""
    found = []
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        text = path.read_text()
        found += [(path.relative_to(site), m[0][-120:]) for p in _LOADED for m in p.finditer(text)]
    return found


def inventory(path: Path) -> set[str]:
    """The names that the reference explains: a Sphinx inventory, four lines and then zlib."""
    packed = path.read_bytes().split(b"\n", 4)[4]
    lines = zlib.decompress(packed).decode().splitlines()
    return {line.split(" ", 1)[0] for line in lines}
