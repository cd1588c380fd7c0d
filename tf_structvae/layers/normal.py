"""What the heads share, and the head of the standard VAE."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tf_structvae import linalg
from tf_structvae.checks import finite, is_finite
from tf_structvae.layers.emitted import EmittedNormalDiag

NOISES = ("fixed", "learned", "per_pixel")
"""D: epsilon I, one learned scalar, or linear in the features."""
# exp of it is the smallest noise variance that a learned noise can reach.
_LOG_VARIANCE_FLOOR = math.log(1e-6)


class NormalHead(keras.layers.Layer):
    """Common part of the heads: a linear mean and the diagonal noise.

    Maps features [B, *S, F] to a distribution over the flat event [N], N = prod(S) * channels, in
    row-major pixel, channel order.

    Args:
      channels: C of the image.
      epsilon: the noise variance, or where it starts if it is learned.
      noise: one of `NOISES`.
      mean_initial: initial bias of the mean.

    Raises:
      ValueError: an argument outside its range, or features without a static size.
    """

    def __init__(
        self,
        channels: int,
        epsilon: float = 1e-5,
        noise: str = "fixed",
        mean_initial: float = 0.5,
        **kwargs,
    ):
        kwargs.setdefault("dtype", "float32")  # also under a mixed-precision policy
        super().__init__(**kwargs)
        if self.compute_dtype not in ("float32", "float64"):
            raise ValueError(
                "dtype must be 'float32' or 'float64', whatever the precision of other layers, got "
                f"{self.dtype_policy.name!r}: half precision cannot hold a density over all pixels."
            )
        check_positive_int("channels", channels)
        if not (is_finite(epsilon) and epsilon > 0):
            raise ValueError(f"epsilon must be a finite positive variance, got {epsilon!r}.")
        finite("mean_initial", mean_initial)
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {NOISES}, got {noise!r}.")
        self.channels = channels
        self.epsilon = float(epsilon)
        self.noise = noise
        self.mean_initial = float(mean_initial)

    def build(self, input_shape):
        features = input_shape[-1] if input_shape else None
        if not features or len(input_shape) < 2:
            raise ValueError(
                f"features must be [B, ..., F] with a static F >= 1, got {input_shape}."
            )
        small = keras.initializers.RandomNormal(stddev=0.01)  # every mean starts grey
        # `match_noise` assigns to the mean inside a replica, the same value in each.
        self.mean_kernel = self.add_weight(
            name="mean_kernel",
            shape=(features, self.channels),
            initializer=small,
            aggregation="only_first_replica",
        )
        self.mean_bias = self.add_weight(
            name="mean_bias",
            shape=(self.channels,),
            initializer=keras.initializers.Constant(self.mean_initial),
            aggregation="only_first_replica",
        )
        log_epsilon = keras.initializers.Constant(math.log(self.epsilon))
        if self.noise == "learned":
            self.log_variance = self.add_weight(
                name="log_variance", shape=(1,), initializer=log_epsilon
            )
        elif self.noise == "per_pixel":
            self.noise_kernel = self.add_weight(
                name="noise_kernel", shape=(features, self.channels), initializer="zeros"
            )
            self.noise_bias = self.add_weight(
                name="noise_bias", shape=(self.channels,), initializer=log_epsilon
            )
        super().build(input_shape)

    def _pixels(self, features):
        """[B, *S, F] -> [B, S, F]."""
        static = features.shape
        pixels = math.prod(static[1:-1]) if None not in static[1:-1] else -1
        return tf.reshape(features, [tf.shape(features)[0], pixels, static[-1]])

    def _flat(self, maps):
        n = maps.shape[1] * maps.shape[2] if maps.shape[1] is not None else -1
        return tf.reshape(maps, [tf.shape(maps)[0], n])

    def _loc(self, pixels):
        return self._flat(linalg.matmul(pixels, self.mean_kernel) + self.mean_bias)

    def _variance(self, pixels):
        """[1] or [B, N]."""
        if self.noise == "fixed":
            return tf.constant([self.epsilon], self.compute_dtype)
        if self.noise == "learned":
            log_variance = tf.convert_to_tensor(self.log_variance)
        else:
            log_variance = self._flat(linalg.matmul(pixels, self.noise_kernel) + self.noise_bias)
        return tf.exp(tf.maximum(log_variance, _LOG_VARIANCE_FLOOR))

    def compute_output_shape(self, input_shape):
        inner = input_shape[1:-1]
        n = math.prod(inner) * self.channels if None not in inner else None
        return (input_shape[0], n)

    def compute_output_spec(self, inputs, *args, **kwargs):
        # Keras would trace `call` with symbolic tensors, which a distribution cannot hold.
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "epsilon": self.epsilon,
            "noise": self.noise,
            "mean_initial": self.mean_initial,
        }


@keras.saving.register_keras_serializable(package="tf_structvae")
class IndependentNormalHead(NormalHead):
    """Features -> `tfd.MultivariateNormalDiag`: the pixel-wise independent normal, standard VAE.

    Args:
      channels: C of the image.
      epsilon: the noise variance, or where it starts if it is learned.
      noise: "fixed", "learned" (one scalar) or "per_pixel" (linear in the features).
      mean_initial: initial bias of the mean.

    Examples:
      >>> import keras, tf_structvae as sv
      >>> head = sv.layers.IndependentNormalHead(channels=1, epsilon=0.25)
      >>> p = head(keras.ops.ones([2, 4, 4, 8]))
      >>> p.event_shape.as_list(), float(p.stddev()[0, 0])
      ([16], 0.5)
    """

    def call(self, features):
        pixels = self._pixels(features)
        loc = self._loc(pixels)
        scale = tf.broadcast_to(tf.sqrt(self._variance(pixels)), tf.shape(loc))
        return EmittedNormalDiag(loc, scale_diag=scale)


def check_positive_int(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
