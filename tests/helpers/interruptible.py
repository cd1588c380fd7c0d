"""Runs a program as a user starts it, and says when Ctrl-C may be pressed.

    python tests/helpers/interruptible.py SECONDS MODULE:FUNCTION bin/PROGRAM ...

prints "watched" once Ctrl-C is watched for, and "called FUNCTION" when that is called, before it
does anything; `-` is no function. SECONDS are what the program is given to end by itself, before
it is ended: two would be too few on a busy machine, where tests shall pass, too.
"""

import contextlib
import functools
import importlib
import runpy
import sys

from tf_structvae.utilities import interrupt


def say(words):
    print(words, flush=True)


@contextlib.contextmanager
def told(self, real=interrupt.Interrupt.watched):
    with real(self):
        say("watched")
        yield


def announce(place):
    module, name = place.split(":")
    owner = importlib.import_module(module)
    real = getattr(owner, name)

    @functools.wraps(real)
    def announced(*arguments, **options):
        say(f"called {name}")
        return real(*arguments, **options)

    setattr(owner, name, announced)


if __name__ == "__main__":
    seconds, place, *sys.argv = sys.argv[1:]
    interrupt._CHILDREN, interrupt._SELF = float(seconds), 1.5 * float(seconds)
    interrupt.Interrupt.watched = told
    if place != "-":
        announce(place)
    runpy.run_path(sys.argv[0], run_name="__main__")
