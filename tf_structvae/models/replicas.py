"""What is the same on every replica: sums over the global batch, and noise by place in it."""

from __future__ import annotations

import keras
import tensorflow as tf


def check_variables(*variables: keras.Variable) -> None:
    """Refuses variables that this strategy would keep apart on each replica.

    Raises:
      ValueError: a variable was made outside `strategy.scope()`.
    """
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return
    for v in variables:
        if not strategy.extended.variable_created_in_scope(v.value):
            raise ValueError(
                f"the variable {v.path} was made outside strategy.scope(), so each replica would "
                "update it on its own: make constraints within the scope, as the networks."
            )


def check_compiler(jit_compile: bool | str, strategy: tf.distribute.Strategy) -> None:
    """Refuses XLA on several replicas, which Keras cannot do with any model.

    Raises:
      ValueError: jit_compile is True and the strategy has several replicas.
    """
    count = strategy.num_replicas_in_sync
    if jit_compile is True and count > 1:
        raise ValueError(
            f"jit_compile must be False on {count} replicas, got True: Keras compiles the step of "
            "all replicas for the first one's device, where XLA cannot reach the others' variables."
        )


class GlobalMean(keras.metrics.Mean):
    """A mean that every replica updates with the same values, those of the global batch.

    Its value is that of the first replica, so one worker can read or save it without the others.
    """

    def add_variable(self, *args, **kwargs):
        return super().add_variable(*args, **{**kwargs, "aggregation": "only_first_replica"})


def noise_of_global_batch(samples, batch, size, seed):
    """Normal noise [samples, B, L] that belongs to an image's place in the global batch.

    So the same images get the same noise on one device and on several.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.random.stateless_normal([samples, batch, size], seed)
    batches = context.all_gather(batch[tf.newaxis], axis=0)
    offset = tf.cumsum(batches, exclusive=True)[context.replica_id_in_sync_group]
    noise = tf.random.stateless_normal([samples, tf.reduce_sum(batches), size], seed)
    return noise[:, offset : offset + batch]


def global_sum(x):
    """The sum over replicas of tensors in any nest, constants for the gradient."""
    x = tf.nest.map_structure(tf.stop_gradient, x)
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1 and tf.nest.flatten(x):
        return context.all_reduce(tf.distribute.ReduceOp.SUM, x)
    return x
