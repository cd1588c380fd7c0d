"""Residual encoder and decoder for images of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from tf_structvae.models import blocks
from tf_structvae.models.blocks import NORMALIZATIONS
from tf_structvae.utilities import checks
from tf_structvae.utilities.checks import integer

__all__ = ["NORMALIZATIONS", "Stages", "residual_decoder", "residual_encoder"]

UPSAMPLES = ("nearest", "bilinear", "transposed")
Stages = Sequence[tuple[int, int]]  # (filters, stride) of each residual stage


def _sizes(image_shape, stages: Stages) -> list[tuple[int, int]]:
    """Height and width before the first stage and after each."""
    sizes = [tuple(image_shape[:2])]
    for _, stride in stages:
        sizes.append((-(-sizes[-1][0] // stride), -(-sizes[-1][1] // stride)))
    return sizes


def _check(image_shape, latent_dim, stages, hidden, norm) -> None:
    """
    Raises:
      ValueError: an argument outside its range.
    """
    checks.image_shape(image_shape)
    integer("latent_dim", latent_dim)
    pairs = isinstance(stages, Sequence) and all(isinstance(s, Sequence) for s in stages)
    if not (pairs and stages and all(len(s) == 2 and min(s) >= 1 for s in stages)):
        raise ValueError(
            f"stages must be at least one pair (filters, stride) of integers >= 1, got {stages!r}."
        )
    if hidden is not None:
        integer("hidden", hidden)
    if norm not in NORMALIZATIONS:
        raise ValueError(f"norm must be one of {NORMALIZATIONS}, got {norm!r}.")


def residual_encoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    stem: int,
    stages: Stages,
    hidden: int | None = None,
    pool: str = "flatten",
    norm: str = "batch",
    activation: str = "relu",
    classes: int = 0,
) -> keras.Model:
    """Images [B, H, W, C] -> mean and log-variance of z, concatenated, [B, 2 * latent_dim].

    Args:
      image_shape: (H, W, C), any size.
      latent_dim: L.
      stem: filters of the first 3x3 convolution.
      stages: (filters, stride) of each residual stage.
      hidden: filters of a 1x1 convolution before pooling; None leaves it out.
      pool: "flatten", "max" (the authors') or "mean".
      norm: one of `NORMALIZATIONS`.
      activation: any Keras activation.
      classes: K of a network for [images, one-hot labels [B, K]]; each class adds features of its
        own to those of the first convolution. 0: no labels.

    Raises:
      ValueError: an argument outside its range.
    """
    _check(image_shape, latent_dim, stages, hidden, norm)
    integer("stem", stem)
    image = keras.Input(image_shape, name="image")
    inputs = image
    x = blocks.normalize(blocks.conv(image, stem, 3, 1, "stem", norm), norm, "stem_norm")
    if classes:  # after the norm, which may take a constant of a channel away
        inputs = [image, keras.Input((classes,), name="label")]
        x = keras.layers.add([x, blocks.by_class(inputs[1], stem)])
    x = keras.layers.Activation(activation)(x)
    for i, (filters, stride) in enumerate(stages):
        x = blocks.residual(x, filters, blocks.same, stride, norm, activation, f"stage{i}")
    if hidden:
        x = keras.layers.Activation(activation)(blocks.conv(x, hidden, 1, 1, "hidden"))
    pools: dict[str, Callable] = {
        "flatten": keras.layers.Flatten(),
        "max": keras.layers.GlobalMaxPooling2D(),
        "mean": keras.layers.GlobalAveragePooling2D(),
    }
    if pool not in pools:
        raise ValueError(f"pool must be one of {tuple(pools)}, got {pool!r}.")
    # The posterior is float32 whatever the precision of the convolutions.
    # A small start keeps the first KL divergences, and so the first multipliers, small.
    small = keras.initializers.VarianceScaling(0.01)
    parameters = keras.layers.Dense(
        2 * latent_dim, kernel_initializer=small, dtype="float32", name="posterior"
    )
    return keras.Model(inputs, parameters(pools[pool](x)), name="encoder")


def residual_decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    head: keras.layers.Layer,
    stages: Stages,
    hidden: int,
    project: int | None = None,
    final: int | None = None,
    upsample: str = "nearest",
    norm: str = "batch",
    activation: str = "relu",
    classes: int = 0,
) -> keras.Model:
    """Latents [B, L] -> the distribution that `head` emits over images [B, H, W, C].

    Args:
      image_shape: (H, W, C), any size.
      latent_dim: L.
      head: the last layer; takes features [B, H, W, F].
      stages: (filters, stride) of each stage, in the order of the *encoder*; they are mirrored.
      hidden: filters at the lowest resolution.
      project: filters of the linear map from z, if it is to be narrower than a 1x1 convolution to
        `hidden` that then follows.
      final: filters of one more 3x3 convolution at full resolution; None leaves it out.
      upsample: "nearest" or "bilinear", between the two convolutions of a stage; or "transposed"
        (the authors'): by the first of them, and z is projected by a transposed convolution too.
      norm: one of `NORMALIZATIONS`.
      activation: any Keras activation.
      classes: K of a network for [latents, one-hot labels [B, K]], which are projected together.
        0: no labels.

    Raises:
      ValueError: an argument outside its range.
    """
    _check(image_shape, latent_dim, stages, hidden, norm)
    if upsample not in UPSAMPLES:
        raise ValueError(f"upsample must be one of {UPSAMPLES}, got {upsample!r}.")
    sizes = _sizes(image_shape, stages)
    low = sizes[-1]
    inputs = joined = keras.Input((latent_dim,), name="latent")
    if classes:
        inputs = [joined, keras.Input((classes,), name="label")]
        joined = keras.layers.concatenate(inputs)
    first = project or hidden
    x = blocks.project(joined, low, first, upsample)
    if first != hidden:
        x = blocks.conv(x, hidden, 1, 1, "hidden", norm)
    x = keras.layers.Activation(activation)(blocks.normalize(x, norm, "project_norm"))
    for i in reversed(range(len(stages))):
        filters, stride = stages[i]
        shared = (norm, activation, f"stage{i}")
        if upsample == "transposed":
            x = blocks.transposed_residual(x, filters, sizes[i], stride, *shared)
        else:
            x = blocks.residual(x, filters, blocks.enlarge(sizes[i], stride, upsample), 1, *shared)
    if final:
        x = keras.layers.Activation(activation)(blocks.conv(x, final, 3, 1, "final"))
    return keras.Model(inputs, head(x), name="decoder")
