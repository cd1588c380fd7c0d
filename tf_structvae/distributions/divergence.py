"""KL divergences between low-rank normals and the stock multivariate normals, for `tfd`'s registry.

KL(p || q) = (tr Sigma_q^-1 Sigma_p + |mu_p - mu_q|^2_q - N + log|Sigma_q| - log|Sigma_p|) / 2. A
trace of Sigma_q^-1 A A^T is a sum of quadratic forms over the columns of A, each in the residual
form, so that no large numbers are subtracted.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp

from tf_structvae.distributions.low_rank_normal import LowRankMultivariateNormal

tfd = tfp.distributions
_Stock = tfd.MultivariateNormalLinearOperator
_StockCovariance = tfd.MultivariateNormalDiagPlusLowRankCovariance


def _forms(factorisation, columns):
    """v^T Sigma^-1 v for each column v of [..., N, K], float64 [..., K]."""
    return factorisation.mahalanobis(columns, *factorisation.explain(columns))


def _trace_of_diagonal(q, factorisation, diag):
    """tr Sigma_q^-1 diag(diag), float64 [...], for diag [..., 1] or [..., N]."""
    own, isotropic = q._diag()
    inverse = factorisation.inverse()
    if isotropic and diag.shape[-1] == 1:
        ratio = tf.cast(diag, tf.float64)[..., 0] / tf.cast(own, tf.float64)[..., 0]
        rank = tf.cast(tf.shape(inverse)[-1], tf.float64)
        return ratio * (q._event_size() - rank + tf.linalg.trace(inverse))
    ones = tf.ones(q.event_shape_tensor(), q.dtype)
    ratio = tf.cast(ones * diag / own, tf.float64)
    gram, _ = factorisation.factor.gram(ones * diag / tf.square(own))
    return tf.reduce_sum(ratio, axis=-1) - tf.linalg.trace(tf.matmul(inverse, gram))


def _log_det(p, factorisation):
    return p._log_det_diag() + factorisation.log_det()


def _half(q, trace, form, difference):
    return tf.cast(0.5 * (trace + form - q._event_size() + difference), q.dtype)


@tfd.RegisterKL(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _kl_low_rank_low_rank(p, q, name=None):
    """KL(p || q), nats, [*batch]."""
    with tf.name_scope(name or "kl_low_rank_low_rank"):
        of_q, of_p = q._factorise(), p._factorise()
        trace = tf.reduce_sum(_forms(of_q, tf.convert_to_tensor(p.cov_factor)), axis=-1)
        trace += _trace_of_diagonal(q, of_q, p._diag()[0])
        form = _forms(of_q, (p.loc - q.loc)[..., tf.newaxis])[..., 0]
        return _half(q, trace, form, _log_det(q, of_q) - _log_det(p, of_p))


@tfd.RegisterKL(LowRankMultivariateNormal, _Stock)
def _kl_low_rank_stock(p, q, name=None):
    """KL(p || q) with a stock normal q of scale S: |S^-1 P|^2 + tr S^-1 D S^-T + ..."""
    with tf.name_scope(name or "kl_low_rank_stock"):
        factor = q.scale.solve(tf.convert_to_tensor(p.cov_factor))
        inverse = q.scale.inverse().to_dense()
        trace = tf.reduce_sum(tf.square(factor), axis=[-2, -1])
        trace += tf.reduce_sum(tf.square(inverse) * p._diag()[0][..., tf.newaxis, :], axis=[-2, -1])
        mean = tf.zeros([], p.dtype) if q.loc is None else tf.convert_to_tensor(q.loc)
        form = tf.reduce_sum(tf.square(q.scale.solvevec(p.loc - mean)), axis=-1)
        log_det = 2.0 * tf.cast(q.scale.log_abs_determinant(), tf.float64)
        parts = tf.cast(trace, tf.float64), tf.cast(form, tf.float64)
        return _half(p, *parts, log_det - _log_det(p, p._factorise()))


@tfd.RegisterKL(_Stock, LowRankMultivariateNormal)
def _kl_stock_low_rank(p, q, name=None):
    """KL(p || q) with a stock normal p of scale S: a form for each column of S."""
    with tf.name_scope(name or "kl_stock_low_rank"):
        of_q = q._factorise()
        trace = tf.reduce_sum(_forms(of_q, p.scale.to_dense()), axis=-1)
        mean = tf.zeros([], q.dtype) if p.loc is None else tf.convert_to_tensor(p.loc)
        form = _forms(of_q, (mean - q.loc)[..., tf.newaxis])[..., 0]
        log_det = 2.0 * tf.cast(p.scale.log_abs_determinant(), tf.float64)
        return _half(q, trace, form, _log_det(q, of_q) - log_det)


@tfd.RegisterKL(LowRankMultivariateNormal, _StockCovariance)
def _kl_low_rank_stock_covariance(p, q, name=None):
    return _kl_low_rank_low_rank(p, from_tfp_covariance(q), name)


@tfd.RegisterKL(_StockCovariance, LowRankMultivariateNormal)
def _kl_stock_covariance_low_rank(p, q, name=None):
    return _kl_low_rank_low_rank(from_tfp_covariance(p), q, name)


def from_tfp_covariance(d) -> LowRankMultivariateNormal:
    """`tfd.MultivariateNormalDiagPlusLowRankCovariance` -> `LowRankMultivariateNormal`.

    Args:
      d: with batch [...] and event [N].
    """
    operator = d.cov_operator
    loc = d.loc
    if loc is None:
        loc = tf.zeros(operator.shape[-1:], d.dtype)
    return LowRankMultivariateNormal(loc, operator.u, operator.base_operator.diag_part())
