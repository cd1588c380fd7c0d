"""Normal noise whose rows depend on their own seed alone, whatever batch they come in."""

from __future__ import annotations

import tensorflow as tf

# Streams of one seed, so that the noise of a score is not that of the picture that it scores.
SAMPLE, CONDITION, LOG_PROB, PRIOR = range(4)


def normal_rows(seeds: tf.Tensor, size: int, stream: int = SAMPLE) -> tf.Tensor:
    """Standard normal [B, size].

    Args:
      seeds: int32 [B, 2].
      size: of each row.
      stream: one of this module's; different ones of a seed are independent.
    """

    def row(seed):
        if stream != SAMPLE:
            seed = tf.random.experimental.stateless_fold_in(seed, stream)
        return tf.random.stateless_normal([size], seed)

    return tf.map_fn(row, seeds, fn_output_signature=tf.TensorSpec([size], tf.float32))
