"""What the page shows about its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NEEDED = ("sample", "decode")  # without these there is no picture


def describe(
    name: str, version: str, metadata: Mapping[str, Any], card: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Name, sizes, signatures, names of the classes (none: unconditional) and card, as JSON.

    Args:
      name: of the model.
      version: of the model.
      metadata: name -> the JSON form of SignatureDef, as TF-Serving's metadata has it.
      card: model_card.json; None if the server has none.

    Raises:
      ValueError: it is no model that the editor can show, and why.
    """
    missing = [n for n in NEEDED if n not in metadata]
    if missing:
        raise ValueError(f"model {name} has no signature {missing[0]!r}, which the editor needs.")
    image_shape = _sizes(metadata["sample"]["outputs"], "images")
    latents = _sizes(metadata["decode"]["inputs"], "latents")
    if len(image_shape) != 3 or image_shape[-1] not in (1, 3) or len(latents) != 1:
        raise ValueError(
            f"model {name} makes arrays of shape {image_shape}; the editor shows pictures of "
            "height, width and 1 (grey) or 3 (red, green, blue) channels."
        )
    classes = list((card or {}).get("classes") or [])
    if "labels" in metadata["decode"]["inputs"] and not classes:
        raise ValueError(
            f"model {name} takes labels, and the editor knows their classes from model_card.json "
            "alone, which this server does not give: use bin/serve, or bin/edit --model."
        )
    rank = 0
    if "components" in metadata:
        rank = _sizes(metadata["components"]["outputs"], "stddevs")[0]
    return {
        "name": name,
        "version": version,
        "image_shape": image_shape,
        "latent_dim": latents[0],
        "rank": rank,
        "classes": classes,
        "signatures": sorted(metadata),
        "card": card,
    }


def _sizes(infos: Mapping[str, Any], name: str) -> list[int]:
    """The sizes of a tensor but the first, which is the batch."""
    shape = infos.get(name, {}).get("tensor_shape", {})
    return [int(d["size"]) for d in shape.get("dim", [])[1:]]
