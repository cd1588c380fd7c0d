"""What the programs share: one clear line for a user's error, quiet start, an end by Ctrl-C."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from types import ModuleType

from tf_structvae.programs import quiet_start
from tf_structvae.training import config_file
from tf_structvae.utilities import files
from tf_structvae.utilities.interrupt import Interrupt, end

USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError)
# What ml_collections makes of a wrong flag; absl has errors of its own.
FLAG_ERRORS = (AttributeError, KeyError, TypeError, ValueError, OSError)


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


def _find_configs(argv: list[str]) -> list[str]:
    """The words of a command line, with `config_file.find` of that of --config."""
    found = list(argv)
    for i, word in enumerate(argv):
        if word == "--":
            break
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-config") and equals:
            found[i] = f"{flag}={config_file.find(value)}"
        elif i and argv[i - 1] in ("--config", "-config"):
            found[i] = config_file.find(word)
    return found


def _given_config(argv: list[str]) -> str | None:
    """The value of --config on a command line, as `config_first` leaves it."""
    _, word, following = [*argv, "", ""][:3]
    flag, equals, value = word.partition("=")
    if flag not in ("--config", "-config"):
        return None
    return value if equals else following


def _describe(module: ModuleType, words: str) -> None:
    """Lets --help, which describes the module that Python was started with, describe this one."""
    from absl import flags

    usage = f"USAGE: {sys.argv[0]} [flags]{words and f' -- {words}'}"
    text = f"{(module.__doc__ or '').strip()}\n\n{usage}\n"
    sys.modules["__main__"].__doc__ = text.replace("%", "%%")  # absl formats it
    for flag in flags.FLAGS.get_key_flags_for_module(module):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _refuse_empty(module: ModuleType) -> None:
    """Ends the program if a text was given as nothing, as in --workdir=$UNSET."""
    from absl import flags

    for flag in flags.FLAGS.get_key_flags_for_module(module):
        values = flag.value if isinstance(flag.value, list) else [flag.value]
        if flag.present and "string" in flag.flag_type() and "" in values:
            fail(f"--{flag.name} must not be empty.\nTry --help.")


def _told(error: Exception, config: str | None) -> str | None:
    """The message of an error of the user; None if it is one of the program."""
    explained = config_file.explain(error, config) if config else None
    if files.is_full(error):
        return f"no space left on the disk; what it held is untouched.\n{error}"
    return explained or (str(error) if isinstance(error, USER_ERRORS) else None)


def run(main: Callable[..., None], words: str = "") -> None:
    """Runs an absl program; a user's errors end it by `fail`, Ctrl-C with status 130.

    Args:
      main: takes the words that are no flags, if there may be any, and else nothing.
      words: what they are, for --help; if empty, there may be none.
    """
    interrupt = Interrupt()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    quiet_start.install()
    from absl import app, flags, logging

    logging.set_verbosity(logging.WARNING)
    module = sys.modules[main.__module__]
    debugging = bool(os.environ.get("STRUCTVAE_TRACEBACK"))

    def parse(argv: list[str]) -> list[str]:
        config = _given_config(argv) if "config" in flags.FLAGS else None
        try:
            if config is not None:
                config_file.check(config)
            rest = flags.FLAGS(argv)
            if config is not None:  # an OSError of its code is raised where a field is read
                getattr(flags.FLAGS["config"].value, "name", None)
        except SystemExit as ended:  # absl ends --help and its kin with 1
            sys.exit(0 if ended.code == 1 else ended.code)
        except Exception as error:
            explained = config_file.explain(error, config) if config else None
            if debugging or not (explained or isinstance(error, (flags.Error, *FLAG_ERRORS))):
                raise
            fail(explained or f"{error.args[0] if error.args else error}\nTry --help.")
        if len(rest) > 1 and not words:
            fail(f"unexpected argument {rest[1]!r}. Try --help.")
        _refuse_empty(module)
        return rest

    def guarded(argv: list[str]) -> None:
        try:
            main(*([argv[1:]] if words else []))
        except Exception as error:
            if interrupt.pressed:  # what it broke is no error
                end()
            told = _told(error, _given_config(sys.argv))
            if debugging or told is None:
                raise
            fail(told)
        except BaseException:
            if interrupt.pressed:
                end()
            raise

    _describe(module, words)
    sys.argv[:] = _find_configs(config_first(sys.argv))  # ml_collections reads it on its own
    try:
        with interrupt.watched():
            app.run(guarded, flags_parser=parse)
    except KeyboardInterrupt:
        end()
