"""The head that emits a low-rank normal over all pixels."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.layers.emitted import EmittedFeatureLowRankNormal, EmittedLowRankNormal
from tf_structvae.layers.normal import NormalHead
from tf_structvae.utilities.checks import integer, is_finite

FACTOR_SCALES = ("kernel", "log_scale", "closed_form", "closed_form_triangular")
"""Where the scale of P comes from; see `LowRankNormalHead`."""
# Adam's step does not know the scale of a parameter, so this is how many times faster than the
# other weights a learned log-scale moves.
_LOG_SCALE_SPEED = 10.0


@keras.saving.register_keras_serializable(package="tf_structvae")
class LowRankNormalHead(NormalHead):
    """Features [B, *S, F] -> low-rank normal over all pixels (paper, section 3.2).

    S are the positions of a sequence, an image or a volume, N = prod(S) * channels. Flat features
    [B, F] are one pixel: the event is [channels], so `channels` is the number of outputs.

    The factor is linear in the features, `P[s, c, :] = [features[s], 1] W[:, c, :] T` (the 1 is the
    bias), and is kept as that product where there are several pixels. T [R, R] carries the scale of
    P:

      factor_scale="kernel": T = I, the paper's parameterisation;
      factor_scale="log_scale": T = diag(exp(10 tau)), tau learned: ten times faster than the rest;
      factor_scale="closed_form": T is no parameter; `match_noise` moves it towards the point at
        which the noise posterior has the moments of its prior;
      factor_scale="closed_form_triangular": the same with T lower triangular, so that P keeps the
        order of its columns.

    `NegativeLogLikelihood` and `StructuredVAE` call `match_noise` once a training step, with what
    they see of the targets. A loss of your own has to do so itself, or a closed-form scale stays
    where it starts.

    The defaults suit targets of any scale: the noise variance of each channel starts at the
    variance of the first targets, and the initial factor is small beside it. The paper's are
    `noise="fixed", epsilon=1e-5, factor_scale="kernel", factor_initial=1e-5, mean_initial=0.5`.

    Args:
      channels: C: of images their colours, of flat features the number of outputs.
      rank: R.
      epsilon: the noise variance, or where it starts if it is learned.
      noise: "per_channel", "learned", "per_pixel" or "fixed"; see `NormalHead`.
      factor_scale: see above.
      factor_initial: standard deviation of the initial W.
      use_bias: whether the factor has a bias.
      mean_initial: initial bias of the mean.
      standardize: whether these are in units that the first targets set; see `NormalHead`.

    Raises:
      ValueError: an argument outside its range, or features without a static size.

    Examples:
      >>> import keras, tf_structvae as sv
      >>> decoder = keras.Sequential(
      ...     [
      ...         keras.Input((2,)),
      ...         keras.layers.Dense(4 * 4 * 8),
      ...         keras.layers.Reshape((4, 4, 8)),
      ...         sv.layers.LowRankNormalHead(channels=3, rank=5),
      ...     ]
      ... )
      >>> p = decoder(keras.ops.zeros([7, 2]))
      >>> p.batch_shape.as_list(), p.event_shape.as_list(), int(p.rank)
      ([7], [48], 5)
    """

    _FORMER_DEFAULTS = {
        **NormalHead._FORMER_DEFAULTS,
        "factor_initial": 1e-5,
        "factor_scale": "kernel",
    }
    _FACTOR_SCALES: tuple[str, ...] = FACTOR_SCALES
    _LEAST_RANK = 1

    def __init__(
        self,
        channels: int,
        rank: int = 25,
        epsilon: float = 1.0,
        noise: str = "per_channel",
        factor_scale: str = "log_scale",
        factor_initial: float = 0.01,
        mean_initial: float = 0.0,
        use_bias: bool = True,
        standardize: bool | None = None,
        **kwargs,
    ):
        super().__init__(channels, epsilon, noise, mean_initial, standardize, **kwargs)
        integer("rank", rank, self._LEAST_RANK)
        allowed = self._FACTOR_SCALES
        if factor_scale not in allowed:
            raise ValueError(f"factor_scale must be one of {allowed}, got {factor_scale!r}.")
        if not (is_finite(factor_initial) and factor_initial > 0):
            raise ValueError(f"factor_initial must be finite and positive, got {factor_initial!r}.")
        self.rank = int(rank)
        self.factor_scale = factor_scale
        self.factor_initial = float(factor_initial)
        self.use_bias = use_bias

    @property
    def closed_form(self) -> bool:
        """Whether `match_noise` sets the scale of P."""
        return self.rank > 0 and self.factor_scale.startswith("closed_form")

    def build(self, input_shape):
        super().build(input_shape)
        if not self.rank:
            return
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
        elif self.closed_form:
            self.mixing = self.add_weight(
                name="mixing",
                shape=(self.rank, self.rank),
                initializer="identity",
                trainable=False,
                aggregation="only_first_replica",
            )

    def call(self, features, training=False):
        p = self._emit(features, training)
        if training and self.closed_form:
            p.match_noise = self.match_noise
        return p

    def _emit(self, features, training):
        pixels = self._pixels(features)
        with_one, kernel = self._factor(pixels)
        mean, variance = self._mean(pixels), self._variance(pixels)

        def emit(units):
            loc, cov_diag = self._moments(mean, variance, units)
            rows = kernel if units is None else kernel * units.scale[:, tf.newaxis]
            return self._distribution(loc, with_one, rows, cov_diag)

        return self._emitted(emit, training)

    def _factor(self, pixels):
        """P as features [B, S, F] and kernel [F, C, R]."""
        kernel = tf.convert_to_tensor(self.factor_kernel)
        if self.factor_scale == "log_scale":
            kernel *= tf.exp(_LOG_SCALE_SPEED * self.log_scale)
        elif self.closed_form:
            kernel = tf.einsum("fcr,rk->fck", kernel, self.mixing)
        if not self.use_bias:
            return pixels, kernel
        return tf.concat([pixels, tf.ones_like(pixels[..., :1])], axis=-1), kernel

    def _distribution(self, loc, features, kernel, cov_diag):
        if features.shape[1] != 1:
            return EmittedFeatureLowRankNormal(loc, features, kernel, cov_diag)
        # One pixel: the product P, [B, channels, R], is smaller than what its parts cost.
        factor = linalg.matmul(features[:, 0], tf.reshape(kernel, [features.shape[-1], -1]))
        factor = tf.reshape(factor, [-1, self.channels, self.rank])
        return EmittedLowRankNormal(loc, factor, cov_diag)

    def match_noise(self, first_moment: tf.Tensor, second_moment: tf.Tensor, rate: float) -> None:
        """Moves the noise posterior's moments over the data to those of its prior, N(0, I).

        A damped EM step for the mean and the covariance of omega_p, folded into the parameters:

        ```none
        mean <- mean + rho P m,   T <- T (I + rho/2 (A - I)),   rho = rate / (1 + 0.05 |A - I|)
        ```

        The likelihood is too flat along P for the gradient to hold the mean there: without the
        first of the two, the mean is biased along P (greenish faces) although the scale is right.

        Args:
          first_moment: m, the mean of E[omega_p | x] over the global batch, [R].
          second_moment: A, the mean of E[omega_p omega_p^T | x], [R, R].
          rate: step size; 0.02 is a good one.
        """
        first_moment, second_moment, rate = (
            tf.cast(x, self.variable_dtype) for x in (first_moment, second_moment, rate)
        )
        excess = second_moment - tf.eye(self.rank, dtype=second_moment.dtype)
        rate /= 1.0 + 0.05 * tf.norm(excess)
        shift = rate * tf.linalg.matvec(
            self.factor_kernel, tf.linalg.matvec(self.mixing, first_moment)
        )
        features = tf.shape(self.mean_kernel)[0]
        self.mean_kernel.assign_add(shift[:features])
        if self.use_bias:
            self.mean_bias.assign_add(shift[-1])
        step = 0.5 * excess
        if self.factor_scale == "closed_form_triangular":
            # L with L + L^T = A - I: to first order the same change of T T^T
            step = tf.linalg.band_part(excess, -1, 0) - tf.linalg.diag(tf.linalg.diag_part(step))
        self.mixing.assign(self.mixing + rate * tf.matmul(self.mixing, step))

    def get_config(self):
        return {
            **super().get_config(),
            "rank": self.rank,
            "factor_scale": self.factor_scale,
            "factor_initial": self.factor_initial,
            "use_bias": self.use_bias,
        }
