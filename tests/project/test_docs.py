"""The code in README.md and docs/: Python compiles or runs, commands and their flags exist."""

import ast
import re
import shlex
import sys
from pathlib import Path

import numpy as np
from page_programs import FILES

from tf_structvae.training import config as config_lib

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs/hooks"))
import checks  # noqa: E402
import pages  # noqa: E402

_BLOCK = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", re.M | re.S)
_PROGRAMS = {p.name for p in (ROOT / "bin").iterdir() if p.is_file()}
# of absl itself, and of what a shell has
_COMMON = {"help", "helpfull", "helpshort", "nopreflight"}


def blocks(language):
    """(file, code) of every block of that language."""
    for path in FILES:
        for indent, kind, code in _BLOCK.findall(path.read_text()):
            if kind == language:
                yield path, re.sub(rf"^{indent}", "", code, flags=re.M)


def commands(text):
    """The commands of a block, one a line, without comments."""
    text = re.sub(r"\\\n\s*", " ", text)
    for line in text.splitlines():
        words = re.sub(r"\s#.*$", "", line).strip()
        found = re.search(rf"(?:^|\s|--\s)bin/({'|'.join(sorted(_PROGRAMS))}|\w+)(\s.*)?$", words)
        if found:
            yield found[1], found[2] or ""


def _commands_of_files():
    """(file, program, the rest) of blocks, of indented lines and of `code`."""
    for path, code in blocks("sh"):
        for found in commands(code):
            yield path.name, *found
    for path in FILES:
        text = re.sub(_BLOCK, "", path.read_text())
        spans = [s.replace("\n", " ") for s in re.findall(r"`(bin/[^`]+)`", text)]
        for line in [*re.findall(r"^    (bin/.*)", text, re.M), *spans]:
            for found in commands(line):
                yield path.name, *found


SH_COMMANDS = list(_commands_of_files())


def _flags(program):
    found = {name: kind for name, kind, _, _ in pages.flags(program)}
    return {**found, **{f"no{n}": k for n, k in found.items() if k in ("bool", "boolean")}}


def test_python_compiles():
    count = 0
    for path, code in blocks("python"):
        ast.parse(code, str(path))
        count += 1
    assert count >= 8


def test_included_sources_are_shown():
    shown = []
    for path in FILES:
        for name, function in re.findall(r"<!-- source: (\S+)(?: (\w+))? -->", path.read_text()):
            shown.append(name)
            listing = pages.on_page_markdown(
                f"<!-- source: {name}{' ' * bool(function)}{function} -->"
            )
            code = re.fullmatch(r'```python title="[^"]+"\n(.*)\n```', listing, re.S)
            ast.parse(code[1], name)
            assert not function or code[1].startswith(f"def {function}(")
    assert {"configs/celeba.py", "tf_structvae/training/config.py"} <= {*shown}


def test_every_program_and_its_flags_are_listed():
    text = (ROOT / "docs/programs.md").read_text()
    assert set(re.findall(r"<!-- flags: (\w+) -->", text)) == _PROGRAMS
    table = pages.table_of_flags("train")
    for flag in ("config", "resume", "distribute", "memory_budget"):
        assert f"| `--{flag}` |" in table
    assert "none \\| mirrored \\| multi_worker" in table


def test_flags_are_read_as_absl_defines_them():
    """Of one program, by absl: what is read from the source is what there is."""
    from absl import flags
    from program_flags import program

    for name in ("serve", "generate"):  # the second shares some with another
        with program(name) as module:
            defined = {f.name for f in flags.FLAGS.flags_by_module_dict()[module.__name__]}
        assert defined == {flag for flag, *_ in pages.flags(name)}


def test_commands_exist():
    wrong = []
    assert len(SH_COMMANDS) >= 80
    for file, program, rest in SH_COMMANDS:
        if program not in _PROGRAMS:
            wrong.append(f"{file}: bin/{program}")
            continue
        known = _flags(program)
        own = rest.split(" -- ")[0]  # what follows is another program's
        for flag, value in re.findall(r"--([a-z_]+)(?=[=\s\]|.]|$)(?:=([^\s\]]+))?", own):
            if flag not in known and flag not in _COMMON:
                wrong.append(f"{file}: bin/{program} --{flag}")
            choices = known.get(flag, "").split(" | ")
            given = value.split("|") if value else []
            if len(choices) > 1 and not set(given) <= {*choices, ""}:
                wrong.append(f"{file}: bin/{program} --{flag}={value}, not of {choices}")
    assert wrong == []


def _overrides(rest):
    words = shlex.split(re.sub(r"[\[\]]", " ", rest).replace("<", " "), comments=True)
    return dict(re.findall(r"--config\.([\w.]+)=(.*)", "\n".join(words)))


def test_configs_and_their_fields_exist():
    """What --config names is there, and every --config.FIELD is a field."""
    wrong = []
    names = config_lib.default()
    for file, program, rest in SH_COMMANDS:
        for path in re.findall(r"--config[= ](configs/\w+\.py)", rest):
            if path != "configs/NAME.py" and not (ROOT / path).exists():
                wrong.append(f"{file}: {path}")
        for field in _overrides(rest):
            parent, _, last = field.rpartition(".")
            if field != "FIELD" and last not in (names[parent] if parent else names):
                wrong.append(f"{file}: bin/{program} --config.{field}")
    assert wrong == []


def test_fields_and_columns_in_the_guide_exist():
    """Names in `code` that look like fields of a config are some."""
    names = config_lib.default()
    wrong = []
    for path in FILES:
        for part, field in re.findall(
            r"`(?:--config\.|config\.)?(data|model|objective|train|evaluation)\.(\w+)(?:`| ?=)",
            path.read_text(),
        ):
            if field not in names[part] and field not in ("md", "json", "save", "export"):
                wrong.append(f"{path.name}: {part}.{field}")
    assert wrong == []


def test_every_column_of_the_log_is_explained():
    from tf_structvae.evaluation.calibration import Calibration
    from tf_structvae.models.training_step import LOGGED

    text = (ROOT / "docs/logs.md").read_text()
    one = np.ones(1)
    calibration = Calibration(one, one, one, 0.0, one, 0.0, 0.0).summary()
    columns = ["step", *LOGGED, "kl_multiplier", "entropy_multiplier"]
    columns += [f"val_{name}" for name in calibration]
    assert [c for c in columns if f"| `{c}` " not in text] == []


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = {
        word for path, code in blocks("sh") for word in re.findall(r"^make ([\w-]+)", code, re.M)
    }
    assert named
    assert [w for w in sorted(named) if not re.search(rf"^{w}:", makefile, re.M)] == []


def test_what_a_page_loads_from_elsewhere_is_found(tmp_path):
    """The check that `make docs` makes of every page."""
    link = '<a href="https://example.org/">paper</a> <img src="images/a.png">'
    (tmp_path / "good.html").write_text(f'<script src="assets/a.js"></script>{link}')
    assert checks.loaded_from_elsewhere(tmp_path) == []
    (tmp_path / "script.html").write_text('<script async src="https://example.org/a.js">')
    (tmp_path / "font.html").write_text('<link rel="stylesheet" href="https://example.org/f">')
    (tmp_path / "image.html").write_text('<img alt="" src="//example.org/a.png">')
    (tmp_path / "a.css").write_text("@font-face { src: url(https://example.org/a.woff) }")
    found = {path.name for path, _ in checks.loaded_from_elsewhere(tmp_path)}
    assert found == {"script.html", "font.html", "image.html", "a.css"}
