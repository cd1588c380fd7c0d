"""Losses for plain `compile` and `fit` of networks that end in a distribution."""

from __future__ import annotations

import keras
import tensorflow as tf
import tensorflow_probability as tfp


@keras.saving.register_keras_serializable(package="tf_structvae")
class NegativeLogLikelihood(keras.losses.Loss):
    """Mean of -log p(y_true), nats per example, for a network whose output is a distribution p."""

    def __init__(self, name: str = "negative_log_likelihood", **kwargs):
        super().__init__(name=name, **kwargs)

    # Not `call`: before that, Keras would turn the distribution into a tensor.
    def __call__(self, y_true, y_pred, sample_weight=None):
        """
        Args:
          y_true: [B, ...], as many numbers an example as the event of y_pred has entries.
          y_pred: a distribution with batch [B] and event [N].
          sample_weight: [B] or None.

        Raises:
          TypeError: y_pred is no distribution.
          ValueError: shapes that do not fit each other.
        """
        if not isinstance(y_pred, tfp.distributions.Distribution):
            raise TypeError(
                "y_pred must be a distribution, as a head of tf_structvae.layers emits at the end "
                f"of a network, got {type(y_pred).__name__}."
            )
        y_true = tf.cast(y_true, y_pred.dtype)
        self._check(y_true.shape, y_pred)
        flat = tf.reshape(y_true, [tf.shape(y_true)[0], y_pred.event_shape[0]])
        losses = -y_pred.log_prob(flat)
        if sample_weight is not None:
            weights = tf.reshape(tf.cast(sample_weight, losses.dtype), [-1])
            if not weights.shape.is_compatible_with(losses.shape):
                raise ValueError(
                    f"sample_weight must be {losses.shape.as_list()}, a number an example, got "
                    f"{tf.convert_to_tensor(sample_weight).shape}."
                )
            losses *= weights
        return tf.reduce_mean(losses)

    def _check(self, given: tf.TensorShape, p) -> None:
        """Refuses targets that are not those of the distributions, as far as shapes are static."""
        if given.rank is None:
            return
        size, batch = p.event_shape[0], p.batch_shape
        entries = given[1:].num_elements()
        if not given.rank or (None not in (size, entries) and size != entries):
            raise ValueError(
                f"y_true must be [B, ...] with {size} numbers an example, as many as the predicted "
                f"distribution has entries, got {given}."
            )
        if not given[:1].is_compatible_with(batch):
            raise ValueError(
                f"y_true must have the batch of y_pred, {batch.as_list()}, got "
                f"{given[:1].as_list()}."
            )
