"""Label maps whose logits are jointly normal: stochastic segmentation networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

tfd = tfp.distributions


class LogitNormalLabelMap(tfp.distributions.Distribution):
    """Labels of all pixels, each drawn by the softmax of its logits, which are jointly normal.

    ```none
    eta ~ N(mu, P P^T + D) over [S, K] logits,    y_s | eta ~ Categorical(softmax(eta_s))
    ```

    The model of Monteiro et al. (2020, arXiv 2006.06015). Its density is an integral over eta, so
    `log_prob` is an estimate: the logarithm of a mean over draws (their eq. 5), computed by
    log-mean-exp, with draws in pairs mu + e and mu - e. It is a lower bound in expectation, which
    rises with the number of draws.

    Args:
      logits: a normal with batch [B] and event [S * K], in row-major order with the class last.
      classes: K.
      draws: of eta for a density.
      ignored: a label that does not count, at any pixel; so does every other negative label.
      name: of the distribution.

    Raises:
      ValueError: fewer than two classes, or logits that they do not divide.
    """

    def __init__(
        self,
        logits: Any,
        classes: int,
        draws: int = 20,
        ignored: int = -1,
        name: str = "LogitNormalLabelMap",
    ):
        parameters = dict(locals())
        size = logits.event_shape[0]
        if classes < 2 or (size is not None and size % classes):
            raise ValueError(
                f"classes must be at least 2 and divide the logits' {size} entries, got {classes}."
            )
        if draws < 1:
            raise ValueError(f"draws must be a positive integer, got {draws!r}.")
        self._logits = logits
        self.classes = classes
        self.draws = draws
        self.ignored = ignored
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=name,
        )
        self._parameters = self._no_dependency(parameters)

    @property
    def logits(self) -> Any:
        """The normal over [S * K]."""
        return self._logits

    def _batch_shape(self):
        return self._logits.batch_shape

    def _batch_shape_tensor(self):
        return self._logits.batch_shape_tensor()

    def _event_shape(self):
        size = self._logits.event_shape[0]
        return tf.TensorShape([None if size is None else size // self.classes])

    def _event_shape_tensor(self):
        return self._logits.event_shape_tensor() // self.classes

    def draw_logits(self, count: int, seed=None) -> tf.Tensor:
        """Draws of eta, [count, B, S, K], in pairs mu + e and mu - e.

        Args:
          count: an odd one has one draw without its pair.
          seed: as of every `tfd.Distribution`.
        """
        half = self._logits.sample(-(-count // 2), seed=seed)
        mean = self._logits.mean()
        both = tf.concat([half, (2.0 * mean - half)[: count // 2]], 0)
        shape = [count, *tf.unstack(tf.shape(both)[1:-1]), -1, self.classes]
        return tf.reshape(both, shape)

    def log_likelihoods(self, labels: tf.Tensor, draws: int | None = None, seed=None) -> tf.Tensor:
        """Estimated log-probability of several label maps of each image, nats an image, [B, A].

        Args:
          labels: of A annotators, int [B, S, A]; a pixel that is `ignored` or negative does not
            count in that map.
          draws: of eta; None: those of the distribution.
          seed: of them.

        Raises:
          ValueError: labels of another shape.
          tf.errors.InvalidArgumentError: a label that is no class, nor negative or `ignored`.
        """
        labels = tf.cast(labels, tf.int32)
        if labels.shape.rank != 3:
            raise ValueError(f"labels must be [B, S, A], got {labels.shape}.")
        count = self.draws if draws is None else draws
        log_p = tf.nn.log_softmax(self.draw_logits(count, seed))  # [M, B, S, K]
        seen = tf.where(labels == self.ignored, -1, labels)
        # else it would count as one that is left out
        below = tf.debugging.assert_less(
            seen,
            self.classes,
            f"labels must be below classes = {self.classes}, negative, or ignored = {self.ignored}",
        )
        with tf.control_dependencies([] if below is None else [below]):
            seen = tf.identity(seen)
        chosen = tf.one_hot(seen, self.classes, axis=2, dtype=log_p.dtype)  # zero where negative
        of_map = tf.einsum("mbsk,bska->mba", log_p, chosen)
        return tf.reduce_logsumexp(of_map, 0) - math.log(count)

    def _log_prob(self, value, seed=None, draws=None):
        value = tf.convert_to_tensor(value)
        if value.shape.rank != 2:
            raise ValueError(f"labels must be [B, S], got {value.shape}.")
        return self.log_likelihoods(value[..., tf.newaxis], draws, seed)[:, 0]

    def _sample_n(self, n, seed=None):
        of_logits, of_labels = tfp.random.split_seed(seed, n=2, salt="LogitNormalLabelMap")
        eta = self._split(self._logits.sample(n, seed=of_logits))
        return tfd.Categorical(logits=eta).sample(seed=of_labels)

    def _split(self, flat):
        shape = tf.shape(flat)
        return tf.reshape(flat, tf.concat([shape[:-1], [-1, self.classes]], 0))

    def sample_maps(self, count: int, seed=None) -> tf.Tensor:
        """The likeliest label of each pixel under draws of eta, int32 [count, B, S].

        What is drawn is the structure; the pixels have no noise of their own, which `sample` adds.

        Args:
          count: of each image.
          seed: as of every `tfd.Distribution`.
        """
        eta = self._split(self._logits.sample(count, seed=seed))
        return tf.argmax(eta, -1, output_type=tf.int32)

    def probabilities(self) -> tf.Tensor:
        """Of each pixel's classes, [B, S, K], in closed form and therefore approximately.

        The softmax of mu / sqrt(1 + pi / 8 v), v the variance of each logit (MacKay 1992).
        """
        mean, variance = self._split(self._logits.mean()), self._split(self._logits.variance())
        return tf.nn.softmax(mean * tf.math.rsqrt(1.0 + math.pi / 8.0 * variance))

    def _mode(self):
        return tf.argmax(self._split(self._logits.mean()), -1, output_type=tf.int32)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        return dict(logits=tfp.util.BatchedComponentProperties())

    def entropy_of_pixels(self) -> np.ndarray:
        """Of `probabilities`, nats a pixel, [B, S]: where the labels are in doubt."""
        p = np.asarray(self.probabilities(), np.float64)
        return -np.sum(p * np.log(np.maximum(p, 1e-300)), -1)
