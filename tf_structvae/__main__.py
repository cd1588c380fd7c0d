"""`python -m tf_structvae PROGRAM ...` is `bin/PROGRAM ...` wherever the package is installed."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from tf_structvae import programs
from tf_structvae.programs.command import fail


def main() -> None:
    shared = {"command", "bulk_flags"}
    names = sorted({m.name for m in pkgutil.iter_modules(programs.__path__)} - shared)
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("--help", "-h", "help"):
        print(f"USAGE: python -m tf_structvae PROGRAM [flags]\n\nPROGRAM: {', '.join(names)}")
        return
    if name not in names:
        given = name or "nothing"
        fail(f"the first word must be one of {', '.join(names)}; got {given}.")
    sys.argv[:] = [f"python -m tf_structvae {name}", *sys.argv[2:]]  # as --help names it
    importlib.import_module(f"tf_structvae.programs.{name}").run()


if __name__ == "__main__":
    main()
