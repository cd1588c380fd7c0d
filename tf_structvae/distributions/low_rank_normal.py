"""The multivariate normal with covariance P P^T + D, exact in float32 at the size of an image."""

from __future__ import annotations

import math

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions import linalg, shapes
from tf_structvae.distributions.factorisation import Factorisation
from tf_structvae.distributions.factors import DenseFactor, Factor
from tf_structvae.distributions.operations import LowRankOperations
from tf_structvae.distributions.summary import Summary

tfd = tfp.distributions
tfb = tfp.bijectors


class LowRankMultivariateNormal(
    tfp.distributions.MultivariateNormalDiagPlusLowRank, LowRankOperations
):
    """Multivariate normal over R^N, low rank in the covariance: Sigma = P P^T + D (paper, 3.2).

    ```none
    y = loc + P omega_p + D^1/2 omega_d,    omega_p ~ N(0, I_R), omega_d ~ N(0, I_N)    (eq. 3)
    ```

    Against the base class: there the *scale* is diagonal plus low rank. This covariance has a
    scale of that form, so `scale`, `scale_diag`, `scale_perturb_factor` and `scale_perturb_diag`
    exist and agree with `covariance()`, but they are computed only when somebody asks.

    The log-density uses the noise posterior c = K^-1 P^T D^-1 r, K = I + P^T D^-1 P, r = y - loc:

    ```none
    r^T Sigma^-1 r = (r - P c)^T D^-1 (r - P c) + c^T c,    log|Sigma| = log|D| + log|K|
    ```

    R x R work is float64. The subtractive Woodbury form is never used: with D = 1e-5 I it loses
    hundreds of nats in float32.

    An entry whose `cov_diag` is zero *and* whose row of P is zero is a point mass (what `condition`
    makes of observed entries): sampling returns `loc` there, and `log_prob` and `entropy` are those
    of the remaining entries. Where `cov_diag` is zero and the row of P is not, this algebra has no
    D^-1: what needs one raises a ValueError, or in a graph an InvalidArgumentError when it runs.
    XLA has no errors, so there it is NaN, and so it is in graphs where all of D = eps I vanishes,
    as in a training that diverges. Samples and moments are right.

    Not checked unless `validate_args`: that `cov_diag` is positive (or non-negative, as above).

    Examples:
      >>> import numpy as np, tf_structvae as sv
      >>> factor = np.float32([[1, 0], [1, 0], [0, 2]])  # N = 3 entries, rank 2
      >>> p = sv.distributions.LowRankMultivariateNormal(np.zeros(3, np.float32), factor, 0.01)
      >>> p.covariance().numpy().astype(float).round(2).tolist()
      [[1.01, 1.0, 0.0], [1.0, 1.01, 0.0], [0.0, 0.0, 4.01]]
      >>> p.sample(5, seed=(0, 1)).shape.as_list()
      [5, 3]
    """

    def __init__(
        self,
        loc,
        cov_factor,
        cov_diag,
        validate_args: bool = False,
        allow_nan_stats: bool = True,
        name: str = "LowRankMultivariateNormal",
    ):
        """
        Args:
          loc: mean, [..., N].
          cov_factor: P, [..., N, R]; any R >= 1, rank-deficient or not.
          cov_diag: the diagonal of D, scalar (D = eps I), [..., 1] or [..., N].
          validate_args: check `cov_diag` at run time.
          allow_nan_stats: as in every `tfd.Distribution`; all statistics are defined.
          name: name scope of the operations.

        Raises:
          ValueError: shapes that do not fit each other.
        """
        parameters = dict(locals())
        with tf.name_scope(name) as name:
            loc, cov_factor, cov_diag = shapes.convert(
                loc=loc, cov_factor=cov_factor, cov_diag=cov_diag
            )
            shapes.check_shape("loc", loc.shape, 1, "[..., N]")
            shapes.check_shape("cov_factor", cov_factor.shape, 2, "[..., N, R]")
            shapes.check_event("cov_factor", cov_factor.shape[-2:-1], loc)
            shapes.check_rank("cov_factor", cov_factor.shape, "[..., N, R]")
            shapes.check_batches(
                loc=loc.shape[:-1], cov_factor=cov_factor.shape[:-2], cov_diag=cov_diag.shape[:-1]
            )
            self._cov_factor = cov_factor
            self._set_up(loc, cov_diag, validate_args, allow_nan_stats, parameters, name)

    def _set_up(self, loc, cov_diag, validate_args, allow_nan_stats, parameters, name):
        if loc.shape[-1] == 0:
            raise ValueError(f"loc must have shape [..., N] with N >= 1, got {loc.shape}.")
        if cov_diag.shape.rank and cov_diag.shape[-1] != 1:
            shapes.check_event("cov_diag", cov_diag.shape[-1:], loc)
        self._loc = loc
        self._cov_diag = cov_diag
        # Past the base classes' own constructors: they would compute a scale at once.
        tfd.Distribution.__init__(
            self,
            dtype=loc.dtype,
            reparameterization_type=tfd.FULLY_REPARAMETERIZED,
            validate_args=validate_args,
            allow_nan_stats=allow_nan_stats,
            parameters=parameters,
            name=name,
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        positive = tfb.Softplus(low=tf.experimental.numpy.finfo(dtype.as_numpy_dtype).eps)
        return dict(
            loc=tfp.util.ParameterProperties(event_ndims=1),
            cov_factor=tfp.util.ParameterProperties(
                event_ndims=2, shape_fn=lambda sample_shape: [*sample_shape, 1]
            ),
            cov_diag=tfp.util.ParameterProperties(
                event_ndims=lambda self: min(1, self._cov_diag.shape.rank),
                default_constraining_bijector_fn=lambda: positive,
            ),
        )

    # --- Parameters -------------------------------------------------------------------------

    @property
    def loc(self) -> tf.Tensor:
        """Mean, [..., N]."""
        return self._loc

    @property
    def cov_factor(self) -> tf.Tensor:
        """P, [..., N, R]."""
        return self._cov_factor

    @property
    def cov_diag(self) -> tf.Tensor:
        """The diagonal of D as it was given: scalar, [..., 1] or [..., N]."""
        return self._cov_diag

    @property
    def rank(self):
        """R, the number of columns of P."""
        return self._factor().rank

    def _rank_tensor(self) -> tf.Tensor:
        return tf.shape(self._cov_factor)[-1]

    def _factor(self) -> Factor:
        return DenseFactor(tf.convert_to_tensor(self._cov_factor))

    def _diag(self) -> tuple[tf.Tensor, bool]:
        """cov_diag as [..., 1] or [..., N], and whether it is the same for all entries."""
        diag = tf.convert_to_tensor(self._cov_diag)
        if diag.shape.rank == 0:
            diag = diag[tf.newaxis]
        return diag, diag.shape[-1] == 1

    # --- The algebra ------------------------------------------------------------------------

    # Whether D is known to have no zero entry, so that nobody need look.
    _positive_diag = False

    def _precision(self) -> tf.Tensor:
        """D^-1, [..., 1] or [..., N]; zero for point masses."""
        diag, _ = self._diag()
        return self._guarded(tf.math.reciprocal_no_nan(diag), diag == 0.0)

    def _guarded(self, precision, infinite):
        """A precision that must not be infinite, unless the row of P is zero.

        Args:
          precision: [..., 1] or [..., N].
          infinite: where it is, bool of the same shape or [..., N].
        """
        if self._positive_diag:
            return precision

        def without_density():
            rows = self._factor().stopped().row_sum_of_squares()
            return tf.reduce_any(infinite & (rows > 0.0))

        bad = tf.cond(tf.reduce_any(infinite), without_density, lambda: tf.constant(False))
        told = (
            "cov_diag must be positive wherever the row of P is not zero, got zero: such an entry "
            "has no noise of its own, which the density needs. A small number, as 1e-6 of the "
            "variance, will do."
        )
        if tf.executing_eagerly():
            if bad:
                raise ValueError(told)
            return precision
        asserted = [] if precision.shape[-1] == 1 else [tf.debugging.Assert(~bad, [told])]
        with tf.control_dependencies(asserted):
            return tf.where(bad, tf.constant(float("nan"), precision.dtype), precision)

    def _factorise(self) -> Factorisation:
        return Factorisation.of(self._factor(), self._precision())

    def _log_det_diag(self) -> tf.Tensor:
        """log|D| over the entries that are not point masses, float64 [...]."""
        diag, isotropic = self._diag()
        diag = tf.cast(diag, tf.float64)
        log_diag = tf.math.log(tf.where(diag > 0, diag, 1.0))
        if isotropic:
            return self._event_size() * log_diag[..., 0]
        return tf.reduce_sum(log_diag, axis=-1)

    def _event_size(self) -> tf.Tensor:
        return tf.cast(self.event_shape_tensor()[0], tf.float64)

    def _degrees_of_freedom(self) -> tf.Tensor:
        """How many entries are not point masses, float64 [...]."""
        diag, isotropic = self._diag()
        counted = tf.cast(diag > 0, tf.float64)
        if isotropic:
            return self._event_size() * counted[..., 0]
        return tf.reduce_sum(counted, axis=-1)

    # --- tfd.Distribution -------------------------------------------------------------------

    # What the base classes derive from a bijector comes from the distribution's own hooks here.
    _call_sample_n = tfd.Distribution._call_sample_n
    experimental_local_measure = tfd.Distribution.experimental_local_measure

    def _batch_shape(self):
        return tfd.Distribution._batch_shape(self)

    def _batch_shape_tensor(self, **parameter_kwargs):
        return tfd.Distribution._batch_shape_tensor(self, **parameter_kwargs)

    def _event_shape(self):
        return self._loc.shape[-1:]

    def _event_shape_tensor(self):
        return tf.shape(self._loc)[-1:]

    def _sample_and_log_prob(self, sample_shape, seed, **kwargs):
        value = self._call_sample_n(sample_shape, seed=seed, **kwargs)
        return value, self._log_prob(value)

    def _no_cdf(self, value, **kwargs):
        raise NotImplementedError(
            f"{type(self).__name__} has no cdf, survival function or quantiles: no closed form is "
            "known for several correlated entries. Of one entry, use tfd.Normal with `mean` and "
            "`stddev`."
        )

    _cdf = _log_cdf = _survival_function = _log_survival_function = _quantile = _no_cdf

    def _prob(self, value):
        return tf.exp(self._log_prob(value))

    def _log_prob(self, value):
        return self._log_prob_and_noise(value, self._factorise())[0]

    def _entropy(self):
        return self._broadcast_scalar(self._entropy_from(self._factorise()))

    def _entropy_from(self, factorisation):
        return self._diag_entropy() + 0.5 * factorisation.log_det()

    def _diag_entropy(self):
        constant = self._degrees_of_freedom() * (1.0 + math.log(2.0 * math.pi))
        return 0.5 * (constant + self._log_det_diag())

    def entropy_floor(self) -> tf.Tensor:
        """The entropy of D alone, N/2 log(2 pi e) + log|D|/2 nats, [*batch]: P = 0."""
        with self._name_and_control_scope("entropy_floor"):
            return self._broadcast_scalar(self._diag_entropy())

    def _broadcast_scalar(self, x):
        x = tf.cast(x, self.dtype)
        return tf.broadcast_to(
            x, tf.broadcast_dynamic_shape(tf.shape(x), self.batch_shape_tensor())
        )

    def _log_prob_and_noise(self, value, factorisation):
        """log-density [*sample, *batch] and noise mean c [*sample, *batch, R] (float64).

        Several values of one distribution become columns, so P is read once for all of them.
        """
        batch_rank = self.batch_shape_tensor().shape[0]
        extra = value.shape.rank - 1 - batch_rank
        shapes.check_value("value", value.shape, self.event_shape[0], self.batch_shape)
        residual = value - tf.convert_to_tensor(self._loc)
        several = extra > 0
        columns = shapes.samples_to_columns(residual, extra) if several else residual[..., None]
        c, left = factorisation.explain(columns)
        form = factorisation.mahalanobis(columns, c, left)
        if several:
            sample_shape = tf.shape(residual)[:extra]
            form = shapes.columns_to_samples(form, sample_shape)
            c = shapes.columns_to_samples(c, sample_shape)
        else:
            form, c = form[..., 0], c[..., 0]
        constant = self._degrees_of_freedom() * math.log(2.0 * math.pi)
        log_det = self._log_det_diag() + factorisation.log_det()
        return tf.cast(-0.5 * (constant + log_det + form), self.dtype), c

    def summarize(self, value) -> Summary:
        """Log-density, entropy and noise posterior from one factorisation.

        Args:
          value: [*sample, *batch, N].

        Returns:
          `Summary` of log_prob [*sample, *batch] and entropy [*batch] (nats), noise_mean
          c = E[omega_p | value], [*sample, *batch, R], and noise_covariance K^-1 [*batch, R, R].
        """
        with self._name_and_control_scope("summarize"):
            value = tf.convert_to_tensor(value, self.dtype)
            factorisation = self._factorise()
            log_prob, c = self._log_prob_and_noise(value, factorisation)
            entropy = self._broadcast_scalar(self._entropy_from(factorisation))
            covariance = factorisation.inverse()
            return Summary(
                log_prob, entropy, tf.cast(c, self.dtype), tf.cast(covariance, self.dtype)
            )

    def _sample_n(self, n, seed=None):
        seeds = tfp.random.split_seed(seed, n=2, salt="LowRankMultivariateNormal")
        batch = self.batch_shape_tensor()
        rank = self._rank_tensor()[tf.newaxis]
        factor_noise = tf.random.stateless_normal(
            tf.concat([[n], batch, rank], 0), seeds[0], dtype=self.dtype
        )
        diag_noise = tf.random.stateless_normal(
            tf.concat([[n], batch, self.event_shape_tensor()], 0), seeds[1], dtype=self.dtype
        )
        return self.sample_from_noise(factor_noise, diag_noise)

    def _mean(self):
        return self._broadcast_event(tf.convert_to_tensor(self._loc))

    _mode = _mean

    def _variance(self):
        return self._broadcast_event(self._factor().row_sum_of_squares() + self._diag()[0])

    def _stddev(self):
        return tf.sqrt(self._variance())

    def _covariance(self):
        matrix = self._factor().dense()
        covariance = linalg.matmul(matrix, matrix, transpose_b=True)
        diagonal = tf.linalg.diag_part(covariance) + self._diag()[0]
        shape = tf.concat([self.batch_shape_tensor(), tf.tile(self.event_shape_tensor(), [2])], 0)
        diagonal = self._broadcast_event(diagonal)
        return tf.linalg.set_diag(tf.broadcast_to(covariance, shape), diagonal)

    def _broadcast_event(self, x):
        shape = tf.concat([self.batch_shape_tensor(), self.event_shape_tensor()], 0)
        return tf.broadcast_to(x, shape)

    def _default_event_space_bijector(self):
        return tfb.Identity(validate_args=self.validate_args)

    def _parameter_control_dependencies(self, is_init):
        if not self.validate_args:
            return []
        return [
            tf.debugging.assert_non_negative(
                self._cov_diag, message="cov_diag must not be negative."
            )
        ]

    def _dense(self, loc, cov_factor, cov_diag, name):
        return LowRankMultivariateNormal(loc, cov_factor, cov_diag, name=name)

    def _with_factor(self, factor, loc, cov_diag, name):
        """A distribution of the same kind with another factor."""
        return self._dense(loc, factor.dense(), cov_diag, name)

    # --- The base class's view, computed when asked for ---------------------------------------

    def _eigen(self):
        """Eigenvalues [..., R] and eigenvectors [..., R, R] of P^T D^-1 P, float64."""
        values, vectors = tf.linalg.eigh(self._factorise().capacitance)
        return tf.maximum(values - 1.0, 0.0), vectors

    @property
    def scale_diag(self) -> tf.Tensor:
        """D^1/2, [..., N]."""
        return self._broadcast_event(tf.sqrt(self._diag()[0]))

    @property
    def scale_perturb_factor(self) -> tf.Tensor:
        """P V, [..., N, R], with V the eigenvectors of P^T D^-1 P."""
        return self._factor().mix(self._eigen()[1]).dense()

    @property
    def scale_perturb_diag(self) -> tf.Tensor:
        """[..., R]; for D = eps I the scale is sqrt(eps) I + (P V) diag(.) (P V)^T."""
        a = tf.cast(linalg.symmetric_inverse_root(self._eigen()[0]), self.dtype)
        diag, isotropic = self._diag()
        return a * tf.math.rsqrt(diag) if isotropic else a

    @property
    def scale(self) -> tf.linalg.LinearOperatorLowRankUpdate:
        """S with S S^T = Sigma: D^1/2 (I + Q V diag(a) V^T Q^T), Q = D^-1/2 P.

        For D = eps I it is symmetric.
        """
        diag, isotropic = self._diag()
        u = self.scale_perturb_factor
        v = None if isotropic else u / tf.sqrt(diag)[..., tf.newaxis]
        return tf.linalg.LinearOperatorLowRankUpdate(
            tf.linalg.LinearOperatorDiag(self.scale_diag, is_positive_definite=True),
            u=u,
            diag_update=self.scale_perturb_diag,
            v=v,
            is_self_adjoint=isotropic,
            is_non_singular=True,
            is_square=True,
        )

    @property
    def distribution(self):
        """The standard normal that `bijector` maps to this distribution."""
        zeros = tf.zeros(self.batch_shape_tensor(), self.dtype)
        return tfd.Sample(tfd.Normal(zeros, tf.ones([], self.dtype)), self.event_shape_tensor())

    @property
    def bijector(self):
        """x -> loc + scale @ x."""
        return tfb.Shift(self._loc)(tfb.ScaleMatvecLinearOperator(self.scale))
