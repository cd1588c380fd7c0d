"""What the heads share, and the head of the standard VAE."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.layers.emitted import EmittedNormalDiag
from tf_structvae.layers.units import Affine, Units
from tf_structvae.utilities.checks import finite, integer, is_finite

NOISES = ("fixed", "learned", "per_channel", "per_pixel")
"""What D is; see `NormalHead`."""
# Adam's step does not know how far a variance has to go: so many times faster than other weights.
_LOG_VARIANCE_SPEED = 10.0


class NormalHead(keras.layers.Layer):
    """Common part of the heads: a linear mean and the diagonal noise.

    Maps features [B, *S, F] to a distribution over the flat event [N], N = prod(S) * channels, in
    row-major pixel, channel order. S are the positions of a sequence, an image or a volume; of flat
    features [B, F] there is one, and each output is a channel.

    The diagonal D of the covariance is

      noise="per_channel": one learned variance for each channel, the same at all positions and for
        all features: of flat features one for each output, of images one for each colour;
      noise="learned": one learned variance for all entries;
      noise="per_pixel": a variance for each entry of each example, its logarithm linear in the
        features;
      noise="fixed": epsilon for all entries, as in the paper.

    With `standardize` the weights describe targets of mean 0 and variance 1 in each channel, and
    what is emitted is moved and scaled to the units of the data. `adapt` takes the units from data;
    else `NegativeLogLikelihood` and `StructuredVAE` take them from the first batch of the first
    training. They are saved with the weights. Before, they are those of the arguments.

    Args:
      channels: C.
      epsilon: the noise variance, or where it starts if it is learned.
      noise: one of `NOISES`.
      mean_initial: initial bias of the mean.
      standardize: whether epsilon, mean_initial and the weights are of standardised targets; None:
        where the noise is "per_channel".
      variance_floor: the least variance that a learned noise can reach, in the same units. Where
        some pixels never vary, as a black background, a larger one, as 1e-3, keeps a surprise there
        from costing thousands of nats.

    Raises:
      ValueError: an argument outside its range, or features without a static size.
    """

    # Of releases whose configs lack a key.
    _FORMER_DEFAULTS: dict[str, Any] = {
        "epsilon": 1e-5,
        "noise": "fixed",
        "mean_initial": 0.5,
        "standardize": False,
    }

    def __init__(
        self,
        channels: int,
        epsilon: float = 1.0,
        noise: str = "per_channel",
        mean_initial: float = 0.0,
        standardize: bool | None = None,
        variance_floor: float = 1e-6,
        **kwargs,
    ):
        kwargs.setdefault("dtype", "float32")  # also under a mixed-precision policy
        super().__init__(**kwargs)
        if self.compute_dtype not in ("float32", "float64"):
            raise ValueError(
                "dtype must be 'float32' or 'float64', whatever the precision of other layers, got "
                f"{self.dtype_policy.name!r}: half precision cannot hold a density over all pixels."
            )
        if not (is_finite(variance_floor) and variance_floor > 0):
            raise ValueError(f"variance_floor must be finite and positive, got {variance_floor!r}.")
        integer("channels", channels)
        if not (is_finite(epsilon) and epsilon > 0):
            raise ValueError(f"epsilon must be a finite positive variance, got {epsilon!r}.")
        finite("mean_initial", mean_initial)
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {NOISES}, got {noise!r}.")
        if standardize not in (None, True, False):
            raise ValueError(f"standardize must be True, False or None, got {standardize!r}.")
        self.channels = int(channels)
        self.epsilon = float(epsilon)
        self.noise = noise
        self.mean_initial = float(mean_initial)
        self.variance_floor = float(variance_floor)
        self.standardize = noise == "per_channel" if standardize is None else bool(standardize)
        self.units = Units(channels, name="units", dtype=self.dtype) if self.standardize else None

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
        elif self.noise == "per_channel":
            self.noise_log_scale = self.add_weight(
                name="noise_log_scale", shape=(self.channels,), initializer="zeros"
            )
        elif self.noise == "per_pixel":
            self.noise_kernel = self.add_weight(
                name="noise_kernel", shape=(features, self.channels), initializer="zeros"
            )
            self.noise_bias = self.add_weight(
                name="noise_bias", shape=(self.channels,), initializer=log_epsilon
            )
        if self.units is not None and not self.units.built:
            self.units.build()
        super().build(input_shape)

    def adapt(self, targets: Any) -> None:
        """Takes the units of the targets from data, as `keras.layers.Normalization.adapt` does.

        Before `fit`, whose first batch then does not set them.

        Args:
          targets: an array [B, ...], flat or as an image, with the channel last, or an iterable of
            such batches, as a `tf.data.Dataset` of targets alone.

        Raises:
          ValueError: a head that does not standardise, or no finite targets of its channels.
        """
        if self.units is None:
            raise ValueError(
                f"adapt needs a head with standardize=True; this one, with noise={self.noise!r}, "
                "is in the units of the data already."
            )
        if not self.units.built:
            self.units.build()
        self.units.adapt(targets)

    def _pixels(self, features):
        """[B, *S, F] -> [B, S, F]."""
        static = features.shape
        pixels = math.prod(static[1:-1]) if None not in static[1:-1] else -1
        return tf.reshape(features, [tf.shape(features)[0], pixels, static[-1]])

    def _flat(self, maps):
        n = maps.shape[1] * maps.shape[2] if maps.shape[1] is not None else -1
        return tf.reshape(maps, [tf.shape(maps)[0], n])

    def _mean(self, pixels):
        """[B, S, C]."""
        return linalg.matmul(pixels, self.mean_kernel) + self.mean_bias

    def _variance(self, pixels):
        """[1], [C] or [B, S, C]."""
        if self.noise == "per_pixel":
            return self._variance_of(linalg.matmul(pixels, self.noise_kernel) + self.noise_bias)
        return self._variance_of(None)

    def _variance_of(self, log_variance):
        """The same, of what is linear in the features: [B, S, C] of noise of each pixel."""
        if self.noise == "fixed":
            return tf.constant([self.epsilon], self.compute_dtype)
        if self.noise == "learned":
            log_variance = tf.convert_to_tensor(self.log_variance)
        elif self.noise == "per_channel":
            log_scale = tf.convert_to_tensor(self.noise_log_scale)
            log_variance = math.log(self.epsilon) + _LOG_VARIANCE_SPEED * log_scale
        return tf.exp(tf.maximum(log_variance, math.log(self.variance_floor)))

    def _moments(self, mean, variance, units: Affine | None):
        """Mean and variance in the units of the targets, [B, N], and [1], [N] or [B, N]."""
        if units is not None:
            mean = units.offset + units.scale * mean
            variance = variance * tf.square(units.scale)
        if variance.shape.rank == 3:
            variance = self._flat(variance)
        elif variance.shape[0] != 1:  # of a channel; 1 is of all entries
            pixels = mean.shape[1]
            variance = tf.tile(variance, [tf.shape(mean)[1] if pixels is None else pixels])
        return self._flat(mean), variance

    def _emitted(self, emit, training):
        """`emit(units)`, whose units a loss may set by the first targets of a training."""
        if self.units is None:
            return emit(None)
        p = emit(self.units.read())
        if training:
            p.adapt_once = lambda targets, global_sum: p.become(
                emit(self.units.adapt_once(targets, global_sum))
            )
        return p

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
            "standardize": self.standardize,
            "variance_floor": self.variance_floor,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**{**cls._FORMER_DEFAULTS, **config})


@keras.saving.register_keras_serializable(package="tf_structvae")
class IndependentNormalHead(NormalHead):
    """Features -> `tfd.MultivariateNormalDiag`: the pixel-wise independent normal, standard VAE.

    Args:
      channels: C: of images their colours, of flat features the number of outputs.
      epsilon: the noise variance, or where it starts if it is learned.
      noise: "per_channel", "learned", "per_pixel" or "fixed"; see `NormalHead`.
      mean_initial: initial bias of the mean.
      standardize: whether these are in units that the first targets set; see `NormalHead`.

    Examples:
      >>> import keras, tf_structvae as sv
      >>> head = sv.layers.IndependentNormalHead(channels=1, noise="fixed", epsilon=0.25)
      >>> p = head(keras.ops.ones([2, 4, 4, 8]))
      >>> p.event_shape.as_list(), float(p.stddev()[0, 0])
      ([16], 0.5)
    """

    def call(self, features, training=False):
        pixels = self._pixels(features)
        mean, variance = self._mean(pixels), self._variance(pixels)

        def emit(units):
            loc, cov_diag = self._moments(mean, variance, units)
            scale = tf.broadcast_to(tf.sqrt(cov_diag), tf.shape(loc))
            return EmittedNormalDiag(loc, scale_diag=scale)

        return self._emitted(emit, training)
