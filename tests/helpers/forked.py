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

# None of them starts TensorFlow's runtime or defines a program's flags.
PRELOADED = [
    "keras",
    "matplotlib.pyplot",
    "ml_collections.config_flags",
    "tensorflow_datasets",
    "tensorflow_probability",
    "tf_structvae.studies.evaluate",
    "tf_structvae.export",
    "tf_structvae.studies.paper",
    "tf_structvae.studies.variants",
    "tf_structvae.training.experiment",
]
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


def run(*arguments, timeout=None, **environment):
    """What `subprocess.run([sys.executable, *arguments])` gives for a script, -m MODULE or -c CODE.

    Args:
      *arguments: of Python.
      timeout: seconds, after which it is killed and the test fails.
      **environment: variables beside those of this process.
    """
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, name) for name in ("stdout", "stderr")]
        with open(names[0], "wb") as output, open(names[1], "wb") as errors:
            process = Popen(
                [sys.executable, *arguments], output, errors, env={**os.environ, **environment}
            )
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, status, *(n.read_text() for n in names))


class Popen:
    """As `subprocess.Popen`, as far as it goes: `stdout` may be PIPE, the files must be binary."""

    def __init__(self, command, stdout, stderr=subprocess.DEVNULL, text=True, env=None):
        assert command[0] == sys.executable, command
        assert text
        given, self.stdout = stdout, None
        if stdout is subprocess.PIPE:
            reading, given = _context.Pipe(duplex=False)
            self.stdout = os.fdopen(os.dup(reading.fileno()))
            reading.close()
        nothing = open(os.devnull, "wb")  # noqa: SIM115
        errors = nothing if stderr is subprocess.DEVNULL else stderr
        ends = [_Descriptor(end) for end in (given, errors)]
        words = [str(word) for word in command[1:]]
        environment = dict(os.environ if env is None else env)
        self._process = _context.Process(target=_main, args=(words, os.getcwd(), environment, ends))
        self._process.start()
        self.pid = self._process.pid
        nothing.close()
        if self.stdout:
            given.close()

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked program", timeout)
        return self._process.exitcode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()
        self._process.join()


class _Descriptor:
    """What an object writes to, for a process that is being started."""

    def __init__(self, file):
        self._file = file

    def __reduce__(self):
        return _detached, (multiprocessing.reduction.DupFd(self._file.fileno()),)


def _detached(duplicate):
    return duplicate.detach()


def _main(words, directory, environment, ends):
    for number, end in enumerate(ends, start=1):
        os.dup2(end, number)
        os.close(end)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
