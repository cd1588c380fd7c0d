"""The images that targets are suggested from: the first of a split, as training shows them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from tqdm.auto import tqdm

from tf_structvae.datasets import pipeline
from tf_structvae.datasets.source import Source

_BATCH = 100


def first_images(source: Source, count: int, flip: bool) -> Iterator[np.ndarray]:
    """Batches [B, H, W, C] of the first `count` images; `flip` adds their mirror images to each."""
    count = min(count, source.count)
    with tqdm(total=count, desc="reading", unit="image", dynamic_ncols=True) as bar:
        for batch in pipeline.evaluation_batches(source.take(count), _BATCH):
            images = batch.numpy()
            yield images
            if flip:
                yield images[:, :, ::-1]
            bar.update(len(images))


def within_classes(source: Source, count: int, flip: bool, label: str) -> np.ndarray:
    """What the label leaves open: each image less the mean of its class.

    Returns:
      [count, H, W, C], twice as many with `flip`.
    """
    images = list(first_images(source, count, flip))
    labels = pipeline.labels(source.take(count), label)
    starts = range(0, len(labels), _BATCH)
    each = np.concatenate([labels[i : i + _BATCH] for i in starts for _ in range(1 + flip)])
    found = np.concatenate(images)
    for k in np.unique(each):
        found[each == k] -= found[each == k].mean(0)
    return found
