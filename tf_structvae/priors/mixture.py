"""A mixture of normals with full covariances, fitted by expectation maximisation."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_structvae.priors import components as lib
from tf_structvae.priors.aggregated_posterior import AggregatedPosterior
from tf_structvae.priors.prior import Prior
from tf_structvae.utilities import checks

_REGULARISATION = 1e-6  # of the mean variance, added to each variance
_HELD_OUT = 10  # one of so many images decides how far covariances are shrunk
_LEAST = 10 * _HELD_OUT  # images for that
_STRENGTHS = (0, 10, 30, 100, 300, 1000, 3000, 10_000)  # of the mean covariance, in images


@keras.saving.register_keras_serializable(package="tf_structvae")
class Mixture(lib.Components, Prior):
    """sum_k w_k N(m_k, C_k) with K full covariances.

    Fitted after training, see `fit`; it stays as it is when the model is trained on.

    Attributes:
      logits: of the weights w, [K].
      means: [K, L].
      roots: Cholesky factors of the covariances, [K, L, L].
    """

    def __init__(self, latent_dim: int, components: int = 50, **kwargs):
        """
        Args:
          latent_dim: L.
          components: K. They are all N(0, I) until weights are set or fitted.
          **kwargs: of `keras.layers.Layer`.

        Raises:
          ValueError: a number is no positive integer.
        """
        super().__init__(latent_dim, **kwargs)
        checks.integer("components", components)
        self.components = int(components)
        self.logits = self.state("logits", (components,), "zeros")
        self.means = self.state("means", (components, latent_dim), "zeros")
        roots = np.broadcast_to(np.eye(latent_dim), [components, latent_dim, latent_dim])
        self.roots = self.state("roots", roots.shape, roots)

    @classmethod
    def of(cls, weights: Any, means: Any, covariances: Any) -> Mixture:
        """A mixture of known parts.

        Args:
          weights: positive, [K]; normalised.
          means: [K, L].
          covariances: positive definite, [K, L, L].

        Raises:
          ValueError: other shapes, weights or covariances.
        """
        weights, means, covariances = map(np.asarray, (weights, means, covariances))
        if means.ndim != 2 or weights.shape != means.shape[:1]:
            raise ValueError(
                f"weights and means must be [K] and [K, L], got {weights.shape}, {means.shape}."
            )
        if covariances.shape != (*means.shape, means.shape[1]):
            raise ValueError(
                f"covariances must be {[*means.shape, means.shape[1]]}, got {covariances.shape}."
            )
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError(f"weights must be positive, got {weights}.")
        try:
            roots = np.linalg.cholesky(covariances.astype(np.float64))
        except np.linalg.LinAlgError as error:
            raise ValueError(f"covariances must be positive definite: {error}.") from error
        found = cls(means.shape[1], len(means))
        found.set_weights([np.log(weights / weights.sum()), means, roots])
        return found

    @classmethod
    def fit(
        cls,
        posterior: AggregatedPosterior,
        components: int = 50,
        seed: int = 0,
        draws: int = 4,
        iterations: int = 200,
        tolerance: float = 1e-2,
    ) -> Mixture:
        """The mixture of the greatest likelihood for draws of the aggregated posterior.

        Expectation maximisation by scikit-learn from a k-means start, until the mean log p(z)
        changes by less than `tolerance` nats; 1e-6 of the mean variance is added to every variance.
        Few images fit a full covariance badly, so each is shrunk to their mean W, as
        (n_k C_k + s W) / (n_k + s) with n_k images in component k and the s of 0 to 10,000 that
        gives the highest log p(z) to every tenth image, which is not fitted to. Of fewer than 100
        images all are fitted to, and s = L.

        Args:
          posterior: of at least as many images as components, and more than L.
          components: K.
          seed: of the draws and of the start.
          draws: of z, for each image.
          iterations: at most; a warning says if they were not enough.
          tolerance: see above.

        Raises:
          ValueError: an argument is not as above.
        """
        from sklearn import exceptions, mixture

        checks.integer("components", components)
        checks.integer("iterations", iterations)
        posterior.check_count("a mixture", posterior.latent_dim + 1)
        posterior.check_count(f"a mixture of {components}", components)
        known, held_out = posterior, None
        if len(posterior) >= max(_LEAST, 2 * components):
            left_out = np.arange(len(posterior)) % _HELD_OUT == 0
            known, held_out = posterior.subset(~left_out), posterior.subset(left_out)
        z = known.sample(draws, seed)
        found = mixture.GaussianMixture(
            components,
            covariance_type="full",
            tol=tolerance,
            max_iter=iterations,
            reg_covar=_REGULARISATION * float(z.var(0).mean()),
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
            found.fit(z)
        if not found.converged_:
            warnings.warn(
                f"the mixture still changed after {iterations} iterations: more of them, or a "
                f"tolerance above {tolerance:g} nats.",
                stacklevel=2,
            )
        parts = found.weights_, found.means_, found.covariances_
        if held_out is None:
            return _shrunk(*parts, len(known), posterior.latent_dim)
        test = held_out.sample(draws, np.random.default_rng([seed, 1]))
        candidates = [_shrunk(*parts, len(known), s) for s in _STRENGTHS]
        return max(candidates, key=lambda m: _mean_log_prob(m, test))

    def _log_prob(self, z):
        return lib.full_log_prob(z, self.logits.value, self.means.value, self.roots.value)

    def sample_from_noise(self, noise, labels=None):
        noise = tf.convert_to_tensor(noise)
        chosen = lib.choose(noise[:, -1], self.logits.value)
        root, mean = tf.gather(self.roots.value, chosen), tf.gather(self.means.value, chosen)
        return mean + tf.linalg.matvec(root, noise[:, :-1])

    def precision(self, labels=None):
        roots = tf.cast(self.roots.value, tf.float64)
        covariances = tf.matmul(roots, roots, transpose_b=True)
        return lib.precision(self.logits.value, self.means.value, covariances)

    def describe(self):
        return f"mixture of {self.components} normals with full covariances"

    def get_config(self):
        return {**super().get_config(), "components": self.components}


def _mean_log_prob(prior: Mixture, z: np.ndarray) -> float:
    blocks = np.array_split(z, -(-len(z) // 1000))
    return float(np.mean(np.concatenate([prior.log_prob(block) for block in blocks])))


def _shrunk(weights, means, covariances, images: int, strength: float) -> Mixture:
    """With each covariance shrunk to their mean; see `Mixture.fit`."""
    mean = np.einsum("k,kij->ij", weights, covariances)
    counts = (images * weights)[:, np.newaxis, np.newaxis]
    return Mixture.of(
        weights, means, (counts * covariances + strength * mean) / (counts + strength)
    )


def diagonal(logits: Any, means: np.ndarray, stddevs: np.ndarray) -> Mixture:
    """A mixture whose covariances are diagonal.

    Args:
      logits: [K], of the weights.
      means: [K, L].
      stddevs: [K, L].
    """
    found = Mixture(means.shape[1], len(means))
    roots = stddevs[:, :, np.newaxis] * np.eye(means.shape[1])
    found.set_weights([logits, means, roots])
    return found
