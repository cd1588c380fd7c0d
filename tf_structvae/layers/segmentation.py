"""The head of stochastic segmentation networks."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tf_structvae.distributions import linalg
from tf_structvae.distributions.label_maps import LogitNormalLabelMap
from tf_structvae.layers.emitted import EmittedLowRankNormal, EmittedNormalDiag, MeanAsTensor
from tf_structvae.layers.low_rank import LowRankNormalHead
from tf_structvae.utilities.checks import integer, is_finite

_FACTOR_SCALES = ("kernel", "log_scale")


class EmittedLabelMap(MeanAsTensor, LogitNormalLabelMap):
    """`LogitNormalLabelMap`; as a tensor its probabilities, [B, *S, K]."""

    image_form: tuple[int, ...] = ()

    def as_tensor(self) -> tf.Tensor:
        """[B, *S, K]."""
        found = self.probabilities()
        return tf.reshape(found, [-1, *self.image_form, self.classes]) if self.image_form else found

    @property
    def shape(self) -> tf.TensorShape:
        """Of `as_tensor`."""
        return self.batch_shape + (self.image_form or self.event_shape) + [self.classes]


@keras.saving.register_keras_serializable(package="tf_structvae")
class LowRankSegmentationHead(LowRankNormalHead):
    """Features [B, *S, F] -> a distribution over label maps whose logits are low-rank normal.

    What `compile(loss=sv.losses.SegmentationLogLikelihood())` trains; `predict` gives probabilities
    [B, *S, K]. The logits are bounded, since the likelihood has no maximum where an image is of one
    class, as a uniform background: there it would let logits and their covariance grow for ever.
    Means are `limit * tanh(m / limit)`, and the standard deviation of each logit due to P, and the
    one due to D, are less than `limit`.

    Args:
      classes: K >= 2, background included.
      rank: R >= 0; 0 leaves the pixels independent of each other.
      draws: of the logits for a log-likelihood.
      ignored: a label that does not count.
      limit: > 0; of the logits, see above. 10 is a probability of 5e-5.
      epsilon: where the variance of each logit's own noise starts.
      noise: "per_pixel", "per_channel", "learned" or "fixed".
      factor_scale: "log_scale" or "kernel"; see `LowRankNormalHead`.
      factor_initial: standard deviation of the initial W.

    Raises:
      ValueError: an argument outside its range, or features without a static size.

    Examples:
      >>> import keras, tf_structvae as sv
      >>> head = sv.layers.LowRankSegmentationHead(classes=3, rank=2)
      >>> p = head(keras.ops.ones([2, 4, 4, 8]))
      >>> p.sample_maps(5, seed=(0, 1)).shape.as_list()
      [5, 2, 16]
    """

    _FACTOR_SCALES = _FACTOR_SCALES
    _LEAST_RANK = 0
    _FORMER_DEFAULTS: dict = {}

    def __init__(
        self,
        classes: int,
        rank: int = 10,
        draws: int = 20,
        ignored: int = -1,
        limit: float = 10.0,
        epsilon: float = 0.1,
        noise: str = "per_pixel",
        factor_scale: str = "log_scale",
        factor_initial: float = 0.1,
        **kwargs,
    ):
        integer("classes", classes, 2)
        integer("draws", draws)
        if not hasattr(ignored, "__index__"):
            raise ValueError(f"ignored must be an integer, got {ignored!r}.")
        if not (is_finite(limit) and limit > 0):
            raise ValueError(f"limit must be a finite positive number, got {limit!r}.")
        super().__init__(
            classes,
            rank,
            epsilon,
            noise,
            factor_scale,
            factor_initial,
            standardize=False,
            **kwargs,
        )
        self.draws = int(draws)
        self.ignored = int(ignored)
        self.limit = float(limit)

    def _emit(self, features, training):
        pixels = self._pixels(features)
        loc, variance = self._moments(self._mean(pixels), self._variance(pixels), None)
        loc = self.limit * tf.tanh(loc / self.limit)
        variance /= 1.0 + variance / self.limit**2
        if self.rank:
            with_one, kernel = self._factor(pixels)
            flat = linalg.matmul(with_one, tf.reshape(kernel, [kernel.shape[0], -1]))
            rows = tf.reshape(flat, [*tf.unstack(tf.shape(flat)[:2]), self.channels, self.rank])
            power = tf.reduce_sum(tf.square(rows), -1, keepdims=True)
            rows *= tf.math.rsqrt(1.0 + power / self.limit**2)
            factor = tf.reshape(rows, [tf.shape(loc)[0], -1, self.rank])
            logits = EmittedLowRankNormal(loc, factor, variance)
        else:
            scale = tf.broadcast_to(tf.sqrt(variance), tf.shape(loc))
            logits = EmittedNormalDiag(loc, scale_diag=scale)
        p = EmittedLabelMap(logits, self.channels, self.draws, self.ignored)
        inner = tuple(features.shape[1:-1])
        p.image_form = inner if None not in inner else ()
        return p

    def _variance_of(self, log_variance):
        if log_variance is not None:  # lest the exponential, and its gradient, overflow
            log_variance = tf.minimum(log_variance, 2 * math.log(self.limit) + 20)
        return super()._variance_of(log_variance)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        config = super().get_config()
        del config["channels"], config["standardize"]
        return {
            **config,
            "classes": self.channels,
            "draws": self.draws,
            "ignored": self.ignored,
            "limit": self.limit,
        }
