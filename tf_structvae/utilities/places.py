"""Where the modules are whose names are shorter than their places, or older.

`tf_structvae.vae` is `tf_structvae.models.vae`: one module under two names, whether it is imported,
looked up as `sv.vae`, or named in a pickle.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
from types import ModuleType

PACKAGE = "tf_structvae"

SHORT = {
    "build": "training.from_config",
    "callbacks": "training.callbacks",
    "checkpoints": "training.checkpoints",
    "closed_form": "studies.density.closed_form",
    "config": "training.config",
    "conformal": "models.conformal",
    "constraints": "models.constraints",
    "density": "models.density",
    "density_figure": "studies.density.figure",
    "density_report": "studies.density.report",
    "editing": "distributions.editing",
    "linalg": "distributions.linalg",
    "losses": "models.losses",
    "metrics": "models.metrics",
    "networks": "models.networks",
    "pca": "studies.density.pca",
    "plots": "studies.plots",
    "report": "studies.report",
    "scores": "studies.scores",
    "study": "studies.variants",
    "targets": "studies.targets",
    "vae": "models.vae",
}
"""Public names, below `PACKAGE`."""

OLD = {
    "blocks": "models.blocks",
    "datasets.avatars": "datasets.drawn.avatars",
    "datasets.brains": "datasets.drawn.brains",
    "datasets.fit": "datasets.resize",
    "datasets.image_folder": "datasets.folder.builder",
    "datasets.ukbb": "datasets.nifti.ukbb",
    "editor": "serving.editor",
    "editor.server": "serving.editor.server",
    "evaluation.collection": "studies.collection",
    "evaluation.evaluate": "studies.evaluate",
    "evaluation.labels": "studies.run_labels",
    "evaluation.model_scores": "studies.model_scores",
    "evaluation.order": "studies.paper_order",
    "evaluation.part_store": "studies.part_store",
    "evaluation.plot": "studies.plot",
    "evaluation.reference": "studies.feature_cache",
    "evaluation.seeds": "studies.combine_seeds",
    "evaluation.table": "studies.table",
    "figures.drawings": "studies.drawings",
    "figures.paper": "studies.paper",
    "figures.without_network": "studies.without_network",
    "preflight": "training.preflight",
    "run_name": "training.run_name",
}
"""Places of earlier versions, which programs and pickles may name."""


def find(name: str) -> ModuleType:
    """The module of a short name.

    Args:
      name: a key of `SHORT`.
    """
    return importlib.import_module(f"{PACKAGE}.{SHORT[name]}")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module by its short or old name."""

    def find_spec(self, fullname, path=None, target=None):
        place = {**SHORT, **OLD}.get(fullname.removeprefix(f"{PACKAGE}."))
        if not fullname.startswith(f"{PACKAGE}.") or place is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=f"{PACKAGE}.{place}")

    def create_module(self, spec):
        module = importlib.import_module(spec.origin)
        self._own = module.__spec__  # which the import system replaces by the one that it asks with
        return module

    def exec_module(self, module):
        module.__spec__ = self._own


def install() -> None:
    """Makes Python's imports know the short and old names."""
    if not any(isinstance(f, Finder) for f in sys.meta_path):
        sys.meta_path.insert(0, Finder())
