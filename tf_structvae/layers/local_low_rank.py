"""The head that emits a low-rank and local normal over all pixels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.distributions.local.window import Window
from tf_structvae.layers.emitted import EmittedFeatureLocalNormal, EmittedLocalNormal
from tf_structvae.layers.low_rank import LowRankNormalHead
from tf_structvae.utilities.checks import integer, is_finite

# Of a channel for another one of its pixel, in units in which both vary alike.
_LARGEST_CHANNEL_WEIGHT = 4.0
_TINY = 1e-12  # so that tanh(s) / s is one at zero


@keras.saving.register_keras_serializable(package="tf_structvae")
class LocalLowRankHead(LowRankNormalHead):
    """Features [B, *S, F] -> low-rank and local normal over all pixels, Sigma = P P^T + (A^T A)^-1.

    S are 1 to 3 axes of a static size; flat features [B, F] are one pixel. Mean, P and its scale
    are those of `LowRankNormalHead`, in the space of the pixels. In the place of D there is the
    local part of a `LocalLowRankNormal`, whose weights are linear in the features of a pixel: one
    for each earlier neighbour, the same for all channels, one for each pair of channels, and the
    noise variance given those before.

    A^-1 amplifies noise along a path over the picture by the products of the weights on it. With
    the linear maps r of the features, the weights of the neighbours are

    ```none
    w_j = bound r_j tanh(s) / s,    s = sum_k |r_k|,    so that sum_j |w_j| < bound
    ```

    and no entry of (I - W)^-1 omega exceeds the largest of |omega| by more than 1 / (1 - bound),
    20 for 0.95. All weights start at zero, as noise of each pixel.

    Args:
      channels: C: of images their colours, of flat features the number of outputs.
      rank: R; 0: no P, the model of Dorta et al. (2018).
      radius: of the neighbourhood; 1: 4 earlier pixels of an image, 2: 12; 0: none.
      bound: of the sum of the |w| of a pixel, in (0, 1).
      epsilon: the noise variance given the pixels before, or where it starts if it is learned.
      noise: "per_pixel", "per_channel", "learned" or "fixed"; see `NormalHead`.
      factor_scale: see `LowRankNormalHead`.
      factor_initial: see there.
      mean_initial: initial bias of the mean.
      use_bias: whether the factor has a bias.
      standardize: whether these are in units that the first targets set; None: unless the noise is
        "fixed".

    Raises:
      ValueError: an argument outside its range, or features without a static size.

    Examples:
      >>> import keras, tf_structvae as sv
      >>> head = sv.layers.LocalLowRankHead(channels=3, rank=5)
      >>> p = head(keras.ops.ones([7, 4, 4, 8]))
      >>> p.batch_shape.as_list(), p.event_shape.as_list(), p.rank
      ([7], [48], 5)
      >>> p.sample(seed=1).shape.as_list()
      [7, 48]
    """

    _FORMER_DEFAULTS: dict[str, Any] = {}
    _LEAST_RANK = 0

    def __init__(
        self,
        channels: int,
        rank: int = 25,
        radius: int = 1,
        bound: float = 0.95,
        epsilon: float = 1.0,
        noise: str = "per_pixel",
        factor_scale: str = "log_scale",
        factor_initial: float = 0.01,
        mean_initial: float = 0.0,
        use_bias: bool = True,
        standardize: bool | None = None,
        **kwargs,
    ):
        super().__init__(
            channels,
            rank,
            epsilon,
            noise,
            factor_scale,
            factor_initial,
            mean_initial,
            use_bias,
            noise != "fixed" if standardize is None else standardize,
            **kwargs,
        )
        integer("radius", radius, 0)
        if not (is_finite(bound) and 0 < bound < 1):
            raise ValueError(f"bound must be a number between 0 and 1, got {bound!r}.")
        self.radius = int(radius)
        self.bound = float(bound)

    def build(self, input_shape):
        super().build(input_shape)
        space = tuple(input_shape[1:-1]) or (1,)
        if None in space:
            raise ValueError(f"features must be [B, *S, F] with static S, got {input_shape}.")
        self._window = Window((*space, self.channels), self.radius)
        pairs = self.channels * (self.channels - 1) // 2
        if self._window.offsets:
            self.neighbour_kernel, self.neighbour_bias = self._affine(
                "neighbour", input_shape[-1], len(self._window.offsets)
            )
        if pairs:
            self.channel_kernel, self.channel_bias = self._affine("channel", input_shape[-1], pairs)

    def _affine(self, name, features, outputs):
        """Kernel and bias of a linear map that starts at zero."""
        shapes = {"kernel": (features, outputs), "bias": (outputs,)}
        return [
            self.add_weight(name=f"{name}_{part}", shape=shape, initializer="zeros")
            for part, shape in shapes.items()
        ]

    def _maps(self, pixels):
        """What is linear in the features, by name, as one product of matrices."""
        parts = {
            name: getattr(self, f"{name}_kernel")
            for name in ("mean", "noise", "neighbour", "channel")
            if hasattr(self, f"{name}_kernel")
        }
        kernel = tf.concat([tf.convert_to_tensor(k) for k in parts.values()], axis=1)
        bias = tf.concat([tf.convert_to_tensor(getattr(self, f"{k}_bias")) for k in parts], axis=0)
        found = linalg.matmul(pixels, kernel) + bias
        sizes = [k.shape[1] for k in parts.values()]
        return dict(zip(parts, tf.split(found, sizes, axis=-1), strict=True))

    def _neighbours(self, raw):
        """w, [B, *space, 1, J, 1]; None without neighbours."""
        if raw is None:
            return None
        total = tf.reduce_sum(tf.abs(raw), axis=-1, keepdims=True) + _TINY
        w = (self.bound * tf.tanh(total) / total) * raw
        return tf.reshape(w, [-1, *self._window.space, 1, raw.shape[-1], 1])

    def _channels(self, raw):
        """v, [B, *space, C, C], of which what is below the diagonal counts; None of one channel."""
        if raw is None:
            return None
        v = _LARGEST_CHANNEL_WEIGHT * tf.tanh(raw / _LARGEST_CHANNEL_WEIGHT)
        lower = tf.unstack(v, axis=-1)
        zero = tf.zeros_like(lower[0])
        rows = []
        for c in range(self.channels):
            known, lower = lower[:c], lower[c:]
            rows.append(tf.stack([*known, *[zero] * (self.channels - c)], axis=-1))
        return tf.reshape(tf.stack(rows, axis=-2), [-1, *self._window.grid, self.channels])

    def _emit(self, features, training):
        pixels = self._pixels(features)
        maps = self._maps(pixels)
        mean, variance = maps["mean"], self._variance_of(maps.get("noise"))
        neighbours = self._neighbours(maps.get("neighbour"))
        channels = self._channels(maps.get("channel"))
        factor = self._factor(pixels) if self.rank else None

        def emit(units):
            loc, cov_diag = self._moments(mean, variance, units)
            v = channels
            if v is not None and units is not None:
                v = v * units.scale[:, tf.newaxis] / units.scale
            given = {
                "loc": loc,
                "scale": tf.sqrt(cov_diag),
                "grid": self._window.grid,
                "neighbours": neighbours,
                "channels": v,
                "radius": self.radius,
            }
            if factor is None:
                p = EmittedLocalNormal(**given)
            else:
                with_one, kernel = factor
                rows = kernel if units is None else kernel * units.scale[:, tf.newaxis]
                p = EmittedFeatureLocalNormal(features=with_one, kernel=rows, **given)
            p.fused = bool(training)
            return p

        return self._emitted(emit, training)

    def get_config(self):
        return {**super().get_config(), "radius": self.radius, "bound": self.bound}
