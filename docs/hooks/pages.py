"""Pages as the site needs them, which GitHub shows as they are."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\(\.\./(?P<path>[^)#]+)(#[^)]*)?\)")
_SOURCE = re.compile(r"<!-- source: (?P<path>\S+)(?: (?P<name>\w+))? -->")
_FLAGS = re.compile(r"<!-- flags: (?P<program>\w+) -->")


def on_page_markdown(markdown: str, **_) -> str:
    """Names files outside docs/, which the site does not hold; shows flags and sources."""
    markdown = _FLAGS.sub(lambda m: table_of_flags(m["program"]), markdown)
    markdown = _SOURCE.sub(lambda m: listing(m["path"], m["name"]), markdown)
    return _OUTSIDE.sub(lambda m: f"`{m['path']}`", markdown)


def listing(path: str, name: str | None = None) -> str:
    """A file as a block of code, or one of its functions, but for the docstring."""
    text = (ROOT / path).read_text()
    lines = text.splitlines()
    if name:
        node = next(n for n in ast.parse(text).body if getattr(n, "name", "") == name)
        head = lines[node.lineno - 1 : node.body[0].lineno - 1]
        lines = [*head, *lines[node.body[1].lineno - 1 : node.end_lineno]]
    return "\n".join([f'```python title="{path}"', *lines, "```"])


def sources(program: str) -> list[str]:
    """That of a program, and of the modules of flags that it shares with others."""
    text = (ROOT / f"tf_structvae/programs/{program}.py").read_text()
    shared = dict.fromkeys(re.findall(r"\.programs(?:\.| import )(\w+_flags)\b", text))
    return [text, *(found for name in shared for found in sources(name))]


def flags(program: str) -> list[tuple[str, str, str, str]]:
    """(name, kind, default, help) of the flags of a program, read from its source."""
    found = []
    for node in (node for text in sources(program) for node in ast.walk(ast.parse(text))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        kind = re.fullmatch(r"DEFINE_(\w+)", node.func.attr)
        if not kind:
            continue
        arguments = [_value(a) for a in node.args]
        name, default, text = arguments[0], arguments[1], arguments[-1]
        what = kind[1].replace("config_file", "file").replace("multi_string", "text, repeated")
        if kind[1] == "enum":
            what, text = " | ".join(arguments[2]), arguments[3]
        elif kind[1] != "config_file":
            text = arguments[2]
        found.append((name, what, "" if default is None else repr(default), text))
    return found


def _value(node: ast.expr) -> Any:
    """Of a literal; what is computed stands as it is written."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def table_of_flags(program: str) -> str:
    """The flags of a program as a Markdown table."""
    lines = ["| flag | kind | default | |", "|---|---|---|---|"]
    for name, kind, default, text in flags(program):
        kind = kind.replace("|", "\\|")
        lines.append(f"| `--{name}` | {kind} | {default and f'`{default}`'} | {text} |")
    return "\n".join(lines)
