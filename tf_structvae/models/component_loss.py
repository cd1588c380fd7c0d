"""The loss of neural posterior principal components."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_structvae.models import event_targets, replicas
from tf_structvae.utilities import checks


@keras.saving.register_keras_serializable(package="tf_structvae")
class PosteriorComponents(keras.losses.Loss):
    """Directions that explain the error, and their variances (Nehme et al. 2023, arXiv 2309.15533).

    For e = y - mean and orthogonal columns w_k of the factor with u_k = w_k / |w_k|,

    ```none
    1 - sum_k (u_k^T e)^2 / |e|^2  +  weight sum_k (|w_k|^2 - (u_k^T e)^2)^2 / (E|e|^2)^2
    ```

    where the second term does not move the directions. Two things differ from the paper: the
    squares of the second term are divided by the batch's mean of |e|^2 and not by that of each
    example, which would weigh small errors more; and a third term, the negative log-likelihood of
    what the columns leave, over N, fits D, which the paper does not have.

    Args:
      weight: of the second term, > 0.
      name: of the loss.
      **kwargs: of `keras.losses.Loss`.

    Raises:
      ValueError: a weight outside its range.
    """

    def __init__(self, weight: float = 1.0, name: str = "posterior_components", **kwargs):
        super().__init__(name=name, **kwargs)
        if not (checks.is_finite(weight) and weight > 0):
            raise ValueError(f"weight must be a finite positive number, got {weight!r}.")
        self.weight = float(weight)

    # Not `call`: before that, Keras would turn the distribution into a tensor.
    def __call__(self, y_true, y_pred, sample_weight=None):
        """
        Args:
          y_true: [B, ...], N numbers an example.
          y_pred: a low-rank normal with batch [B] and event [N] whose factor has orthogonal
            columns, as `WrappedPredictor` emits it with objective="components".
          sample_weight: [B], [B, 1] or None.

        Raises:
          ValueError: y_pred has no factor, or a size does not fit.
        """
        value = event_targets.show(y_true, y_pred, type(self).__name__)
        if not hasattr(y_pred, "cov_factor"):
            raise ValueError(
                "PosteriorComponents needs a low-rank normal, as a model of `wrap` with "
                f"objective='components' emits; y_pred is a {type(y_pred).__name__}."
            )
        losses = self._losses(value, y_pred)
        weights = event_targets.as_weights(sample_weight, losses)
        return super().__call__(tf.zeros_like(losses), losses, weights)

    def _losses(self, value, p):
        error = tf.stop_gradient(value - p.mean())
        columns = p.cov_factor
        power = tf.reduce_sum(tf.square(columns), -2)
        units = columns * tf.math.rsqrt(power + 1e-30)[..., tf.newaxis, :]
        along = tf.einsum("bnr,bn->br", units, error)
        size = tf.reduce_sum(tf.square(error), -1)
        explained = tf.math.divide_no_nan(tf.reduce_sum(tf.square(along), -1), size)

        total, count = replicas.global_sum((tf.reduce_sum(size), tf.cast(tf.size(size), p.dtype)))
        unit = tf.maximum(total / count, 1e-30)
        wanted = tf.square(tf.stop_gradient(along))
        second = tf.reduce_sum(tf.square((power - wanted) / unit), -1)

        left = error - tf.stop_gradient(tf.einsum("bnr,br->bn", units, along))
        diag = tf.broadcast_to(p.cov_diag, tf.shape(left))
        share = 1.0 - tf.cast(tf.shape(columns)[-1], p.dtype) / tf.cast(tf.shape(left)[-1], p.dtype)
        noise = tf.reduce_mean(share * tf.math.log(diag) + tf.square(left) / diag, -1) / 2.0
        return 1.0 - explained + self.weight * second + noise

    def get_config(self):
        return {**super().get_config(), "weight": self.weight}

    def call(self, y_true, y_pred):
        """The losses, which `__call__` has computed.

        Args:
          y_true: zeros, [B].
          y_pred: of each example, [B].
        """
        return y_pred
