"""`python -m tf_structvae PROGRAM ...` is `bin/PROGRAM ...` wherever the package is installed."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from tf_structvae import programs


def main() -> None:
    names = sorted({m.name for m in pkgutil.iter_modules(programs.__path__)} - {"command"})
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        given = sys.argv[1] if len(sys.argv) > 1 else "nothing"
        sys.exit(f"error: the first word must be one of {', '.join(names)}; got {given}.")
    name = sys.argv[1]
    sys.argv[:] = [f"python -m tf_structvae {name}", *sys.argv[2:]]  # as --help names it
    importlib.import_module(f"tf_structvae.programs.{name}").run()


if __name__ == "__main__":
    main()
