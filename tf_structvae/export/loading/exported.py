"""A version of an export as a `Source`: its signatures do the work."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import LocalLowRankNormal, LowRankMultivariateNormal
from tf_structvae.export import card
from tf_structvae.export.loading.source import Source, about

STANDARD = "N(0, I)"  # of exports that do not say
_ROUNDING = 16 * float(np.finfo(np.float32).eps)


def open_version(path: Path) -> Source:
    """The export in a directory with saved_model.pb.

    Raises:
      FileNotFoundError: there is no model_card.json beside it.
    """
    content = card.read(path)
    if not content:
        raise FileNotFoundError(
            f"{path} holds a SavedModel without {card.FILE}, which states the shape of its images; "
            "the exports of this package have one."
        )
    loaded = tf.saved_model.load(str(path))
    run = {name: _held(loaded, name) for name in content["signatures"]}
    shape = tuple(content["image_shape"])

    def distribution(latents, labels):
        given = {"latents": latents, **({} if labels is None else {"labels": labels})}
        return _distribution(run, content["rank"], given)

    return Source(
        what=f"the export {path}",
        image_shape=shape,
        latent_shape=(content["latent_dim"],),
        rank=content["rank"],
        prior=content.get("prior", STANDARD),
        classes=tuple(content.get("classes", ())),
        about=about(content["name"], content),
        run=run,
        distribution=distribution,
    )


def _held(loaded, name: str) -> Callable[..., dict[str, tf.Tensor]]:
    """A signature that keeps the model alive, whose variables it does not own."""

    def run(**inputs):
        return loaded.signatures[name](**inputs)

    return run


def _distribution(run, rank: int, given: dict[str, Any]) -> tfp.distributions.Distribution:
    """p(x | z) from the mean, the variances and the principal components that an export gives.

    P is that of the model up to a rotation of its columns, which the distribution does not depend
    on.
    """
    if "local" in run:
        return _local(run["local"](**given), _factor_rows(run, rank, given))
    decoded = run["decode"](**given)
    count, size = decoded["means"].shape[0], math.prod(decoded["means"].shape[1:])
    means, variances = (tf.reshape(decoded[k], [count, size]) for k in ("means", "variances"))
    if not rank:
        return tfp.distributions.MultivariateNormalDiag(means, tf.sqrt(variances))
    rows = _factor_rows(run, rank, given)
    diag = _diagonal(tf.cast(variances, tf.float64), rows)
    factor = tf.linalg.matrix_transpose(tf.cast(rows, tf.float32))
    return LowRankMultivariateNormal(means, factor, tf.cast(diag, tf.float32))


def _factor_rows(run, rank: int, given: dict[str, Any]) -> tf.Tensor | None:
    """P^T up to a rotation, float64 [B, R, N]; None without P."""
    if not rank:
        return None
    found = run["components"](**given)
    directions = tf.cast(found["components"], tf.float64)
    directions = tf.reshape(directions, [tf.shape(directions)[0], rank, -1])
    return directions * tf.cast(found["stddevs"], tf.float64)[..., tf.newaxis]


def _local(parts: dict[str, tf.Tensor], rows: tf.Tensor | None) -> LocalLowRankNormal:
    """A local normal of the mean and the parts of A that an export gives, and P^T."""
    scales, neighbours = parts["scales"], parts.get("neighbours")
    count = 0 if neighbours is None else neighbours.shape[-2]
    radius = round((math.sqrt(2 * count + 1) - 1) / 2)  # of (2 r + 1)^2 - 1 = 2 J
    flat = [scales.shape[0], math.prod(scales.shape[1:])]
    return LocalLowRankNormal(
        tf.reshape(parts["means"], flat),
        tf.reshape(scales, flat),
        tuple(scales.shape[1:]),
        neighbours,
        parts.get("channels"),
        None if rows is None else tf.linalg.matrix_transpose(tf.cast(rows, tf.float32)),
        radius,
    )


def _diagonal(variances: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """D, [B, 1] where it is the same for all entries, else [B, N].

    Args:
      variances: of each entry, float64 [B, N], rounded to float32.
      rows: P^T, [B, R, N], rounded likewise.
    """
    left = variances - tf.reduce_sum(rows**2, axis=1)
    # an entry's rounding grows with its variance, so the small ones tell D best
    weights = variances**-2
    mean = tf.reduce_sum(weights * left, axis=1, keepdims=True)
    mean /= tf.reduce_sum(weights, axis=1, keepdims=True)
    if tf.reduce_all(tf.abs(left - mean) <= _ROUNDING * variances):
        return mean
    return tf.maximum(left, _ROUNDING * variances)
