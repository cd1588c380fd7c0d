"""The distributions that heads emit: each is one of the library, and its mean as a tensor.

`log_prob`, `prob` and `noise_posterior` take values flat, [..., N], or in the form of an image,
[B, H, W, C].

Keras concatenates what `predict` gets for each batch, asks a loss's output for its `shape` and
turns what leaves a SavedModel into tensors. A distribution is no tensor, so wherever one is
wanted, an emitted distribution stands for its mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import (
    FeatureLocalLowRankNormal,
    FeatureLowRankMultivariateNormal,
    LocalLowRankNormal,
    LowRankMultivariateNormal,
)


class MeanAsTensor:
    """Mixed into a distribution with batch [B] and event [N]; as a tensor it is its mean."""

    mean: Any
    batch_shape: Any
    event_shape: Any
    dtype: Any
    match_noise: Callable[[tf.Tensor, tf.Tensor, Any], None] | None = None
    """`LowRankNormalHead.match_noise`, which a loss calls with the moments of the noise posterior;
    only in training, and of a head whose scale is set by them."""

    adapt_once: Callable[[tf.Tensor, Callable], None] | None = None
    """What a loss is to tell the targets: sets the units of a head that standardises them by the
    first batch of a training, and moves this distribution there."""

    form_of: Any = None
    """The targets that a loss has seen: as a tensor, the mean takes their form, so that the metrics
    of Keras, which get the same object after the loss, can subtract one from the other."""

    def become(self, other: MeanAsTensor) -> None:
        """Takes the parameters of another one of the same kind, for the metrics after the loss."""
        self.__dict__.update(other.__dict__)

    def with_mean(self, loc: tf.Tensor) -> Any:
        """The same distribution about another mean, as a head emits it outside a training.

        Args:
          loc: [B, N].
        """
        return self.copy(loc=loc)  # type: ignore[attr-defined]

    def as_tensor(self) -> tf.Tensor:
        """The mean, [B, N] or in the form of the targets."""
        mean = self.mean()
        return mean if self.form_of is None else tf.reshape(mean, tf.shape(self.form_of))

    @property
    def shape(self) -> tf.TensorShape:
        """Of the mean, as far as it is static."""
        if self.form_of is not None:
            return tf.TensorShape(self.form_of.shape)
        return self.batch_shape + self.event_shape

    def numpy(self):
        """The mean as an array."""
        return self.as_tensor().numpy()

    def __array__(self, dtype=None, copy=None):
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def _as_event(self, value):
        """Values in the form of an image, [B, H, W, C], as [B, N]; all others as they are."""
        shape, size = tf.TensorShape(getattr(value, "shape", None)), self.event_shape[0]
        if size is None or not shape.rank or shape.rank < 3 or shape[-1] == size:
            return value
        if shape[1:].num_elements() != size:
            return value
        return tf.reshape(tf.convert_to_tensor(value, dtype_hint=self.dtype), [-1, size])

    def _call_log_prob(self, value, name, **kwargs):
        return super()._call_log_prob(self._as_event(value), name, **kwargs)  # type: ignore[misc]

    def _call_prob(self, value, name, **kwargs):
        return super()._call_prob(self._as_event(value), name, **kwargs)  # type: ignore[misc]


def _to_tensor(value, dtype=None, name=None, as_ref=False):
    value = value.as_tensor()
    return value if dtype is None else tf.cast(value, dtype)


tf.register_tensor_conversion_function(MeanAsTensor, _to_tensor)


class EmittedLowRank(MeanAsTensor):
    """What emitted low-rank normals share."""

    # The exponential of a finite number.
    _positive_diag = True

    def summarize(self, value):
        return super().summarize(self._as_event(value))  # type: ignore[misc]


class EmittedLowRankNormal(EmittedLowRank, LowRankMultivariateNormal):
    """`LowRankMultivariateNormal`; as a tensor its mean."""


class EmittedFeatureLowRankNormal(EmittedLowRank, FeatureLowRankMultivariateNormal):
    """`FeatureLowRankMultivariateNormal`; as a tensor its mean."""


class EmittedLocalNormal(EmittedLowRank, LocalLowRankNormal):
    """`LocalLowRankNormal`; as a tensor its mean."""


class EmittedFeatureLocalNormal(EmittedLowRank, FeatureLocalLowRankNormal):
    """`FeatureLocalLowRankNormal`; as a tensor its mean."""


class EmittedNormalDiag(MeanAsTensor, tfp.distributions.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag`; as a tensor its mean."""
