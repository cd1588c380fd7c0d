"""The Python of README.md and docs/: the blocks of a page, in order, are one program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^>]+) -->\n\s*)?"
    r"^(?P<indent> *)```python[^\n]*\n(?P<code>.*?)^(?P=indent)```",
    re.M | re.S,
)
# What takes long is done a few times.
_SHORTER = [(r"\bsteps=\d{2,}", "steps=3"), (r"\bepochs=\d+", "epochs=1")]


class Block(NamedTuple):
    """A block of Python, and where it begins."""

    page: Path
    line: int
    code: str
    reason: str  # why it cannot run here; mostly empty

    def run(self, names: dict) -> None:
        """Executes it; a traceback tells the line of the page."""
        code = self.code
        for pattern, shorter in _SHORTER:
            code = re.sub(pattern, shorter, code)
        exec(compile("\n" * self.line + code, str(self.page), "exec"), names)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    found = []
    for m in _BLOCK.finditer(text):
        code = re.sub(rf"^{m['indent']}", "", m["code"], flags=re.M)
        line = text.count("\n", 0, m.start("code"))
        found.append(Block(page, line, code, m["reason"] or ""))
    return found


PAGES = [page for page in FILES if blocks(page)]
