"""Forked programs end, print and are told things as those of a new interpreter."""

import os
import signal
import subprocess
import sys

import forked
import pytest

CODE = """
import os, sys
print(sys.argv[1:], __name__, os.environ["COLOUR"], os.getcwd(), sys.stdin.read())
print("told", file=sys.stderr)
sys.exit(3)
"""


@pytest.mark.parametrize("script", [True, False])
def test_it_is_what_a_new_interpreter_does(script, tmp_path):
    file = tmp_path / "program.py"
    file.write_text(CODE)
    words = [str(file) if script else "-c", *([] if script else [CODE]), "a", "b c"]
    found = forked.run(*words, COLOUR="red")
    done = subprocess.run(
        [sys.executable, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env={**os.environ, "COLOUR": "red"},
    )  # fmt: skip
    told = (found.returncode, found.stdout, found.stderr)
    assert told == (3, "['a', 'b c'] __main__ red " + os.getcwd() + " \n", "told\n")
    assert told == (done.returncode, done.stdout, done.stderr)


def test_tensorflow_is_there_but_has_not_started():
    code = """
import sys
from tensorflow.python.eager import context
print(*sorted({"tensorflow", "keras", "tensorflow_probability"} & set(sys.modules)))
print(context.context()._context_handle)
"""
    found = forked.run("-c", code)
    assert found.stdout == "keras tensorflow tensorflow_probability\nNone\n", found.stderr


def test_errors_and_signals():
    found = forked.run("-c", "raise ValueError('seven')")
    assert found.returncode == 1
    assert "ValueError: seven" in found.stderr
    code = "print('up', flush=True); import signal; signal.pause()"
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run("-c", code, timeout=0.3)
    program = forked.Popen([sys.executable, "-c", code], subprocess.PIPE)
    assert next(program.stdout) == "up\n"
    assert program.poll() is None
    program.send_signal(signal.SIGTERM)
    assert program.wait(600) == program.poll() == -signal.SIGTERM
    assert list(program.stdout) == []
