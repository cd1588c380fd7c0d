"""Statistics of the data's features, kept on disk so that no model waits for them twice."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_structvae.datasets import Source, Spec
from tf_structvae.evaluation.feature_set import FeatureSet
from tf_structvae.evaluation.features import Extractor
from tf_structvae.evaluation.frechet import Moments
from tf_structvae.utilities.files import whole

FORMAT = 1  # of the files; another is not read


def fingerprint(settings: Any) -> str:
    """A name of 64 letters for anything JSON can tell: the same for the same content."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def data_settings(source: Source, spec: Spec, split: str) -> dict[str, Any]:
    """All that decides the images of a source, as JSON; two sources with the same are the same.

    Where the records lie is left out; what they hold goes in by TFDS's own description of them.
    """
    about = tf.io.gfile.join(source.info.directory, "dataset_info.json")
    text = tf.io.gfile.GFile(about).read() if tf.io.gfile.exists(about) else ""
    return {
        "name": source.info.name,
        "records": hashlib.sha256(text.encode()).hexdigest(),
        "split": split,
        "images": source.count,
        "image_shape": list(source.image_shape),
        "fit": spec.fit,
    }


def feature_settings(network: Extractor, keep: int) -> dict[str, Any]:
    """All that decides what is kept of some images' features, as JSON."""
    return {
        "features": network.name,
        "version": network.version,
        "keep": keep,
        "format": FORMAT,
    }


def cached(
    directory: Path,
    settings: Mapping[str, Any],
    make: Callable[[], FeatureSet],
    tell: Callable[[str], None] = print,
) -> FeatureSet:
    """What a file in `directory` holds for these settings, or what `make` makes, which is saved.

    A file that cannot be read or was made with other settings is reported and written anew.

    Args:
      directory: made if it is not there.
      settings: JSON; the file is named by its fingerprint and holds it.
      make: called where there is no good file.
      tell: takes one line about a bad file.

    Raises:
      OSError: the file cannot be written.
    """
    path = directory / f"{settings.get('features', 'features')}-{fingerprint(settings)[:16]}.npz"
    if path.exists():
        try:
            return _load(path, settings)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            tell(f"{path} cannot be used ({reason}); it is made again.")
    found = make()
    _save(path, settings, found)
    return found


def _load(path: Path, settings: Mapping[str, Any]) -> FeatureSet:
    with np.load(path, allow_pickle=False) as saved:
        if json.loads(str(saved["settings"])) != json.loads(json.dumps(settings)):
            raise ValueError("it was made with other settings")
        moments = Moments(int(saved["count"]), saved["mean"], saved["scatter"])
        kept = saved["kept"]
    size = len(moments.mean)
    if moments.scatter.shape != (size, size) or kept.shape != (len(kept), size):
        raise ValueError("its arrays do not fit each other")
    if not (np.isfinite(moments.scatter).all() and np.isfinite(kept).all()):
        raise ValueError("it holds numbers that are not finite")
    return FeatureSet(moments, kept)


def _save(path: Path, settings: Mapping[str, Any], found: FeatureSet) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial:
        np.savez(
            partial,
            settings=np.array(json.dumps(settings)),
            count=np.array(found.moments.count),
            mean=found.moments.mean,
            scatter=found.moments.scatter,
            kept=found.kept,
        )
