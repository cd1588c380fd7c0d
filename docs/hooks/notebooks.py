"""Notebooks as pages: with the outputs that are in them, not run, nothing loaded from elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

import nbconvert
from mkdocs.structure.files import File

_LOG = logging.getLogger("mkdocs.hooks.notebooks")


def on_config(config, **_):
    """Lists in the navigation the page that is made of each notebook."""
    config.nav = [_page(entry, Path(config.docs_dir)) for entry in config.nav]
    return config


def _page(entry, docs: Path):
    if isinstance(entry, dict):
        return {title: _page(inner, docs) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [_page(inner, docs) for inner in entry if not _is_missing(inner, docs)]
    return _page_name(entry)


def _is_missing(entry, docs: Path) -> bool:
    names = list(entry.values()) if isinstance(entry, dict) else [entry]
    missing = [n for n in names if str(n).endswith(".ipynb") and not (docs / n).exists()]
    for name in missing:
        _LOG.info("%s is not there: left out of the navigation.", name)
    return bool(missing)


def _page_name(name: str) -> str:
    return name.removesuffix(".ipynb") + ".md" if name.endswith(".ipynb") else name


def on_files(files, config, **_):
    """Puts a page and its pictures in the place of each notebook."""
    for notebook in [f for f in files if f.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        path = PurePosixPath(notebook.src_uri)
        exporter = nbconvert.MarkdownExporter()
        text, resources = exporter.from_filename(
            notebook.abs_src_path, {"output_files_dir": f"{path.stem}_files"}
        )
        for name, content in resources.get("outputs", {}).items():
            files.append(File.generated(config, str(path.parent / name), content=content))
        files.append(File.generated(config, _page_name(notebook.src_uri), content=text))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """Links to notebooks lead to their pages."""
    return markdown.replace(".ipynb)", ".md)")
