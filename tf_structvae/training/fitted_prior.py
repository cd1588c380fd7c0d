"""A prior fitted to the posteriors of a trained run, kept in its directory beside a checkpoint."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ml_collections import ConfigDict
from tqdm.auto import tqdm

from tf_structvae import priors
from tf_structvae.models import class_labels
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.utilities.files import whole

MOST_IMAGES = 20_000  # whose posteriors a prior is fitted to
_PSEUDO_INPUTS = 2_000  # images that those of a VampPrior are chosen from


@dataclasses.dataclass(frozen=True)
class Settings:
    """Which prior is fitted.

    Attributes:
      kind: one of `priors.KINDS`.
      components: of a mixture or VampPrior.
      by_label: whether each label of a conditional model gets its own.
      seed: of draws and starts.
    """

    kind: str = "mixture"
    components: int = 50
    by_label: bool = False
    seed: int = 0

    @classmethod
    def of_config(cls, config: ConfigDict) -> Settings | None:
        """Those of an experiment; None if it keeps the prior that it trained with."""
        p = config.prior
        if p.fitted == "none":
            return None
        return cls(p.fitted, p.components, p.by_label, config.seed)

    def check(self, latent_dim: int, images: int, labels: Callable[[], np.ndarray]) -> None:
        """Refuses a prior that takes more images than there are.

        Args:
          latent_dim: L.
          images: for training.
          labels: gives theirs, [images]; called for a prior by label.

        Raises:
          ValueError: names the prior and the number of images that it takes.
        """
        least = priors.least_images(self.kind, latent_dim, self.components)
        counts = np.bincount(labels()) if self.by_label else np.array([images])
        if counts.min() < least:
            which = f" of label {counts.argmin()}" if self.by_label else ""
            raise ValueError(
                f"a prior of kind {self.kind!r} over {latent_dim} latents takes at least {least} "
                f"training images{which}, got {counts.min()}. Of the kind 'none' (--kind, "
                "config.prior.fitted) there is the prior of training."
            )


def fit(
    model: StructuredVAE, batches: Iterable, count: int, settings: Settings, progress: bool = True
) -> priors.Prior:
    """A prior fitted to the posteriors of images.

    Args:
      model: a trained one.
      batches: of the images as the model takes them.
      count: of the images.
      settings: which.
      progress: whether bars are shown.

    Raises:
      ValueError: too few images, or posteriors that are not finite.
    """
    kept: list[np.ndarray] = []

    def watched():
        seen = 0
        with tqdm(total=count, desc="posteriors", unit="image", disable=not progress) as bar:
            for batch in batches:
                images, *labels = class_labels.split(batch)
                if settings.kind == "vamp" and seen < _PSEUDO_INPUTS:
                    kept.append(np.asarray(images))
                seen += len(images)
                bar.update(len(images))
                yield (images, *labels)

    posterior = priors.AggregatedPosterior.of(model.encode, watched())
    return priors.fit(
        settings.kind,
        posterior,
        settings.components,
        settings.seed,
        settings.by_label,
        encode=model.encode,
        images=np.concatenate(kept) if kept else None,
        progress=progress,
    )


def copy(prior: priors.Prior) -> priors.Prior:
    """The same prior with weights of its own.

    Args:
      prior: any.
    """
    saved = keras.saving.serialize_keras_object(prior)
    found = keras.saving.deserialize_keras_object(saved)
    found.set_weights(prior.get_weights())
    return found


def save(path: Path, prior: priors.Prior, about: Any) -> None:
    """Writes a prior to a file, all at once.

    Args:
      path: of the file, an npz.
      prior: any.
      about: what it was fitted to, JSON.
    """
    header = {"prior": keras.saving.serialize_keras_object(prior), "about": about}
    weights = {f"weight_{i}": w for i, w in enumerate(prior.get_weights())}
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as f:
        np.savez(f, header=np.array(json.dumps(header)), **weights)


def load(path: Path) -> tuple[priors.Prior, Any] | None:
    """The prior in a file and what it was fitted to; None if there is none.

    Args:
      path: of the file.

    Raises:
      ValueError: it is no file of `save`.
    """
    if not path.exists():
        return None
    try:
        with np.load(path) as found:
            header = json.loads(str(found["header"]))
            weights = [found[f"weight_{i}"] for i in range(len(found.files) - 1)]
        prior = keras.saving.deserialize_keras_object(header["prior"])
        prior.set_weights(weights)
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} holds no prior that this version knows ({error}); bin/fit_prior makes it anew."
        ) from error
    prior.trainable = False
    return prior, header["about"]
