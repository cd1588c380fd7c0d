"""Every public name is in the reference, and its docstring tells what a caller must know.

All of it is read from the source. `make docs` checks the same on the built site.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "docs/hooks"))
import public_api  # noqa: E402

# what Keras, TensorFlow Datasets and TFP call, documented there
_HOOKS = re.compile(
    r"__\w+__|on_\w+|build|call|(train|test|predict)_step|(get|from)_config|compute_output_\w+"
    r"|add_variable|download_and_prepare|measure|result"
)


def _public_functions():
    """(name, definition, documented as) of public functions, methods and constructors."""
    for module in public_api.modules():
        for name, node in public_api.definitions(module):
            if isinstance(node, ast.FunctionDef):
                yield name, node, ast.get_docstring(node) or ""
                continue
            for method in (n for n in node.body if isinstance(n, ast.FunctionDef)):
                text = ast.get_docstring(method) or ""
                if method.name == "__init__":
                    yield name, method, text + (ast.get_docstring(node) or "")
                elif not method.name.startswith("_"):
                    yield f"{name}.{method.name}", method, text


FUNCTIONS = {name: (node, text) for name, node, text in _public_functions()}


def _arguments(node):
    a = node.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return [x for x in names if x not in ("self", "cls")]


def _section(text, title):
    found = re.search(rf"^ *{title}:\n((?:.+\n|\n(?= ))*)", text + "\n", re.M)
    return found[1] if found else ""


BASES = {
    name: [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    for module in public_api.modules()
    for name, node in public_api.definitions(module)
    if isinstance(node, ast.ClassDef)
}


def _is_exempt(name, text):
    """A method that a framework calls, or that a base class documents, may go without; if it has a
    docstring, it is a whole one."""
    owner, _, method = name.rpartition(".")
    documented = any(
        text_of_base and key.endswith(f".{base}.{method}")
        for base in BASES.get(owner, ())
        for key, (_, text_of_base) in FUNCTIONS.items()
    )
    return not text and (documented or bool(_HOOKS.fullmatch(method)))


def test_public_names_are_found():
    names = public_api.names()
    assert {
        "tf_structvae.models.vae.StructuredVAE",
        "tf_structvae.distributions.LowRankMultivariateNormal",
        "tf_structvae.datasets.load",
        "tf_structvae.export.export",
    } <= names
    assert len(FUNCTIONS) > 200


def test_every_public_module_is_in_the_reference():
    directives = set(public_api.directives())
    missing = []
    for module in public_api.top_modules():
        # a module's own names come with it; those that a package collects are named one by one
        wanted = [module]
        if public_api.source(module).name == "__init__.py":
            if public_api.find(f"{module}.__getattr__"):  # its names are in modules of their own
                continue
            local = {n.name for n in public_api.tree(module).body if hasattr(n, "name")}
            wanted += [f"{module}.{n}" for n in public_api.members(module) if n not in local]
        missing += [n for n in wanted if n not in directives]
    assert missing == []


def test_reference_names_nothing_twice_and_all_pages_are_in_the_navigation():
    directives = public_api.directives()
    assert len(directives) == len(set(directives))
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")]
    assert [p for p in pages if f" {p}\n" not in navigation] == []


def test_every_public_class_and_function_has_a_docstring():
    without = [
        name
        for module in public_api.modules()
        for name, node in public_api.definitions(module)
        if not ast.get_docstring(node)
    ]
    without += [n for n, (_, text) in FUNCTIONS.items() if not text and not _is_exempt(n, text)]
    assert without == []


def test_docstrings_tell_of_every_argument():
    missing = {}
    for name, (node, text) in FUNCTIONS.items():
        told = _section(text, "Args")
        left = [a for a in _arguments(node) if not re.search(rf"^ *\*{{0,2}}{a}\b.*:", told, re.M)]
        if left and not _is_exempt(name, text):
            missing[name] = left
    assert missing == {}


def test_docstrings_tell_of_every_error():
    missing = []
    for name, (node, text) in FUNCTIONS.items():
        raises = [n for n in ast.walk(node) if isinstance(n, ast.Raise) and n.exc is not None]
        if raises and "Raises" not in text and not _is_exempt(name, text):
            missing.append(name)
    assert missing == []


def test_docstrings_of_actions_tell_what_comes_back():
    """Where the first line is no description of the result but of what is done."""
    actions = re.compile(r"(Writes|Makes|Takes|Loads|Runs|Paints|Lists|Evaluates|Turns|Fits)\b")
    missing = []
    for name, (node, text) in FUNCTIONS.items():
        returns = node.returns is not None and ast.unparse(node.returns) != "None"
        if returns and _arguments(node) and actions.match(text) and "Returns" not in text:
            missing.append(name)
    assert missing == []


def test_names_in_the_guide_exist():
    missing = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text()
        for dotted in set(re.findall(r"\b(?:sv|tf_structvae)\.([a-zA-Z_]\w*(?:\.\w+)*)", text)):
            if not dotted.endswith((".py", ".git")) and not _exists(dotted.split(".")):
                missing.append(f"{path.name}: {dotted}")
    assert missing == []


def _exists(parts):
    if parts[0] in public_api.constant("_NAMES"):
        return True
    place = public_api.places().get(parts[0], parts[0])
    parts = [*place.split("."), *parts[1:]]
    for k in range(len(parts), 0, -1):
        module = ".".join([public_api.PACKAGE, *parts[:k]])
        if public_api.source(module):
            rest = parts[k:]
            return not rest or _in_module(module, rest[0])
    return False


def _in_module(module, name):
    if public_api.find(f"{module}.{name}") or name in public_api.listed(module):
        return True
    assigned = [n for n in public_api.tree(module).body if isinstance(n, ast.Assign)]
    return any(getattr(t, "id", "") == name for n in assigned for t in n.targets)
