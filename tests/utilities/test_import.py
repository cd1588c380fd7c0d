"""Importing the package: fast, silent, and without TensorFlow until it is needed."""

import pkgutil
import subprocess
import sys

import tf_structvae

HEAVY = ("tensorflow", "keras", "tf_keras", "tensorflow_probability", "matplotlib", "numpy")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_import_is_silent_and_loads_nothing_heavy():
    """Of others nothing at all, which makes it fast."""
    result = run(f"""
import sys
before = set(sys.modules)
import tf_structvae
others = {{m.partition(".")[0] for m in set(sys.modules) - before}} - {{"tf_structvae"}}
assert others <= set(sys.stdlib_module_names), others - set(sys.stdlib_module_names)
dir(tf_structvae)  # names only
assert not [m for m in {HEAVY} if m in sys.modules]
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_programs_and_servers_checks_load_no_tensorflow():
    """What they refuse is told at once."""
    result = run("""
import sys
from tf_structvae.programs import edit
from tf_structvae.serving import directory, limits, sockets
assert "tensorflow" not in sys.modules
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_every_module_imports_in_silence():
    """Modules of programs define flags, each for a process of its own; workers run at import.

    PyTorch, of the extra `benchmark`, need not be there: it is the one module that may be missing.
    """
    names = [
        m.name
        for m in pkgutil.walk_packages(tf_structvae.__path__, "tf_structvae.")
        if ".programs." not in m.name and not m.name.endswith("__main__")
    ]
    assert len(names) > 100
    code = f"""
import importlib, os, sys
# TensorFlow's C++ writes lines of its own to the file, not to sys.stderr
for name in ("stdout", "stderr"):
    class Watched:
        def write(self, text, name=name):
            raise AssertionError(f"{{name}} got {{text!r}}")
        def flush(self): pass
    setattr(sys, name, Watched())
for module in {names!r}:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
os._exit(0)
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
