"""Finds the file of a config, and says in one line what is wrong with it."""

from __future__ import annotations

import os
import traceback
from difflib import get_close_matches
from pathlib import Path

from tf_structvae.utilities import shipped


def _installed() -> dict[str, Path]:
    """The configs of the installed package, by their names in the repository."""
    return {k: v for k, v in shipped.installed().items() if k.startswith("configs/")}


def find(path: str) -> str:
    """A config of the installed package where there is no file of that name.

    Args:
      path: such as configs/avatars.py, perhaps with :ARGUMENT behind it.
    """
    file, colon, argument = path.partition(":")
    if not file.startswith("configs/") or os.path.exists(file):
        return path
    found = _installed().get(file)
    return f"{found}{colon}{argument}" if found else path


def check(path: str) -> None:
    """Refuses what is no file, and names the configs that there are.

    Args:
      path: as `find` returns it.

    Raises:
      ValueError: see above.
    """
    file = path.partition(":")[0]
    if os.path.isfile(file):
        return
    names = sorted({*map(Path.as_posix, Path("configs").glob("*.py")), *_installed()})
    stems = {Path(name).stem: name for name in names}
    near = get_close_matches(Path(file).stem, stems, n=1)
    what = "is a directory" if os.path.isdir(file) else "does not exist"
    raise ValueError(
        f"--config: {file or repr(file)} {what}"
        + (f"; is {stems[near[0]]} meant?" if near else ".")
        + (f" There are {', '.join(names)}." if names else "")
    )


def explain(error: BaseException, path: str) -> str | None:
    """What a config's own code did wrong, and in which line.

    Args:
      error: raised when the config was loaded, perhaps by way of other errors.
      path: of the config, perhaps with :ARGUMENT behind it.

    Returns:
      One line, or None if the error has nothing to do with the config.
    """
    path = path.partition(":")[0]
    file = os.path.abspath(path)
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    for found in chain:
        frames = traceback.extract_tb(found.__traceback__)
        lines = [f.lineno for f in frames if os.path.abspath(f.filename) == file]
        if isinstance(found, SyntaxError) and os.path.abspath(found.filename or "") == file:
            return f"{path}, line {found.lineno}: {type(found).__name__}: {found.msg}"
        if lines:
            return f"{path}, line {lines[-1]}: {type(found).__name__}: {found}"
    if isinstance(chain[-1], AttributeError) and chain[-1].name == "get_config":
        return f"{path} defines no get_config()."
    if isinstance(chain[-1], TypeError) and str(chain[-1]).startswith("get_config()"):
        return f"{path}:ARGUMENT is what get_config takes: {chain[-1]}."
    return None
