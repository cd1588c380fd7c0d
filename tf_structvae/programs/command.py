"""What the programs share: one clear line for a user's error, quiet start."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

USER_ERRORS = (ValueError, OSError, ImportError, FloatingPointError)


def fail(message: object) -> None:
    """Ends the program with status 2 and one message."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


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


def run(main: Callable[..., None], words: bool = False) -> None:
    """Runs an absl program; a user's errors end it by `fail`.

    Args:
      main: takes the words that are no flags, if there may be any, and else nothing.
      words: whether there may be any.
    """
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
            if os.environ.get("STRUCTVAE_TRACEBACK"):
                raise
            fail(error)
        except KeyboardInterrupt:
            print("\nstopped.", file=sys.stderr)
            sys.exit(130)

    sys.argv[:] = config_first(sys.argv)  # ml_collections reads it on its own
    app.run(guarded, flags_parser=parse)
