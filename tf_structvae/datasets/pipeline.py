"""From examples with an integer image to batches of float images in [0, 1]."""

from __future__ import annotations

import tensorflow as tf

# Below this size the decoded images of a training set are kept in memory.
CACHE_BYTES = 2 << 30
SHUFFLE_BUFFER = 10_000


def to_float(example: dict) -> tf.Tensor:
    """uint8 image [H, W, C] of an example -> float32 in [0, 1]."""
    return tf.cast(example["image"], tf.float32) / 255.0


def evaluation_batches(examples: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """One ordered pass, the last batch possibly smaller."""
    images = examples.map(to_float, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return images.batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _shuffle(dataset, count: int, number: int, seed: int, buffer: int) -> tf.data.Dataset:
    """The order of pass `number`."""
    return dataset.shuffle(min(buffer, count), seed=seed * 1_000_003 + number)


def batch_indices(
    count: int, batch_size: int, step: int, seed: int, shuffle_buffer: int = SHUFFLE_BUFFER
) -> list[int]:
    """Which examples, by their place in the split, `training_batches` delivers at a step."""
    number, place = divmod(step, count // batch_size)
    order = _shuffle(tf.data.Dataset.range(count), count, number, seed, shuffle_buffer)
    batch = order.batch(batch_size).skip(place).take(1)
    return next(batch.as_numpy_iterator()).tolist()


def training_batches(
    examples: tf.data.Dataset,
    count: int,
    batch_size: int,
    steps: int,
    seed: int,
    start_step: int = 0,
    flip: bool = False,
    shuffle_buffer: int = SHUFFLE_BUFFER,
) -> tf.data.Dataset:
    """Shuffled batches whose content at a step depends on the seed and the step alone.

    Args:
      examples: one pass over `count` examples with a uint8 "image" [H, W, C].
      count: number of examples; at least batch_size.
      batch_size: images in a batch; the rest of each pass is left out.
      steps: the step before which the batches end.
      seed: of order and flips.
      start_step: the first step to deliver, so that a resumed run goes on where it stopped.
      flip: mirror half of the images.
      shuffle_buffer: how many examples are shuffled at once.

    Raises:
      ValueError: fewer examples than batch_size.
    """
    if count < batch_size:
        raise ValueError(f"batch_size {batch_size} is more than the {count} training examples.")
    images = examples.map(
        lambda e: e["image"], num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    if count * images.element_spec.shape.num_elements() <= CACHE_BYTES:
        images = images.cache()
    steps_per_pass = count // batch_size

    def one_pass(number: int) -> tf.data.Dataset:
        shuffled = _shuffle(images, count, number, seed, shuffle_buffer)
        numbered = shuffled.enumerate(start=number * count)
        return numbered.batch(batch_size, drop_remainder=True)

    first = start_step // steps_per_pass
    batches = one_pass(first).skip(start_step % steps_per_pass)
    for number in range(first + 1, -(-steps // steps_per_pass)):
        batches = batches.concatenate(one_pass(number))

    def prepare(numbers, batch):
        batch = tf.cast(batch, tf.float32) / 255.0
        if not flip:
            return batch
        draws = tf.map_fn(
            lambda i: tf.random.stateless_uniform([], [seed, i]),
            numbers,
            fn_output_signature=tf.float32,
        )
        return tf.where(draws[:, None, None, None] < 0.5, batch, tf.reverse(batch, axis=[2]))

    batches = batches.take(steps - start_step)
    return batches.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
