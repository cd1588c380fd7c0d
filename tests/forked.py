"""Runs programs as users start them, but in forks of a process that has imported TensorFlow.

Importing it, Keras and TFP takes several seconds, which most tests of programs would wait for.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

# None of them starts a thread or TensorFlow's runtime, nor defines a program's flags.
PRELOADED = [
    "keras",
    "matplotlib.pyplot",
    "ml_collections.config_flags",
    "tensorflow_datasets",
    "tensorflow_probability",
    "tf_structvae.evaluation.evaluate",
    "tf_structvae.export",
    "tf_structvae.figures.paper",
    "tf_structvae.study",
    "tf_structvae.training",
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def run(*arguments, timeout=None, **environment):
    """What `subprocess.run([sys.executable, *arguments])` gives for a script or -c CODE.

    Args:
      *arguments: of Python.
      timeout: seconds, after which it is killed and the test fails.
      **environment: variables beside those of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdout", "stderr")]
        process = _context.Process(
            target=_main,
            args=(list(map(str, arguments)), os.getcwd(), {**os.environ, **environment}, files),
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise TimeoutError(f"{arguments[0]} was still running after {timeout} s")
        texts = [f.read_text() if f.exists() else "" for f in files]
        return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def _main(arguments, directory, environment, files):
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    if arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
