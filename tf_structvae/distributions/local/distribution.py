"""The multivariate normal with covariance P P^T + (A^T A)^-1: low rank, and local."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import shapes
from tf_structvae.distributions.factors import DenseFactor, Factor
from tf_structvae.distributions.feature_low_rank_normal import low_rank_normal
from tf_structvae.distributions.local.operations import LocalOperations
from tf_structvae.distributions.local.operator import LocalOperator
from tf_structvae.distributions.local.window import Window
from tf_structvae.distributions.low_rank_normal import LowRankMultivariateNormal
from tf_structvae.distributions.summary import Summary

tfd = tfp.distributions


class LocalLowRankNormal(LocalOperations, tfp.distributions.Distribution):
    """Multivariate normal over the entries of a grid: Sigma = P P^T + (A^T A)^-1.

    ```none
    y = loc + P omega_p + A^-1 omega_d,    omega_p ~ N(0, I_R), omega_d ~ N(0, I_N)
    ```

    It is the paper's distribution (eq. 3) with a local precision in the place of D: A is sparse and
    lower triangular in raster order, channels last,

    ```none
    u_i = e_i - sum_j w_ij e_j,    (A e)_i = (u_i - sum_k v_ik u_k) / s_i
    ```

    over the earlier pixels j within `radius` of an entry i, in all channels or in its own, and the
    earlier channels k of its own pixel. Without P this is the sparse Cholesky precision of Dorta
    et al. (2018); without predecessors it is `LowRankMultivariateNormal` with D = diag(s^2).

    With Q = A P and y = A (x - loc), y is N(0, Q Q^T + I), so the density is that of
    `LowRankMultivariateNormal` at y, exact in float32, and log|A|. A y and A P are sums of shifted
    images; neither N x N nor sparse matrices are built. Samples with all their noise take a forward
    substitution over the wavefronts of the grid.

    A is invertible whatever w is, but A^-1 amplifies noise where the |w| of an entry sum to 1 or
    more; whoever makes w has to bound it.

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> neighbours = np.zeros([3, 1, 1, 1], np.float32)  # 3 pixels in a row, 1 channel
      >>> neighbours[1:] = 0.5  # each depends on the one before
      >>> p = sv.distributions.LocalLowRankNormal(np.zeros(3, np.float32), 1.0, (3, 1), neighbours)
      >>> p.covariance().numpy().astype(float).round(4).tolist()
      [[1.0, 0.5, 0.25], [0.5, 1.25, 0.625], [0.25, 0.625, 1.3125]]
    """

    fused = False
    """Whether products with A are compiled by XLA; heads set it in training steps."""

    def __init__(
        self,
        loc,
        scale,
        grid,
        neighbours=None,
        channels=None,
        cov_factor=None,
        radius: int = 1,
        mask=None,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "LocalLowRankNormal",
    ):
        """
        Args:
          loc: mean, [..., N].
          scale: s > 0, the standard deviation of an entry given those before it, without P; scalar
            or [..., N].
          grid: pixels along each axis and then channels: (W, C), (H, W, C) or (D, H, W, C), of
            product N.
          neighbours: w, [..., *grid, J, C], J = ((2 radius + 1)^n - 1) / 2 in raster order on n
            axes, or [..., *space, 1, J, 1]: of the own channel alone, the same for each channel;
            None: zero.
          channels: v, [..., *grid, C] or with 1 in the place of each axis of space, of which what
            is below the diagonal counts; None: zero.
          cov_factor: P, [..., N, R]; None: R = 0.
          radius: of the neighbourhood, >= 0.
          mask: bool [N] or [..., N], the entries that count; the others are `loc` in samples, and
            neither in the density nor predecessors of any.
          validate_args: check that scale is positive at run time.
          allow_nan_stats: as in every `tfd.Distribution`; all statistics are defined.
          name: name scope of the operations.

        Raises:
          ValueError: shapes that do not fit each other.
        """
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            window = Window(tuple(int(n) for n in grid), radius)
            loc, scale, neighbours, channels, cov_factor = shapes.convert(
                loc=loc,
                scale=scale,
                neighbours=neighbours,
                channels=channels,
                cov_factor=cov_factor,
            )
            shapes.check_shape("loc", loc.shape, 1, "[..., N]")
            if loc.shape[-1] != window.size:
                raise ValueError(
                    f"loc must have shape [..., N] with N = {window.size} entries of the grid "
                    f"{window.grid}, got {loc.shape}."
                )
            _check_end(
                "neighbours",
                neighbours,
                window.neighbours_shape,
                (*window.space, 1, len(window.offsets), 1),
            )
            _check_end(
                "channels",
                channels,
                (*window.grid, window.channels),
                (*[1] * len(window.space), window.channels, window.channels),
            )
            if scale.shape.rank and scale.shape[-1] != 1:
                shapes.check_event("scale", scale.shape[-1:], loc)
            if cov_factor is not None:
                shapes.check_shape("cov_factor", cov_factor.shape, 2, "[..., N, R]")
                shapes.check_event("cov_factor", cov_factor.shape[-2:-1], loc)
                if cov_factor.shape[-1] == 0:
                    cov_factor = None
            if validate_args:
                positive = tf.debugging.assert_positive(scale, "scale must be positive.")
                with tf.control_dependencies([positive] if positive is not None else []):
                    scale = tf.identity(scale)
            self._loc, self._scale, self._window = loc, scale, window
            self._neighbours, self._channels, self._cov_factor = neighbours, channels, cov_factor
            self._mask = None if mask is None else tf.convert_to_tensor(mask, tf.bool)
            if self._mask is not None:
                shapes.check_event("mask", self._mask.shape[-1:], loc)
            super().__init__(
                dtype=loc.dtype,
                reparameterization_type=tfd.FULLY_REPARAMETERIZED,
                validate_args=validate_args,
                allow_nan_stats=allow_nan_stats,
                parameters=parameters,
                name=name,
            )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        def axes(name):
            def count(self):
                own = len(self._window.grid)
                return {"neighbours": own + 2, "channels": own + 1}[name]

            return tfp.util.ParameterProperties(event_ndims=count)

        return dict(
            loc=tfp.util.ParameterProperties(event_ndims=1),
            scale=tfp.util.ParameterProperties(
                event_ndims=lambda self: min(1, self._scale.shape.rank)
            ),
            neighbours=axes("neighbours"),
            channels=axes("channels"),
            cov_factor=tfp.util.ParameterProperties(event_ndims=2),
        )

    # --- Parameters -----------------------------------------------------------------------------

    @property
    def loc(self) -> tf.Tensor:
        """Mean, [..., N]."""
        return self._loc

    @property
    def scale(self) -> tf.Tensor:
        """s as it was given, scalar or [..., N]."""
        return self._scale

    @property
    def cov_factor(self) -> tf.Tensor | None:
        """P, [..., N, R]; None if R = 0."""
        return self._cov_factor

    @property
    def rank(self) -> int:
        """R, the number of columns of P."""
        return 0 if self._cov_factor is None else self._cov_factor.shape[-1]

    @property
    def cov_diag(self) -> tf.Tensor:
        """s^2: the variance of an entry given those before it, without P; scalar or [..., N]."""
        return tf.square(self._scale)

    @property
    def window(self) -> Window:
        """The grid, and which entries of it are predecessors."""
        return self._window

    def _event_shape(self):
        return tf.TensorShape([self._window.size])

    def _event_shape_tensor(self):
        return tf.constant([self._window.size])

    # --- The algebra ----------------------------------------------------------------------------

    def local(self) -> LocalOperator:
        """A, with which entries that do not count have nothing to do."""
        window, dtype = self._window, self.dtype
        loc_shape = tf.shape(self._loc)
        scale = tf.broadcast_to(
            self._scale, tf.broadcast_dynamic_shape(tf.shape(self._scale), loc_shape[-1:])
        )
        a = LocalOperator(window, self._neighbours, self._channels, self._grid(scale), self.fused)
        if self._mask is not None:
            counted = self._grid(tf.cast(self._mask, dtype))
            scale = self._grid(tf.where(self._mask, scale, tf.ones([], dtype)))
            return dataclasses.replace(a, scale=scale).among(counted)
        return a

    def _grid(self, x: tf.Tensor) -> tf.Tensor:
        """[..., N] -> [..., *grid]."""
        return tf.reshape(x, tf.concat([tf.shape(x)[:-1], self._window.grid], 0))

    def _counted(self, x: tf.Tensor) -> tf.Tensor:
        """Zero where entries do not count, [..., N, K]."""
        if self._mask is None:
            return x
        return tf.where(self._mask[..., tf.newaxis], x, tf.zeros([], x.dtype))

    def _factor(self) -> Factor:
        """P, zero where entries do not count."""
        return DenseFactor(self._counted(tf.convert_to_tensor(self._cov_factor)))

    def _with_factor(self, factor: Factor) -> LocalLowRankNormal:
        """The same with another P."""
        return self.copy(cov_factor=factor.dense())

    def _whitened(self, local: LocalOperator) -> LowRankMultivariateNormal:
        """N(0, Q Q^T + I) of y = A (x - loc)."""
        diag = tf.ones([1], self.dtype) if self._mask is None else tf.cast(self._mask, self.dtype)
        loc = tf.zeros([self._window.size], self.dtype)
        return low_rank_normal(loc, local.times_factor(self._factor()), diag)

    def _observed(self, value, local: LocalOperator) -> tuple[LowRankMultivariateNormal, tf.Tensor]:
        """The distribution of y, and y of a value."""
        return self._whitened(local), self._residual(value, local)

    def _residual(self, value: tf.Tensor, local: LocalOperator) -> tf.Tensor:
        """A (x - loc), [*sample, *batch, N]."""
        shapes.check_value("value", value.shape, self._window.size, self.batch_shape)
        residual = self._counted((value - self._loc)[..., tf.newaxis])
        return local.matmul(residual)[..., 0]

    def _entries(self) -> tf.Tensor:
        """How many count, float64."""
        if self._mask is None:
            return tf.constant(self._window.size, tf.float64)
        return tf.reduce_sum(tf.cast(self._mask, tf.float64), axis=-1)

    def _log_prob(self, value):
        local = self.local()
        if self.rank:
            whitened, y = self._observed(value, local)
            found = tf.cast(whitened.log_prob(y), tf.float64)
        else:
            y = self._residual(value, local)
            square = tf.reduce_sum(tf.square(tf.cast(y, tf.float64)), axis=-1)
            found = -0.5 * (square + self._entries() * math.log(2.0 * math.pi))
        return tf.cast(found + local.log_det(), self.dtype)

    def _entropy(self):
        local = self.local()
        if self.rank:
            found = tf.cast(self._whitened(local).entropy(), tf.float64)
        else:
            found = 0.5 * self._entries() * (1.0 + math.log(2.0 * math.pi))
        return self._batched(found - local.log_det())

    def _batched(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.cast(x, self.dtype)
        return tf.broadcast_to(
            x, tf.broadcast_dynamic_shape(tf.shape(x), self.batch_shape_tensor())
        )

    def entropy_floor(self) -> tf.Tensor:
        """The entropy without P, N/2 log(2 pi e) + sum log s nats, [*batch]."""
        with self._name_and_control_scope("entropy_floor"):
            constant = 0.5 * self._entries() * (1.0 + math.log(2.0 * math.pi))
            return self._batched(constant - self.local().log_det())

    def summarize(self, value) -> Summary:
        """Log-density, entropy and noise posterior from one factorisation.

        Args:
          value: [*sample, *batch, N].

        Returns:
          See `LowRankMultivariateNormal.summarize`; without P the noise has no entries.
        """
        with self._name_and_control_scope("summarize"):
            value = tf.convert_to_tensor(value, self.dtype)
            if not self.rank:
                noise = tf.zeros(tf.concat([tf.shape(value)[:-1], [0]], 0), self.dtype)
                covariance = tf.zeros(tf.concat([self.batch_shape_tensor(), [0, 0]], 0), self.dtype)
                return Summary(self._log_prob(value), self._entropy(), noise, covariance)
            local = self.local()
            whitened, y = self._observed(value, local)
            found = whitened.summarize(y)
            log_det = tf.cast(local.log_det(), self.dtype)
            return Summary(
                found.log_prob + log_det,
                self._batched(found.entropy - log_det),
                found.noise_mean,
                found.noise_covariance,
            )

    def _mean(self):
        shape = tf.concat([self.batch_shape_tensor(), [self._window.size]], 0)
        return tf.broadcast_to(self._loc, shape)

    _mode = _mean

    def _sample_n(self, n, seed=None):
        seeds = tfp.random.split_seed(seed, n=2, salt="LocalLowRankNormal")
        batch = tf.concat([[n], self.batch_shape_tensor()], 0)

        def noise(size, seed):
            return tf.random.stateless_normal(tf.concat([batch, [size]], 0), seed, dtype=self.dtype)

        return self.sample_from_noise(
            noise(self.rank, seeds[0]), noise(self._window.size, seeds[1])
        )


def _check_end(name: str, x, wanted: tuple[int, ...], other: tuple[int, ...]) -> None:
    if x is not None and not any(
        x.shape.rank is not None
        and x.shape.rank >= len(end)
        and x.shape[-len(end) :].is_compatible_with(end)
        for end in (wanted, other)
    ):
        raise ValueError(
            f"{name} must have shape [..., {str(wanted)[1:-1]}] or [..., {str(other)[1:-1]}], got "
            f"{x.shape}."
        )
