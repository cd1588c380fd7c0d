"""The low-rank normal whose factor stays a product of features and kernel."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import shapes
from tf_structvae.distributions.factors import Factor, ProductFactor
from tf_structvae.distributions.low_rank_normal import LowRankMultivariateNormal


class FeatureLowRankMultivariateNormal(LowRankMultivariateNormal):
    """A low-rank normal whose P is features times kernel, what a linear last layer computes.

    `P[s, c, :] = features[s] kernel[:, c, :]`, N = S * C in row-major pixel, channel order. Only
    `cov_factor`, `covariance` and the base class's view build P, so the cost hardly depends on the
    rank.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> features, kernel = np.ones([6, 4], np.float32), np.ones([4, 3, 2], np.float32)
      >>> p = sv.distributions.FeatureLowRankMultivariateNormal(np.zeros(18), features, kernel, 0.1)
      >>> p.event_shape.as_list(), int(p.rank), p.cov_factor.shape.as_list()
      ([18], 2, [18, 2])
    """

    def __init__(
        self,
        loc,
        features,
        kernel,
        cov_diag,
        row_scale=None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "FeatureLowRankMultivariateNormal",
    ):
        """
        Args:
          loc: mean, [..., S * C].
          features: [..., S, F].
          kernel: [..., F, C, R].
          cov_diag: as in `LowRankMultivariateNormal`.
          row_scale: [..., S * C], a factor for each row of P, as `condition` makes it; None is one.
          validate_args: as there.
          allow_nan_stats: as there.
          name: name scope of the operations.

        Raises:
          ValueError: shapes that do not fit each other.
        """
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            loc, features, kernel, cov_diag, row_scale = shapes.convert(
                loc=loc, features=features, kernel=kernel, cov_diag=cov_diag, row_scale=row_scale
            )
            shapes.check_shape("loc", loc.shape, 1, "[..., N]")
            shapes.check_product(features, kernel)
            shapes.check_rank("kernel", kernel.shape, "[..., F, C, R]")
            shapes.check_batches(
                loc=loc.shape[:-1],
                features=features.shape[:-2],
                kernel=kernel.shape[:-3],
                cov_diag=cov_diag.shape[:-1],
            )
            if kernel.shape[-2] is None:
                raise ValueError("kernel [..., F, C, R] must have a static number of channels C.")
            if features.shape[-2] is not None:
                shapes.check_event(
                    "features x kernel", [features.shape[-2] * kernel.shape[-2]], loc
                )
            self._features = features
            if row_scale is not None:
                shapes.check_event("row_scale", row_scale.shape[-1:], loc)
            self._kernel = kernel
            self._row_scale = row_scale
            self._set_up(loc, cov_diag, validate_args, allow_nan_stats, parameters, name)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        properties = LowRankMultivariateNormal._parameter_properties(dtype, num_classes)
        del properties["cov_factor"]
        return dict(
            loc=properties["loc"],
            features=tfp.util.ParameterProperties(event_ndims=2),
            kernel=tfp.util.ParameterProperties(event_ndims=3),
            row_scale=tfp.util.ParameterProperties(event_ndims=1),
            cov_diag=properties["cov_diag"],
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

    def _rank_tensor(self):
        return tf.shape(self._kernel)[-1]

    def _factor(self) -> Factor:
        scale = None if self._row_scale is None else tf.convert_to_tensor(self._row_scale)
        return ProductFactor(
            tf.convert_to_tensor(self._features), tf.convert_to_tensor(self._kernel), scale
        )

    def _with_factor(self, factor, loc, cov_diag, name):
        return FeatureLowRankMultivariateNormal(
            loc, factor.features, factor.kernel, cov_diag, factor.row_scale, name=name
        )


def low_rank_normal(loc, factor: Factor, cov_diag) -> LowRankMultivariateNormal:
    """The class that keeps a factor as it is.

    Args:
      loc: mean, [..., N].
      factor: P.
      cov_diag: as in `LowRankMultivariateNormal`.
    """
    if isinstance(factor, ProductFactor):
        return FeatureLowRankMultivariateNormal(
            loc, factor.features, factor.kernel, cov_diag, factor.row_scale
        )
    return LowRankMultivariateNormal(loc, factor.dense(), cov_diag)
