"""What a loaded model needs of what was saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp


@dataclasses.dataclass(frozen=True)
class Source:
    """An export, a run or a Keras model, as functions and facts.

    Attributes:
      what: it is, with its path, for messages.
      image_shape: (H, W, C).
      latent_shape: of one row of what it decodes, (L,) of a VAE; (0,) where there are no latents.
      rank: R; 0 of an independent normal.
      prior: what latents are drawn from, in words; None where there is no prior.
      classes: names of the K classes of a conditional model, else ().
      about: "name", "training", "metrics" and "data", as in model_card.json, None where unknown.
      run: those of the signatures of an export that it can compute, by name; see docs/export.md.
      distribution: latents [K, prod(latent_shape)] and labels [K] or None -> p(x | z).
    """

    what: str
    image_shape: tuple[int, int, int]
    latent_shape: tuple[int, ...]
    rank: int
    prior: str | None
    classes: tuple[str, ...]
    about: dict[str, Any]
    run: Mapping[str, Callable[..., dict[str, tf.Tensor]]]
    distribution: Callable[[tf.Tensor, tf.Tensor | None], tfp.distributions.Distribution]


def about(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Source.about`.

    Args:
      name: of the model.
      known: fields of a card; others than those of `about` are left out.
    """
    return {"name": name, **{k: known.get(k) for k in ("training", "metrics", "data")}}
