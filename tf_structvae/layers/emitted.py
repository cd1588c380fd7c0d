"""The distributions that heads emit: each is one of the library, and its mean as a tensor.

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
    FeatureLowRankMultivariateNormal,
    LowRankMultivariateNormal,
)


class MeanAsTensor:
    """Mixed into a distribution with batch [B] and event [N]; as a tensor it is its mean."""

    mean: Any
    batch_shape: Any
    event_shape: Any
    match_noise: Callable[[tf.Tensor, tf.Tensor, Any], None] | None = None
    """What a loss is to tell the moments of the noise posterior: `LowRankNormalHead.match_noise`,
    of what is emitted in training by a head whose scale is set by them."""

    @property
    def shape(self) -> tf.TensorShape:
        """[B, N], as far as it is static."""
        return self.batch_shape + self.event_shape

    def numpy(self):
        """The mean as an array, [B, N]."""
        return self.mean().numpy()

    def __array__(self, dtype=None, copy=None):
        return self.numpy() if dtype is None else self.numpy().astype(dtype)


def _to_tensor(value, dtype=None, name=None, as_ref=False):
    return value.mean() if dtype is None else tf.cast(value.mean(), dtype)


tf.register_tensor_conversion_function(MeanAsTensor, _to_tensor)


class EmittedLowRankNormal(MeanAsTensor, LowRankMultivariateNormal):
    """`LowRankMultivariateNormal`; as a tensor its mean."""

    _positive_diag = True


class EmittedFeatureLowRankNormal(MeanAsTensor, FeatureLowRankMultivariateNormal):
    """`FeatureLowRankMultivariateNormal`; as a tensor its mean."""

    _positive_diag = True


class EmittedNormalDiag(MeanAsTensor, tfp.distributions.MultivariateNormalDiag):
    """`tfd.MultivariateNormalDiag`; as a tensor its mean."""
