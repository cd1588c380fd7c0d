"""Residual encoder and decoder for images of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras

Stages = Sequence[tuple[int, int]]  # (filters, stride) of each residual stage

NORMALIZATIONS = ("batch", "sync_batch", "group", "none")


def _normalize(x, kind: str, name: str):
    if kind in ("batch", "sync_batch"):
        layer = keras.layers.BatchNormalization(
            momentum=0.9, synchronized=kind == "sync_batch", name=name
        )
        return layer(x)
    if kind == "group":
        groups = math.gcd(8, x.shape[-1])
        return keras.layers.GroupNormalization(groups, name=name)(x)
    return x


def _conv(x, filters: int, size: int, stride: int, name: str, norm: str = "none"):
    """A convolution; without a bias where batch normalisation would take it away again.

    The gradient of such a bias is rounding noise, along which Adam takes full steps: runs on
    unlike machines would part.
    """
    return keras.layers.Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=norm not in ("batch", "sync_batch"),
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _residual(x, filters: int, resample: Callable, stride: int, norm: str, activation: str, name):
    """act(norm(conv(resample(act(norm(conv(x)))))) + resample(skip(x))), two 3x3 convolutions.

    The encoder's first convolution has the stride; the decoder enlarges between the two, so that
    only the second works at the larger size.
    """
    skip = x
    if stride != 1 or x.shape[-1] != filters:
        skip = _conv(x, filters, 1, stride, f"{name}_skip")
    y = _conv(x, filters, 3, stride, f"{name}_conv1", norm)
    y = keras.layers.Activation(activation)(_normalize(y, norm, f"{name}_norm1"))
    y = _conv(resample(y, f"{name}_main"), filters, 3, 1, f"{name}_conv2", norm)
    y = _normalize(y, norm, f"{name}_norm2")
    y = keras.layers.add([y, resample(skip, f"{name}_skip")])
    return keras.layers.Activation(activation, name=name)(y)


def _same(x, name: str):
    return x


def _enlarge(size: tuple[int, int], stride: int, mode: str) -> Callable:
    """Enlarges by `stride` and crops to `size`."""

    def resample(x, name):
        if stride == 1:
            return x
        if mode == "transposed":
            layer = keras.layers.Conv2DTranspose(
                x.shape[-1], 3, stride, padding="same", name=f"{name}_up"
            )
        else:
            layer = keras.layers.UpSampling2D(stride, interpolation=mode, name=f"{name}_up")
        x = layer(x)
        extra = (x.shape[1] - size[0], x.shape[2] - size[1])
        if any(extra):
            x = keras.layers.Cropping2D(((0, extra[0]), (0, extra[1])), name=f"{name}_crop")(x)
        return x

    return resample


def _sizes(image_shape, stages: Stages) -> list[tuple[int, int]]:
    """Height and width before the first stage and after each."""
    sizes = [tuple(image_shape[:2])]
    for _, stride in stages:
        sizes.append((-(-sizes[-1][0] // stride), -(-sizes[-1][1] // stride)))
    return sizes


def residual_encoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    stem: int,
    stages: Stages,
    hidden: int | None = None,
    pool: str = "flatten",
    norm: str = "batch",
    activation: str = "relu",
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
    """
    image = keras.Input(image_shape, name="image")
    x = keras.layers.Activation(activation)(
        _normalize(_conv(image, stem, 3, 1, "stem", norm), norm, "stem_norm")
    )
    for i, (filters, stride) in enumerate(stages):
        x = _residual(x, filters, _same, stride, norm, activation, f"stage{i}")
    if hidden:
        x = keras.layers.Activation(activation)(_conv(x, hidden, 1, 1, "hidden"))
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
    return keras.Model(image, parameters(pools[pool](x)), name="encoder")


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
      upsample: "nearest", "bilinear" or "transposed" (the authors').
      norm: one of `NORMALIZATIONS`.
      activation: any Keras activation.
    """
    sizes = _sizes(image_shape, stages)
    low = sizes[-1]
    latent = keras.Input((latent_dim,), name="latent")
    first = project or hidden
    x = keras.layers.Dense(low[0] * low[1] * first, name="project")(latent)
    x = keras.layers.Reshape((*low, first))(x)
    if first != hidden:
        x = _conv(x, hidden, 1, 1, "hidden", norm)
    x = keras.layers.Activation(activation)(_normalize(x, norm, "project_norm"))
    for i in reversed(range(len(stages))):
        filters, stride = stages[i]
        resample = _enlarge(sizes[i], stride, upsample)
        x = _residual(x, filters, resample, 1, norm, activation, f"stage{i}")
    if final:
        x = keras.layers.Activation(activation)(_conv(x, final, 3, 1, "final"))
    return keras.Model(latent, head(x), name="decoder")
