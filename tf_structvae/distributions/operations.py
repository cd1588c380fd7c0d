"""What the paper does with a low-rank normal beyond its density: eq. 3 to 6 and Fig. 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from tf_structvae.distributions import linalg, shapes
from tf_structvae.distributions.factorisation import Factorisation
from tf_structvae.distributions.summary import StructuredNormal

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11


class PrincipalComponents(NamedTuple):
    """P = U S V^T; see `LowRankMultivariateNormal.principal_components`."""

    directions: tf.Tensor
    scales: tf.Tensor
    rotation: tf.Tensor


class LowRankOperations(StructuredNormal):
    """Mixed into `LowRankMultivariateNormal`, on whose factor and diagonal all of it rests."""

    _loc: Any
    _factor: Any
    _diag: Any
    _precision: Any
    _guarded: Any
    _with_factor: Any
    _dense: Any
    _broadcast_event: Any
    _name_and_control_scope: Any
    batch_shape: Any
    batch_shape_tensor: Any
    event_shape: Any
    event_shape_tensor: Any
    dtype: Any

    def sample_from_noise(self, factor_noise, diag_noise=None) -> tf.Tensor:
        """loc + P omega_p + D^1/2 omega_d (eq. 3).

        Args:
          factor_noise: omega_p, [*sample, *batch, R].
          diag_noise: omega_d, [*sample, *batch, N]; None means zero: a picture without pixel noise.

        Returns:
          [*sample, *batch, N].

        Examples:
          >>> import numpy as np, tf_structvae as sv
          >>> p = sv.distributions.LowRankMultivariateNormal([0.5, 0.5], [[0.1], [-0.1]], 1e-5)
          >>> p.sample_from_noise([2.0]).numpy().astype(float).round(3).tolist()  # no pixel noise
          [0.7, 0.3]
        """
        with self._name_and_control_scope("sample_from_noise"):
            factor_noise = tf.convert_to_tensor(factor_noise, self.dtype)
            factor = self._factor()
            self._check("factor_noise", factor_noise, factor.rank, "R")
            if diag_noise is not None:
                diag_noise = tf.convert_to_tensor(diag_noise, self.dtype)
                self._check("diag_noise", diag_noise)
            batch_rank = self.batch_shape_tensor().shape[0]
            extra = factor_noise.shape.rank - 1 - batch_rank
            if extra <= 0:
                structured = factor.matmul(factor_noise[..., tf.newaxis])[..., 0]
            else:
                columns = factor.matmul(shapes.samples_to_columns(factor_noise, extra))
                structured = shapes.columns_to_samples(columns, tf.shape(factor_noise)[:extra])
            y = tf.convert_to_tensor(self._loc) + structured
            if diag_noise is not None:
                y += tf.sqrt(self._diag()[0]) * diag_noise
            return y

    def _check(self, name, x, size=None, letter="N") -> None:
        shapes.check_value(name, x.shape, size or self.event_shape[0], self.batch_shape, letter)

    def standardized_residual(self, value) -> tf.Tensor:
        """What omega_p does not explain of a value, each entry over its standard deviation.

        `(r - P c)_i / sqrt(d_i (1 - h_i))` with the leverage h_i = (P K^-1 P^T)_ii / d_i: since
        r - P c = D Sigma^-1 r, every entry has variance one under the distribution.

        Args:
          value: [*batch, N].

        Returns:
          [*batch, N].
        """
        with self._name_and_control_scope("standardized_residual"):
            loc, (diag, _) = tf.convert_to_tensor(self._loc), self._diag()
            k = Factorisation.of(self._factor(), self._precision())
            value = tf.convert_to_tensor(value, self.dtype)
            self._check("value", value)
            residual = value - loc
            left = k.explain(residual[..., tf.newaxis])[1][..., 0]
            explained = k.factor.mix(linalg.inverse_root(k.cholesky)).row_sum_of_squares()
            # a pixel that P explains wholly leaves nothing to be measured
            variance = tf.maximum(diag - explained, 1e-6 * diag)
            return self._broadcast_event(tf.math.divide_no_nan(left, tf.sqrt(variance)))

    def covariance_row(self, index) -> tf.Tensor:
        """Row `index` of Sigma, P p_i + d_i e_i (the covariance to one pixel, Fig. 2).

        Args:
          index: int scalar in [0, N).

        Returns:
          [*batch, N].
        """
        with self._name_and_control_scope("covariance_row"):
            index = shapes.indices("index", index, self.event_shape[0], 0)
            factor = self._factor()
            p_i = factor.gather_rows(index[tf.newaxis]).dense()
            row = factor.matmul(tf.linalg.matrix_transpose(p_i))[..., 0]
            unit = tf.one_hot(index, self.event_shape_tensor()[0], dtype=self.dtype)
            return self._broadcast_event(row + unit * self._diag()[0])

    def marginal(self, indices) -> Self:
        """The distribution of some of the entries: rows of P and D, entries of loc.

        Args:
          indices: int [K], in [0, N).

        Returns:
          A `LowRankMultivariateNormal` with event [K].
        """
        with self._name_and_control_scope("marginal"):
            indices = shapes.indices("indices", indices, self.event_shape[0], 1)
            diag, isotropic = self._diag()
            return self._dense(
                tf.gather(tf.convert_to_tensor(self._loc), indices, axis=-1),
                self._factor().gather_rows(indices).dense(),
                diag if isotropic else tf.gather(diag, indices, axis=-1),
                name="marginal",
            )

    def structured_variance(self) -> tf.Tensor:
        """The part of each entry's variance that is due to P, (P P^T)_ii, [*batch, N]."""
        with self._name_and_control_scope("structured_variance"):
            return self._broadcast_event(self._factor().row_sum_of_squares())

    def pixel_influence(self) -> tf.Tensor:
        """sum_j Sigma_ij^2 = p_i^T G p_i + 2 d_i p_i^T p_i + d_i^2 for every entry i, G = P^T P.

        How much of the picture moves with an entry; O(N R^2) for all of them.

        Returns:
          [*batch, N].
        """
        with self._name_and_control_scope("pixel_influence"):
            factor = self._factor()
            values, vectors = tf.linalg.eigh(factor.gram()[0])
            root = vectors * tf.sqrt(tf.maximum(values, 0.0))[..., tf.newaxis, :]
            diag, _ = self._diag()
            own = 2.0 * diag * factor.row_sum_of_squares() + tf.square(diag)
            return self._broadcast_event(factor.mix(root).row_sum_of_squares() + own)

    def principal_components(self) -> PrincipalComponents:
        """The singular value decomposition P = U S V^T (eq. 4), strongest component first.

        Returns:
          `PrincipalComponents` of directions U [*batch, N, R] (zero where the scale is zero),
          scales S [*batch, R] and rotation V [*batch, R, R].
        """
        with self._name_and_control_scope("principal_components"):
            factor = self._factor()
            scales, rotation = self._svd(factor)
            unit = rotation * tf.math.reciprocal_no_nan(scales)[..., tf.newaxis, :]
            return PrincipalComponents(
                factor.mix(unit).dense(),
                tf.cast(scales, self.dtype),
                tf.cast(rotation, self.dtype),
            )

    def _svd(self, factor):
        """S [..., R] and V [..., R, R] of P = U S V^T, float64, strongest first."""
        values, vectors = tf.linalg.eigh(factor.gram()[0])
        scales = tf.sqrt(tf.maximum(values, 0.0))
        # below the rounding of the Gram matrix there is no component
        largest = tf.reduce_max(scales, axis=-1, keepdims=True)
        scales = tf.where(scales > 1e-7 * largest, scales, 0.0)
        return tf.reverse(scales, [-1]), tf.reverse(vectors, [-1])

    def scale_components(self, scales) -> Self:
        """P with its principal components scaled, U (S A) V^T = P V A V^T (eq. 4).

        Nothing is divided by S, so a zero or negative scale and a rank-deficient P are fine.

        Args:
          scales: the diagonal of A, [..., R], for the components as `principal_components` sorts
            them.

        Returns:
          A distribution of the same kind.

        Examples:
          >>> import tf_structvae as sv
          >>> factor = [[3.0, 0.0], [0.0, 1.0]]
          >>> p = sv.distributions.LowRankMultivariateNormal([0.0, 0.0], factor, 0.5)
          >>> p.scale_components([0.0, 2.0]).variance().numpy().round(2).tolist()
          [0.5, 4.5]
        """
        with self._name_and_control_scope("scale_components"):
            factor = self._factor()
            _, rotation = self._svd(factor)
            scales = tf.convert_to_tensor(scales, self.dtype)
            self._check("scales", scales, factor.rank, "R")
            scales = tf.cast(scales, tf.float64)
            mixing = tf.matmul(rotation * scales[..., tf.newaxis, :], rotation, transpose_b=True)
            loc, diag = tf.convert_to_tensor(self._loc), self._diag()[0]
            return self._with_factor(factor.mix(mixing), loc, diag, name="scaled")

    def condition(self, mask, value, noise_variance=None) -> Self:
        """The distribution given the entries under the mask (eq. 5 and 6).

        Observed are b = y_o + sqrt(noise_variance) n. With W = (D + noise_variance)^-1 on the
        observed entries and 0 elsewhere, S = (I + P^T W P)^-1 and m = S P^T W (b - loc), the
        posterior of omega_p is N(m, S), and with the gain g = D W

        ```none
        mean = (1 - g) (loc + P m) + g b,   factor = (1 - g) P S^1/2,   D' = (1 - g) D
        ```

        No matrix of the size of the observation is built.

        Args:
          mask: bool, [..., N]; True where observed.
          value: b, [..., N]; read only where the mask is True.
          noise_variance: scalar or [..., 1] or [..., N], >= 0; None and zero: y_o = b exactly.

        Returns:
          A distribution of the same kind over all N entries; without noise the observed ones are
          point masses at `value`.

        Examples:
          >>> import tf_structvae as sv
          >>> factor = [[1.0], [1.0], [0.0]]
          >>> p = sv.distributions.LowRankMultivariateNormal([0.0] * 3, factor, 1e-5)
          >>> given = p.condition(mask=[True, False, False], value=[2.0, 0.0, 0.0])
          >>> given.mean().numpy().round(2).tolist()  # the second entry follows, the third does not
          [2.0, 2.0, 0.0]
        """
        with self._name_and_control_scope("condition"):
            mask, value, noise = shapes.convert_observation(
                mask, value, noise_variance, self.dtype, self.event_shape[0], self.batch_shape
            )
            loc = tf.convert_to_tensor(self._loc)
            diag, _ = self._diag()
            value = tf.where(mask, value, loc)
            # A point mass that is observed without noise stays what it is.
            zero, one = tf.zeros([], self.dtype), tf.ones([], self.dtype)
            weights = tf.where(mask, tf.math.reciprocal_no_nan(diag + noise), zero)
            weights = self._guarded(weights, mask & (diag + noise == 0.0))
            gain = tf.where(mask & (noise == 0.0), one, diag * weights)
            # The mean holds m itself, not the form that m minimises: a rounded Gram matrix moves it
            # along directions of which the observed entries tell little.
            observed = Factorisation.of(self._factor(), weights, exact=True)
            m, _ = observed.explain((value - loc)[..., tf.newaxis])
            root = linalg.inverse_root(observed.cholesky)
            kept = 1.0 - gain
            return self._with_factor(
                observed.factor.mix(root).scale_rows(kept),
                loc=kept * (loc + observed.factor.matmul(m)[..., 0]) + gain * value,
                cov_diag=kept * diag,
                name="conditional",
            )
