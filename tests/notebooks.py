"""Runs the notebooks of docs/notebooks: in a kernel as they are, or here and shortened.

python tests/notebooks.py [NAME ...]    executes them in place, with the extra [notebooks]
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent.parent / "docs" / "notebooks"
NAMES = (
    "fit_in_five_minutes",
    "your_own_decoder",
    "editing_and_conditioning",
    "denoise",
    "inpaint",
    "super_resolve",
    "segment",
)
PARAMETERS = "parameters"  # tag of the one cell whose names a run may replace
SILENT = "remove_output"  # tag of cells that print of machines only: versions, paths, progress


def path(name: str) -> Path:
    return DIRECTORY / f"{name}.ipynb"


def code_cells(notebook: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [c for c in notebook["cells"] if c["cell_type"] == "code"]


def tags(cell: Mapping[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def source(cell: Mapping[str, Any]) -> str:
    """As JSON has it, a string or a list of lines, in one string."""
    return "".join(cell["source"])


def run_here(name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The names a notebook leaves, its cells run in this process without a kernel.

    Args:
      name: one of `NAMES`.
      parameters: replace those of its cell of parameters.

    Raises:
      KeyError: that cell does not set one of them.
    """
    names: dict[str, Any] = {}
    for number, cell in enumerate(code_cells(json.loads(path(name).read_text()))):
        exec(compile(source(cell), f"{name}.ipynb, code cell {number}", "exec"), names)
        if PARAMETERS in tags(cell):
            unknown = set(parameters) - set(names)
            if unknown:
                raise KeyError(f"{name}.ipynb sets no {sorted(unknown)}.")
            names.update(parameters)
    return names


def smaller(png: str) -> str:
    """A picture in Base64 with 256 colours of its own, a third of the size."""
    from PIL import Image

    out = io.BytesIO()
    whole = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    whole.quantize(256, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def run_in_kernel(name: str, directory: str | Path):
    """The notebook as a fresh kernel leaves it, without what tells of the machine.

    Args:
      name: one of `NAMES`.
      directory: where the kernel starts.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path(name), as_version=4)
    resources = {"metadata": {"path": str(directory)}}
    options = {"timeout": 900, "record_timing": False, "coalesce_streams": True}
    NotebookClient(notebook, resources=resources, **options).execute()
    for cell in code_cells(notebook):
        if SILENT in tags(cell):
            cell["outputs"] = []
        cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr"]
        for output in cell["outputs"]:
            output.get("metadata", {}).clear()
            if "image/png" in output.get("data", {}):
                output["data"]["image/png"] = smaller(output["data"]["image/png"])
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(names: list[str]) -> None:
    import tempfile

    import nbformat

    for name in names or NAMES:
        with tempfile.TemporaryDirectory() as directory:
            nbformat.write(run_in_kernel(name, directory), path(name))
        print(path(name).relative_to(DIRECTORY.parent.parent))


if __name__ == "__main__":
    main(sys.argv[1:])
