"""Where a prior that is learned with the model starts, if that depends on the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from tf_structvae.models import class_labels
from tf_structvae.models.vae import StructuredVAE
from tf_structvae.priors import Conditional, VampPrior


def start(model: StructuredVAE, batches: Callable[[], Iterable]) -> None:
    """Takes the first training images, of each label, as the pseudo-inputs of a VampPrior.

    Args:
      model: a new one.
      batches: gives the training images as the model takes them, in their order.

    Raises:
      ValueError: there are fewer images than pseudo-inputs.
    """
    prior = model.prior
    own = list(prior.priors) if isinstance(prior, Conditional) else [prior]
    if not isinstance(own[0], VampPrior):
        return
    found: list[list[np.ndarray]] = [[] for _ in own]
    for batch in batches():
        images, *labels = (np.asarray(x) for x in class_labels.split(batch))
        of = labels[0] if labels else np.zeros(len(images), np.int64)
        for image, k in zip(images, of, strict=True):
            if len(found[k]) < own[k].components:
                found[k].append(image)
        if all(len(f) == p.components for f, p in zip(found, own, strict=True)):
            break
    for k, (kept, p) in enumerate(zip(found, own, strict=True)):
        if len(kept) < p.components:
            which = f" of label {k}" if len(own) > 1 else ""
            raise ValueError(
                f"config.prior.components = {p.components} must be at most the number of training "
                f"images{which}, {len(kept)}."
            )
        p.start_at(np.stack(kept))
