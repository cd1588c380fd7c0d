"""Last layers that emit a distribution over all pixels."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import FeatureLowRankMultivariateNormal

tfd = tfp.distributions

NOISES = ("fixed", "learned", "per_pixel")
FACTOR_SCALES = ("kernel", "log_scale", "closed_form")
# exp of it is the smallest noise variance that a learned noise can reach.
_LOG_VARIANCE_FLOOR = math.log(1e-6)


class NormalHead(keras.layers.Layer):
    """Common part of the heads: a linear mean and the diagonal noise.

    Maps features [B, *S, F] to a distribution over the flat event [N], N = prod(S) * channels, in
    row-major pixel, channel order.
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
        _check_positive_int("channels", channels)
        if not (math.isfinite(epsilon) and epsilon > 0):
            raise ValueError(f"epsilon must be a finite positive variance, got {epsilon}.")
        if noise not in NOISES:
            raise ValueError(f"noise must be one of {NOISES}, got {noise!r}.")
        self.channels = channels
        self.epsilon = float(epsilon)
        self.noise = noise
        self.mean_initial = float(mean_initial)

    def build(self, input_shape):
        features = input_shape[-1]
        if features is None or len(input_shape) < 2:
            raise ValueError(f"features must be [B, ..., F] with a static F, got {input_shape}.")
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
        return self._flat(tf.matmul(pixels, self.mean_kernel) + self.mean_bias)

    def _variance(self, pixels):
        """[1] or [B, N]."""
        if self.noise == "fixed":
            return tf.constant([self.epsilon], self.compute_dtype)
        if self.noise == "learned":
            log_variance = tf.convert_to_tensor(self.log_variance)
        else:
            log_variance = self._flat(tf.matmul(pixels, self.noise_kernel) + self.noise_bias)
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
    """

    def call(self, features):
        pixels = self._pixels(features)
        loc = self._loc(pixels)
        scale = tf.broadcast_to(tf.sqrt(self._variance(pixels)), tf.shape(loc))
        return tfd.MultivariateNormalDiag(loc, scale_diag=scale)


@keras.saving.register_keras_serializable(package="tf_structvae")
class LowRankNormalHead(NormalHead):
    """Features [B, *S, F] -> low-rank normal over all pixels (paper, section 3.2).

    The factor is linear in the features, `P[s, c, :] = [features[s], 1] W[:, c, :] T` (the 1 is the
    bias), and is kept as that product. T [R, R] carries the scale of P:

      factor_scale="kernel": T = I, the paper's parameterisation;
      factor_scale="log_scale": T = diag(exp(tau)), tau learned;
      factor_scale="closed_form": T is no parameter; `match_noise` moves it towards the point at
        which the noise posterior has the moments of its prior.

    Args:
      channels: C of the image.
      rank: R.
      epsilon: D = epsilon I, or where D starts if it is learned.
      noise: "fixed" (paper), "learned" (one scalar) or "per_pixel" (linear in the features).
      factor_scale: see above.
      factor_initial: standard deviation of the initial W (paper: 1e-5).
      use_bias: whether the factor has a bias.
      mean_initial: initial bias of the mean (paper: 0.5).
    """

    def __init__(
        self,
        channels: int,
        rank: int = 25,
        epsilon: float = 1e-5,
        noise: str = "fixed",
        factor_scale: str = "kernel",
        factor_initial: float = 1e-5,
        mean_initial: float = 0.5,
        use_bias: bool = True,
        **kwargs,
    ):
        super().__init__(channels, epsilon, noise, mean_initial, **kwargs)
        _check_positive_int("rank", rank)
        if factor_scale not in FACTOR_SCALES:
            raise ValueError(f"factor_scale must be one of {FACTOR_SCALES}, got {factor_scale!r}.")
        if not (math.isfinite(factor_initial) and factor_initial > 0):
            raise ValueError(f"factor_initial must be finite and positive, got {factor_initial}.")
        self.rank = rank
        self.factor_scale = factor_scale
        self.factor_initial = float(factor_initial)
        self.use_bias = use_bias

    def build(self, input_shape):
        super().build(input_shape)
        initial = keras.initializers.RandomNormal(stddev=self.factor_initial)
        self.factor_kernel = self.add_weight(
            name="factor_kernel",
            shape=(input_shape[-1] + self.use_bias, self.channels, self.rank),
            initializer=initial,
        )
        if self.factor_scale == "log_scale":
            self.log_scale = self.add_weight(
                name="log_scale", shape=(self.rank,), initializer="zeros"
            )
        elif self.factor_scale == "closed_form":
            self.mixing = self.add_weight(
                name="mixing",
                shape=(self.rank, self.rank),
                initializer="identity",
                trainable=False,
                aggregation="only_first_replica",
            )

    def call(self, features):
        pixels = self._pixels(features)
        kernel = tf.convert_to_tensor(self.factor_kernel)
        if self.factor_scale == "log_scale":
            kernel *= tf.exp(self.log_scale)
        elif self.factor_scale == "closed_form":
            kernel = tf.einsum("fcr,rk->fck", kernel, self.mixing)
        features = pixels
        if self.use_bias:
            features = tf.concat([pixels, tf.ones_like(pixels[..., :1])], axis=-1)
        return FeatureLowRankMultivariateNormal(
            loc=self._loc(pixels),
            features=features,
            kernel=kernel,
            cov_diag=self._variance(pixels),
        )

    def match_noise(self, first_moment: tf.Tensor, second_moment: tf.Tensor, rate: float) -> None:
        """Moves the noise posterior's moments over the data to those of its prior, N(0, I).

        A damped EM step for the mean and the covariance of omega_p, folded into the parameters:

        ```none
        mean <- mean + rho P m,   T <- T (I + rho/2 (A - I)),   rho = rate / (1 + 0.05 |A - I|)
        ```

        The likelihood is too flat along P for the gradient to hold the mean there: without the
        first of the two, samples are displaced (greenish faces) although their scale is right.

        Args:
          first_moment: m, the mean of E[omega_p | x] over the global batch, [R].
          second_moment: A, the mean of E[omega_p omega_p^T | x], [R, R].
          rate: step size; 0.02 is a good one.
        """
        excess = second_moment - tf.eye(self.rank, dtype=second_moment.dtype)
        rate /= 1.0 + 0.05 * tf.norm(excess)
        shift = rate * tf.linalg.matvec(
            self.factor_kernel, tf.linalg.matvec(self.mixing, first_moment)
        )
        features = tf.shape(self.mean_kernel)[0]
        self.mean_kernel.assign_add(shift[:features])
        if self.use_bias:
            self.mean_bias.assign_add(shift[-1])
        self.mixing.assign(self.mixing + 0.5 * rate * tf.matmul(self.mixing, excess))

    def get_config(self):
        return {
            **super().get_config(),
            "rank": self.rank,
            "factor_scale": self.factor_scale,
            "factor_initial": self.factor_initial,
            "use_bias": self.use_bias,
        }


def _check_positive_int(name, value):
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}.")
