"""One call from a model to a version on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_structvae.export import card, readme, saved_model, versions, warmup
from tf_structvae.export.exported_model import View
from tf_structvae.export.signatures import signatures
from tf_structvae.models.vae import StructuredVAE


def export(
    model: StructuredVAE,
    directory: str | Path,
    version: int | None = None,
    about: Mapping[str, Any] | None = None,
    warm_up: bool | None = None,
    importance_samples: int = 16,
    proposal_steps: int = 0,
) -> Path:
    """Writes `directory/VERSION`, all at once or not at all.

    There are the SavedModel with the endpoints of `signatures`, model_card.json, README.md, which
    is the same for people and model hubs, and, for TF-Serving,
    assets.extra/tf_serving_warmup_requests. `tf_structvae.load` opens it.

    Args:
      model: a built model.
      directory: of all versions of this model, such as saved_models/avatars; its name is the
        model's.
      version: a new positive number; None is one more than the highest.
      about: what the model does not hold, {"training", "metrics", "data"}, {"license": its name on
        model hubs, such as "apache-2.0"} and, of a conditional model, {"classes": K names}, for the
        card; that of a run is `card.of_experiment`.
      warm_up: whether to write warm-up requests; None: if tensorflow-serving-api is installed.
      importance_samples: of `log_prob`, see `signatures`.
      proposal_steps: of `log_prob`, see `signatures`; 50 tighten the bound for about 15 times the
        cost.

    Returns:
      The path of the new version.

    Raises:
      TypeError: another model.
      ValueError: the version is no positive number, `about` is not as above, the decoder emits a
        distribution that has no signatures, or a number is too small.
      FileExistsError: the version exists.
      ImportError: `warm_up` without tensorflow-serving-api.

    Examples:
      >>> import tensorflow as tf, tf_structvae as sv
      >>> path = sv.export.export(vae, "saved_models/faces", warm_up=False)  # a built StructuredVAE
      >>> path.as_posix()
      'saved_models/faces/1'
      >>> sample = tf.saved_model.load(path).signatures["sample"]
      >>> sample(seeds=tf.constant([[0, 1], [0, 2]]))["images"].shape.as_list()
      [2, 8, 8, 3]
    """
    if not isinstance(model, StructuredVAE):
        raise TypeError(f"model must be a StructuredVAE, got {model!r}.")
    directory = Path(directory)
    version = versions.choose_version(directory, version)
    known = card.check_about(about, model.classes)
    if warm_up and not warmup.available():
        raise ImportError(warmup.MISSING)
    name, view = directory.resolve().name, View.of(model)
    found = signatures(view, importance_samples, proposal_steps)

    def write(path: Path) -> None:
        tensors = saved_model.write(view, found, path)
        card.write(card.card(model, found, tensors, view.likelihood, name, version, known), path)
        readme.write(path)
        if warm_up or (warm_up is None and warmup.available()):
            warmup.write(found, name, path)

    return versions.write_version(directory, version, write)
