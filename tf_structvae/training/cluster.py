"""Where a model trains: on one device, on all of this machine, or on several machines.

With several machines every worker runs the same program. Worker 0, the chief, is the only one that
writes to the work directory.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tf_structvae.datasets import pipeline
from tf_structvae.training import tf_config

STRATEGIES = ("none", "mirrored", "multi_worker")


def build_strategy(name: str) -> tf.distribute.Strategy:
    """How to train.

    "none": on one device;
    "mirrored": on all devices of this machine, by MirroredStrategy;
    "multi_worker": on all devices of the workers in TF_CONFIG, by MultiWorkerMirroredStrategy;
      comes back when all workers are there, and must be built before any other TensorFlow object.

    Raises:
      ValueError: an unknown name, or a TF_CONFIG that names no cluster.
    """
    if name not in STRATEGIES:
        raise ValueError(f"distribute must be one of {STRATEGIES}, got {name!r}.")
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "multi_worker":
        tf_config.check(os.environ.get("TF_CONFIG"))
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([d.name for d in devices])


def _workers(strategy: tf.distribute.Strategy) -> tuple[int, int]:
    """(index of this worker, number of workers)."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    resolver = strategy.cluster_resolver
    return resolver.task_id, resolver.cluster_spec().num_tasks("worker")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process is the one that writes."""
    return _workers(strategy)[0] == 0


def count(strategy: tf.distribute.Strategy) -> int:
    """The number of workers."""
    return _workers(strategy)[1]


def gather(strategy: tf.distribute.Strategy, value: int) -> list[int]:
    """`value` of every replica, in their order; waits for all workers."""
    return _gathered(strategy, [value])[:, 0].tolist()


def _gathered(strategy: tf.distribute.Strategy, row: Sequence[int]) -> np.ndarray:
    """The rows [K] of all replicas, of one length everywhere, [replicas, K]."""
    if count(strategy) == 1:
        return np.array([row])
    return _gathering(strategy)(tf.constant(row, tf.int32)).numpy()


@functools.lru_cache(maxsize=1)
def _gathering(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)])
    def rows(row):
        return strategy.gather(strategy.run(lambda: row[tf.newaxis]), axis=0)

    return rows


def check_same(strategy: tf.distribute.Strategy, about: Callable[[], str]) -> None:
    """Refuses workers that differ in what they are about to do; waits for all of them.

    Args:
      strategy: see `build_strategy`.
      about: gives what should be the same on all workers, in words; not called for one.

    Raises:
      ValueError: on every worker, with the words of each.
    """
    if count(strategy) == 1:
        return
    own = about().encode()
    padded = own.ljust(max(_gathered(strategy, [len(own)])[:, 0]), b"\0")
    per_worker = strategy.num_replicas_in_sync // count(strategy)
    rows = _gathered(strategy, list(padded))[::per_worker]
    told = [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows]
    if len(set(told)) > 1:
        lines = [f"  worker {i}: {words}" for i, words in enumerate(told)]
        raise ValueError("\n".join(["the workers differ, and would not train one model:", *lines]))


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Runs the body on the chief, then on the other workers.

    Raises:
      ConnectionError: on the others, if the body raised an exception on the chief.
    """
    if not is_chief(strategy):
        if not all(gather(strategy, 1)):
            raise ConnectionError("worker 0 failed; its messages say why.")
        yield
        return
    try:
        yield
    except Exception:
        gather(strategy, 0)
        raise
    gather(strategy, 1)


@contextlib.contextmanager
def losses_named(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Turns TensorFlow's error about a worker that is gone into one line.

    Raises:
      ConnectionError: another worker is gone.
    """
    try:
        yield
    except tf.errors.UnavailableError as error:
        if _workers(strategy)[1] == 1:
            raise
        raise ConnectionError(
            "another worker is gone; its own messages say why. Start all of them again with "
            "--resume to go on from the last checkpoint."
        ) from error


def split(batches: tf.data.Dataset, replicas: int) -> tf.data.Dataset:
    """The parts of each batch for `replicas`, one after another; see `pipeline.part`."""
    if replicas == 1:  # keeps the number of batches known
        return batches
    numbers = tf.data.Dataset.range(replicas)

    def parts(*batch):  # images and labels come apart
        whole = batch if len(batch) > 1 else batch[0]
        return numbers.map(lambda r: pipeline.part(whole, (r, replicas)))

    return batches.flat_map(parts)


def distribute(
    strategy: tf.distribute.Strategy, batches: Callable[[tuple[int, int]], tf.data.Dataset]
):
    """What `fit` takes, every worker with its part of the same global batch.

    With one worker it is `fit` that splits batches.

    Args:
      strategy: see `build_strategy`.
      batches: (index, count) of a worker -> its parts of the global batches.
    """
    if _workers(strategy)[1] == 1:
        return batches((0, 1))

    def of_this_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        shard = (context.input_pipeline_id, context.num_input_pipelines)
        return split(batches(shard), context.num_replicas_in_sync // shard[1])

    return strategy.distribute_datasets_from_function(of_this_worker)
