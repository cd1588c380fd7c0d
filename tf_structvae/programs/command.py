"""What the programs share: one clear line for a user's error, quiet start, an end by Ctrl-C."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from tf_structvae.interrupt import Interrupt, end

USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError)


def fail(message: object) -> None:
    """Ends the program with status 2 and one message."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def positive(**values: float) -> None:
    """Refuses flags that are not positive numbers.

    Args:
      **values: by the name of the flag.

    Raises:
      ValueError: names the flag.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:  # NaN neither
            raise ValueError(f"--{name} must be positive and finite, got {value:g}.")


def config_first(argv: list[str]) -> list[str]:
    """Moves --config before its overrides, where ml_collections wants it."""
    for i, word in enumerate(argv):
        if word == "--":
            break
        if word in ("--config", "-config"):
            return [argv[0], *argv[i : i + 2], *argv[1:i], *argv[i + 2 :]]
        if word.startswith(("--config=", "-config=")):
            return [argv[0], word, *argv[1:i], *argv[i + 1 :]]
    return argv


def find_config(path: str) -> str:
    """A config of the installed package where there is no file of that name.

    Args:
      path: such as configs/avatars.py, perhaps with :ARGUMENT behind it.
    """
    file, colon, argument = path.partition(":")
    if not file.startswith("configs/") or os.path.exists(file):
        return path
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError):
        for found in metadata.files("tf_structvae") or ():
            if found.as_posix().endswith(f"share/tf_structvae/{file}"):
                return f"{Path(found.locate()).resolve()}{colon}{argument}"
    return path


def _find_configs(argv: list[str]) -> list[str]:
    """The words of a command line, with `find_config` of that of --config."""
    found = list(argv)
    for i, word in enumerate(argv):
        if word == "--":
            break
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-config") and equals:
            found[i] = f"{flag}={find_config(value)}"
        elif i and argv[i - 1] in ("--config", "-config"):
            found[i] = find_config(word)
    return found


def _describe(module: ModuleType, words: str) -> None:
    """Lets --help, which tells of the module that Python was started with, tell of this one."""
    from absl import flags

    usage = f"USAGE: {sys.argv[0]} [flags]{words and f' -- {words}'}"
    text = f"{(module.__doc__ or '').strip()}\n\n{usage}\n"
    sys.modules["__main__"].__doc__ = text.replace("%", "%%")  # absl formats it
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def run(main: Callable[..., None], words: str = "") -> None:
    """Runs an absl program; a user's errors end it by `fail`, Ctrl-C with status 130.

    Args:
      main: takes the words that are no flags, if there may be any, and else nothing.
      words: what they are, for --help; if empty, there may be none.
    """
    interrupt = Interrupt()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from absl import app, flags, logging

    logging.set_verbosity(logging.WARNING)

    def parse(argv: list[str]) -> list[str]:
        try:
            rest = flags.FLAGS(argv)
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
            fail(f"{error.args[0] if error.args else error}\nTry --help.")
        if len(rest) > 1 and not words:
            fail(f"unexpected argument {rest[1]!r}. Try --help.")
        return rest

    def guarded(argv: list[str]) -> None:
        try:
            main(*([argv[1:]] if words else []))
        except USER_ERRORS as error:
            if interrupt.pressed:  # what it broke is no error
                end()
            if os.environ.get("STRUCTVAE_TRACEBACK"):
                raise
            fail(error)
        except BaseException:
            if interrupt.pressed:
                end()
            raise

    _describe(sys.modules[main.__module__], words)
    sys.argv[:] = _find_configs(config_first(sys.argv))  # ml_collections reads it on its own
    try:
        with interrupt.watched():
            app.run(guarded, flags_parser=parse)
    except KeyboardInterrupt:
        end()
