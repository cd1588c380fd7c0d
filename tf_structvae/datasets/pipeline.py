"""From encoded examples to batches of float images in [0, 1].

A training set whose decoded images are small is decoded once and kept; a larger one is shuffled as
it is encoded and decoded as it is used, so that memory does not grow with the number of images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tf_structvae.datasets.source import Source
from tf_structvae.utilities import checks

# Decoded training images up to so many bytes are kept in memory.
CACHE_BYTES = 512 << 20
# What is shuffled at once: so many examples, or so many bytes of them.
SHUFFLE_BUFFER = 10_000
SHUFFLE_BYTES = 256 << 20

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def is_cached(source: Source, cache_bytes: int = CACHE_BYTES) -> bool:
    """Whether `training_batches` keeps the decoded images."""
    height, width, channels = source.image_shape
    return source.count * height * width * channels <= cache_bytes


def shuffle_buffer(source: Source) -> int:
    """How many examples `training_batches` shuffles at once."""
    if is_cached(source):
        return min(source.count, SHUFFLE_BUFFER)
    fitting = int(SHUFFLE_BYTES / max(source.encoded_bytes, 1.0))
    return max(1, min(source.count, SHUFFLE_BUFFER, fitting))


def _fields(source: Source, attributes: bool, label: str) -> tf.data.Dataset:
    """Examples with their image, and the label or attributes of one shape if wanted."""
    if not attributes:
        wanted = ["image", label] if label else ["image"]
        return source.examples.map(lambda e: {name: e[name] for name in wanted})
    spec = source.examples.element_spec
    kept = [
        name
        for name, s in spec.items()
        if isinstance(s, tf.TensorSpec) and s.shape.is_fully_defined()
    ]
    return source.examples.map(lambda e: {name: e[name] for name in kept})


def _decode_one(source: Source) -> Callable[[dict], dict]:
    return lambda e: {**e, "image": source.decode(e["image"])}


def _decode_batch(source: Source) -> Callable[[dict], dict]:
    signature = tf.TensorSpec(source.image_shape, tf.uint8)

    def decode(batch: dict) -> dict:
        images = tf.map_fn(source.decode, batch["image"], fn_output_signature=signature)
        return {**batch, "image": images}

    return decode


def part(batch: Any, shard: tuple[Any, Any]) -> Any:
    """Worker i of n has the rows from ceil(B i / n) to ceil(B (i + 1) / n) of a batch of B.

    None, if there are fewer rows than workers.

    Args:
      batch: a tensor [B, ...] or a structure of them.
      shard: (i, n), numbers or scalar tensors.
    """
    index, count = shard
    size = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]
    first, end = (size * index + count - 1) // count, (size * (index + 1) + count - 1) // count
    return tf.nest.map_structure(lambda rows: rows[first:end], batch)


def check_shard(shard: tuple[int, int]) -> None:
    """
    Raises:
      ValueError: it is not (index, count) with 0 <= index < count.
    """
    if not 0 <= shard[0] < shard[1]:
        raise ValueError(f"shard must be (index, count) with 0 <= index < count, got {shard}.")


def _check_batch_size(batch_size: int, most: int | None = None) -> None:
    checks.integer("batch_size", batch_size)
    if most is not None and batch_size > most:
        raise ValueError(
            f"batch_size must be from 1 to the {most} training examples, got {batch_size}."
        )


def _finish(batch: dict) -> dict:
    return {**batch, "image": tf.cast(batch["image"], tf.float32) / 255.0}


def _delivered(batch: dict, attributes: bool, label: str):
    if attributes:
        return batch
    return (batch["image"], tf.cast(batch[label], tf.int32)) if label else batch["image"]


def evaluation_batches(
    source: Source,
    batch_size: int,
    shard: tuple[int, int] = (0, 1),
    attributes: bool = False,
    label: str = "",
) -> tf.data.Dataset:
    """One ordered pass, the last batch possibly smaller; nothing is augmented.

    Args:
      source: see `Source`.
      batch_size: images in a batch, over all shards.
      shard: (index, count) of the worker that gets its part of each batch.
      attributes: deliver dicts with "image" and the attributes; else images alone.
      label: an attribute; deliver (images, its int32 values [B]).
    """
    check_shard(shard)
    _check_batch_size(batch_size)
    decode = _decode_batch(source)
    batches = _fields(source, attributes, label).batch(batch_size)
    return batches.map(
        lambda b: _delivered(_finish(decode(part(b, shard))), attributes, label),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).prefetch(tf.data.AUTOTUNE)


def _passes(
    stream: tf.data.Dataset, first: int, last: int, count: int, batch_size: int, seed: int, buffer
) -> tf.data.Dataset:
    """Batches of (place, element) of the passes from `first` to before `last`, each shuffled."""

    def one_pass(number):
        tf.random.set_seed(
            1
        )  # of this function alone: the order depends on `seed` and nothing else
        shuffled = stream.shuffle(buffer, seed=seed * 1_000_003 + number)
        return shuffled.enumerate(number * count).batch(batch_size, drop_remainder=True)

    return tf.data.Dataset.range(first, last).flat_map(one_pass)


def batch_indices(source: Source, batch_size: int, step: int, seed: int) -> list[int]:
    """Which examples, by their place in the split, `training_batches` delivers at a step."""
    number, place = divmod(step, source.count // batch_size)
    examples = tf.data.Dataset.range(source.count)
    buffer = shuffle_buffer(source)
    batches = _passes(examples, number, number + 1, source.count, batch_size, seed, buffer)
    return next(batches.skip(place).take(1).as_numpy_iterator())[1].tolist()


def training_batches(
    source: Source,
    batch_size: int,
    steps: int,
    seed: int,
    start_step: int = 0,
    augment: Augment | None = None,
    shard: tuple[int, int] = (0, 1),
    attributes: bool = False,
    label: str = "",
) -> tf.data.Dataset:
    """Shuffled batches whose content at a step depends on the seed and the step alone.

    Args:
      source: see `Source`; has at least batch_size examples.
      batch_size: images in a batch, over all shards; the rest of each pass is left out.
      steps: the step before which the batches end.
      seed: of order and augmentation.
      start_step: the first step to deliver, so that a resumed run goes on where it stopped.
      augment: (float32 images [B, H, W, C] in [0, 1], int64 seeds [B, 2]) -> images of the same
        shape; see `augment`. A seed is that of one showing of one image.
      shard: (index, count) of the worker that gets its part of each batch.
      attributes: deliver dicts with "image" and the attributes; else images alone.
      label: an attribute; deliver (images, its int32 values [B]).

    Raises:
      ValueError: fewer examples than batch_size, or an impossible shard.
    """
    check_shard(shard)
    _check_batch_size(batch_size, source.count)
    checks.integer("start_step", start_step, 0)
    stream, decode = _fields(source, attributes, label), _decode_batch(source)
    if is_cached(source):
        one = _decode_one(source)
        stream = stream.map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).cache()
        decode = dict
    steps_per_pass = source.count // batch_size
    first, last = start_step // steps_per_pass, -(-steps // steps_per_pass)
    batches = _passes(
        stream, first, last, source.count, batch_size, seed, shuffle_buffer(source)
    ).skip(start_step % steps_per_pass)

    def prepare(places, batch):
        batch = _finish(decode(part(batch, shard)))
        if augment is not None:
            own = part(places, shard)
            seeds = tf.stack([tf.fill(tf.shape(own), tf.cast(seed, tf.int64)), own], axis=-1)
            batch["image"] = augment(batch["image"], seeds)
        return _delivered(batch, attributes, label)

    count = max(steps - start_step, 0)
    batches = batches.take(count).map(
        prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    # flat_map does not tell how many there are
    return batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(tf.data.AUTOTUNE)


def labels(source: Source, label: str) -> np.ndarray:
    """The values of an attribute of all examples, in their order, int64 [count]."""
    values = source.examples.map(lambda e: tf.cast(e[label], tf.int64)).batch(1000)
    return np.concatenate([*values.as_numpy_iterator()])
