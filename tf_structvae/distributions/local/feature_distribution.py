"""The low-rank and local normal whose factor stays a product of features and kernel."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import shapes
from tf_structvae.distributions.factors import Factor, ProductFactor
from tf_structvae.distributions.local import fused
from tf_structvae.distributions.local.distribution import LocalLowRankNormal
from tf_structvae.distributions.low_rank_normal import LowRankMultivariateNormal


class FeatureLocalLowRankNormal(LocalLowRankNormal):
    """A `LocalLowRankNormal` whose P is features times kernel, what a linear last layer computes.

    `P[s, c, :] = features[s] kernel[:, c, :]`. Where the weights of the neighbours are the same for
    all channels, A acts on the features before the kernel does.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> features, kernel = np.ones([6, 4], np.float32), np.ones([4, 3, 2], np.float32)
      >>> p = sv.distributions.FeatureLocalLowRankNormal(
      ...     np.zeros(18, np.float32), 0.1, (2, 3, 3), features, kernel
      ... )
      >>> p.rank, p.cov_factor.shape.as_list()
      (2, [18, 2])
    """

    def __init__(
        self,
        loc,
        scale,
        grid,
        features,
        kernel,
        neighbours=None,
        channels=None,
        radius: int = 1,
        mask=None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "FeatureLocalLowRankNormal",
    ):
        """
        Args:
          loc: mean, [..., N].
          scale: as in `LocalLowRankNormal`.
          grid: as there; N = S * C.
          features: [..., S, F].
          kernel: [..., F, C, R].
          neighbours: as there.
          channels: as there.
          radius: as there.
          mask: as there.
          validate_args: as there.
          allow_nan_stats: as there.
          name: name scope of the operations.

        Raises:
          ValueError: shapes that do not fit each other.
        """
        parameters = dict(locals())
        features, kernel = shapes.convert(features=features, kernel=kernel)
        shapes.check_product(features, kernel)
        self._features, self._kernel = features, kernel
        super().__init__(
            loc, scale, grid, neighbours, channels, None, radius, mask, validate_args,
            allow_nan_stats, name,
        )  # fmt: skip
        self._parameters = self._no_dependency(parameters)
        shapes.check_event("features x kernel", [features.shape[-2] * kernel.shape[-2]], self._loc)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        properties = LocalLowRankNormal._parameter_properties(dtype, num_classes)
        del properties["cov_factor"]
        return dict(
            **properties,
            features=tfp.util.ParameterProperties(event_ndims=2),
            kernel=tfp.util.ParameterProperties(event_ndims=3),
        )

    @property
    def features(self) -> tf.Tensor:
        """[..., S, F]."""
        return self._features

    @property
    def kernel(self) -> tf.Tensor:
        """[..., F, C, R]."""
        return self._kernel

    @property
    def cov_factor(self) -> tf.Tensor:
        """P, [..., N, R], built by this call."""
        return self._factor().dense()

    @property
    def rank(self) -> int:
        """R, the number of columns of P."""
        return self._kernel.shape[-1]

    def _factor(self) -> Factor:
        product = ProductFactor(
            tf.convert_to_tensor(self._features), tf.convert_to_tensor(self._kernel)
        )
        if self._mask is None:
            return product
        return product.scale_rows(tf.cast(self._mask, self.dtype))

    def _observed(self, value, local):
        """In a training step in one pass over the pixels."""
        w, kernel = self._neighbours, tf.convert_to_tensor(self._kernel)
        shared = w is None or w.shape[-1] == 1
        single = value.shape.rank == self._loc.shape.rank == self._features.shape.rank - 1
        if not (self.fused and shared and single and self._mask is None and kernel.shape.rank == 3):
            return super()._observed(value, local)
        shapes.check_value("value", value.shape, self._window.size, self.batch_shape)
        features = tf.convert_to_tensor(self._features)
        q, y = fused.whitened(
            self._window, w, local.below(), local.scale, features, kernel, value - self._loc
        )
        loc = tf.zeros([self._window.size], self.dtype)
        return LowRankMultivariateNormal(loc, q, tf.ones([1], self.dtype)), y

    def _with_factor(self, factor):
        return self.copy(kernel=factor.kernel)
