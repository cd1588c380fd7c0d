"""The loss of stochastic segmentation networks."""

from __future__ import annotations

import keras
import tensorflow as tf

from tf_structvae.distributions.label_maps import LogitNormalLabelMap
from tf_structvae.models import event_targets


@keras.saving.register_keras_serializable(package="tf_structvae")
class SegmentationLogLikelihood(keras.losses.Loss):
    """Mean of -log p(labels), nats per image, of a network that ends in `LowRankSegmentationHead`.

    Labels are integers [B, *S], or [B, *S, A] of A annotators, whose log-probabilities are
    averaged; pixels with a negative label, or the head's `ignored`, do not count, nor does a map of
    them alone. Of a map whose
    last position is 1 wide, as [B, H, 1], an axis of one annotator has to be given.

    Args:
      name: of the loss.
      **kwargs: of `keras.losses.Loss`.
    """

    def __init__(self, name: str = "segmentation_log_likelihood", **kwargs):
        super().__init__(name=name, **kwargs)

    # Not `call`: before that, Keras would turn the distribution into a tensor.
    def __call__(self, y_true, y_pred, sample_weight=None):
        """
        Args:
          y_true: int [B, *S] or [B, *S, A].
          y_pred: what the head emits.
          sample_weight: [B], [B, 1] or None.

        Raises:
          ValueError: y_pred is of another kind, or labels of another size.
        """
        if not isinstance(y_pred, LogitNormalLabelMap):
            raise ValueError(
                "SegmentationLogLikelihood needs a model that ends in LowRankSegmentationHead; "
                f"y_pred is a {type(y_pred).__name__}."
            )
        labels = tf.convert_to_tensor(y_true)
        size = y_pred.event_shape[0]
        known = None if size is None else labels.shape[1:].num_elements()
        if known is not None and known % size:
            raise ValueError(
                f"y_true must be [B, *S] or [B, *S, A] with {size} pixels an image, got "
                f"{labels.shape}."
            )
        batch = tf.shape(labels)[0]
        by_annotator = tf.reshape(labels, [batch, y_pred.event_shape_tensor()[0], -1])
        counted = (by_annotator >= 0) & (by_annotator != y_pred.ignored)
        present = tf.cast(tf.reduce_any(counted, 1), y_pred.logits.dtype)  # [B, A]
        found = tf.reduce_sum(present * y_pred.log_likelihoods(by_annotator), -1)
        losses = -found / tf.maximum(tf.reduce_sum(present, -1), 1.0)
        weights = event_targets.as_weights(sample_weight, losses)
        return super().__call__(tf.zeros_like(losses), losses, weights)

    def call(self, y_true, y_pred):
        """The losses, which `__call__` has computed.

        Args:
          y_true: zeros, [B].
          y_pred: of each image, [B].
        """
        return y_pred
