"""Slow, obvious float64 twins of the fast paths, in NumPy and SciPy."""

import numpy as np
from scipy import stats


def covariance(factor, diag):
    """P P^T + D of one distribution: factor [N, R], diag scalar or [N]."""
    factor = np.asarray(factor, np.float64)
    n = factor.shape[0]
    return factor @ factor.T + np.diag(np.broadcast_to(np.asarray(diag, np.float64), n))


def log_prob(x, loc, factor, diag):
    """Log-density of x [N] by a dense Cholesky factorisation."""
    return stats.multivariate_normal(loc, covariance(factor, diag)).logpdf(x)


def entropy(factor, diag):
    """0.5 log |2 pi e Sigma|."""
    sigma = covariance(factor, diag)
    return 0.5 * np.linalg.slogdet(2 * np.pi * np.e * sigma)[1]


def log_prob_gradients(x, loc, factor, diag):
    """Gradients of log_prob for x, factor and the diagonal [N], from the dense inverse."""
    inverse = np.linalg.inv(covariance(factor, diag))
    w = inverse @ (x - loc)
    by_sigma = 0.5 * (np.outer(w, w) - inverse)
    return -w, 2 * by_sigma @ factor, np.diag(by_sigma)


def entropy_gradients(factor, diag):
    """Gradients of the entropy for factor and the diagonal [N]."""
    inverse = np.linalg.inv(covariance(factor, diag))
    return inverse @ factor, 0.5 * np.diag(inverse)


def noise_posterior(x, loc, factor, diag):
    """Mean and covariance of omega_p given x, by conditioning the joint normal of (omega_p, x)."""
    sigma = covariance(factor, diag)
    gain = factor.T @ np.linalg.inv(sigma)
    return gain @ (x - loc), np.eye(factor.shape[1]) - gain @ factor


def condition(mask, value, loc, factor, diag, noise_variance=0.0):
    """Mean and covariance of the whole event given noisy values of the masked entries (eq. 6)."""
    sigma = covariance(factor, diag)
    observed = sigma[np.ix_(mask, mask)] + noise_variance * np.eye(mask.sum())
    gain = sigma[:, mask] @ np.linalg.inv(observed)
    return loc + gain @ (value - loc)[mask], sigma - gain @ sigma[mask]


def dense_factor(features, kernel):
    """P[s * C + c, r] = sum_f features[s, f] kernel[f, c, r]."""
    p = np.einsum("sf,fcr->scr", features, kernel)
    return p.reshape(-1, kernel.shape[-1])


class Capacitance:
    """The density of one distribution with D = epsilon I at the size of an image, all in float64.

    Nothing of size N x N: every quantity through M = epsilon I + P^T P. Checked against the dense
    formulas at a small N by `test_paper_size.py`.
    """

    def __init__(self, loc, factor, epsilon):
        self.loc, self.factor = np.asarray(loc, np.float64), np.asarray(factor, np.float64)
        self.epsilon = float(epsilon)
        self.n, self.rank = self.factor.shape
        m = self.epsilon * np.eye(self.rank) + self.factor.T @ self.factor
        self.inverse = np.linalg.inv(m)
        log_det = (self.n - self.rank) * np.log(self.epsilon) + np.linalg.slogdet(m)[1]
        self.log_det = log_det
        self.entropy = 0.5 * (self.n * np.log(2 * np.pi * np.e) + log_det)

    def solve(self, x):
        """c and w = Sigma^-1 (x - loc)."""
        r = np.asarray(x, np.float64) - self.loc
        c = self.inverse @ (self.factor.T @ r)
        return c, (r - self.factor @ c) / self.epsilon

    def log_prob(self, x):
        c, w = self.solve(x)
        form = self.epsilon * (w @ w) + c @ c
        return -0.5 * (self.n * np.log(2 * np.pi) + self.log_det + form)

    def gradients(self, x):
        """Of log_prob for x and P, and of the entropy for P."""
        c, w = self.solve(x)
        precision_p = self.factor @ self.inverse
        return -w, np.outer(w, c) - precision_p, precision_p
