"""From a name or a path to a model, whatever was saved there."""

from __future__ import annotations

from pathlib import Path

from tf_structvae.export.loading.model import LoadedModel
from tf_structvae.export.loading.source import Source
from tf_structvae.utilities import shipped

_SAVED = "saved_model.pb"
_RUN = "config.json"


def load(path: str | Path, checkpoint: str | None = None) -> LoadedModel:
    """Opens a saved model.

    Args:
      path: one of

        * the name of a model in `saved_models` of the working directory, or of one that comes with
          the package: "demo";
        * an export: NAME/VERSION, or NAME for its newest version;
        * the work directory of a run, whose data set must be there, too;
        * a `.keras` file of a `StructuredVAE`, a `LowRankDensity`, or a network that ends in a head
          of `tf_structvae.layers`. Keras loads it in safe mode: without code from the file.
      checkpoint: of a run, "last" or "best"; None: "last".

    Returns:
      A `LoadedModel`.

    Raises:
      FileNotFoundError: nothing there that can be loaded, with what there is.
      ValueError: a file of another kind, a model of another kind, or `checkpoint` of no run.

    Examples:
      >>> import tf_structvae as sv
      >>> sv.load("demo").image_shape
      (64, 64, 3)
    """
    found = find(Path(path))
    run = found.is_dir() and not (found / _SAVED).exists()
    if checkpoint is not None and not run:
        raise ValueError(
            f"checkpoint must be None, got {checkpoint!r}: {found} is not the directory of a run."
        )
    if found.is_file():
        return LoadedModel(_of_file(found))
    if run:
        return LoadedModel(_of_run(found, checkpoint or "last"))
    from tf_structvae.export.loading import exported

    return LoadedModel(exported.open_version(found))


def find(path: Path) -> Path:
    """A file, a version of an export, or the directory of a run.

    Args:
      path: see `load`.

    Raises:
      FileNotFoundError: nothing there that can be loaded.
    """
    named = len(path.parts) == 1 and not path.exists()
    places = [Path(shipped.MODELS), shipped.saved_models()] if named else []
    for place in (path, *(p / path for p in places)):
        if place.is_file() or (place / _SAVED).exists() or (place / _RUN).exists():
            return place
        if versions := _versions(place):
            return place / str(max(versions))
    if path.is_dir():
        raise FileNotFoundError(
            f"directory {path} holds no exported model ({_SAVED}, or NUMBER/{_SAVED}) and no run "
            f"({_RUN}); it holds {_listed(path)}."
        )
    there = [f"{p} holds {_listed(p)}" for p in dict.fromkeys(places) if p.is_dir()]
    raise FileNotFoundError(
        f"{path} is neither a file or directory nor a model that comes with the package"
        + "".join(f"; {text}" for text in there)
        + "."
    )


def _versions(directory: Path) -> list[int]:
    found = directory.glob(f"*/{_SAVED}")
    return [int(p.parent.name) for p in found if p.parent.name.isdecimal()]


def _listed(directory: Path) -> str:
    names = sorted(p.name for p in directory.iterdir() if not p.name.startswith("."))
    return ", ".join([*names[:10], *(["..."] if len(names) > 10 else [])]) or "nothing"


def _of_file(path: Path) -> Source:
    if path.suffix != ".keras":
        raise ValueError(
            f"path must be a directory or a file NAME.keras, got the file {path}; of a SavedModel "
            "give the directory."
        )
    import keras

    from tf_structvae.export.loading.keras_model import open_model

    model = keras.models.load_model(path, compile=False)
    return open_model(model, f"the file {path}", path.stem)


def _of_run(path: Path, checkpoint: str) -> Source:
    import keras

    from tf_structvae.export import card
    from tf_structvae.export.loading.keras_model import open_model
    from tf_structvae.training.experiment import Experiment

    policy = keras.config.dtype_policy()
    try:
        experiment = Experiment.load(path, checkpoint)
        model = experiment.exact_model
    finally:
        keras.config.set_dtype_policy(policy)  # a run sets its own for all layers to come
    what = f"the {checkpoint} checkpoint of {path}"
    known = card.of_experiment(experiment, checkpoint)
    return open_model(model, what, experiment.config.name, known, experiment.class_names)
