"""How the rows of a shard are kept: pictures, arrays, or records."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tf_structvae.export.bulk.job import Job
from tf_structvae.utilities.remote_files import write, write_whole


def write_pictures(
    job: Job, kind: str, shard: int, numbers: Sequence[int], images: np.ndarray
) -> None:
    """Pictures of a shard.

    "png": NUMBER.png each, 8 bits; "numpy": one .npz a shard with "images", float32
    [n, H, W, C], and "numbers"; "tfrecord": one file a shard of examples with "image", an encoded
    PNG, and "number".

    Args:
      job: whose settings name the format.
      kind: how the files of shards are called.
      shard: its number.
      numbers: of the images in the job.
      images: [n, H, W, C] in [0, 1].
    """
    kept = job.settings["format"]
    if kept == "numpy":
        write_arrays(job, kind, shard, {"numbers": np.asarray(numbers, np.int64), "images": images})
        return
    encoded = [encode(x) for x in images]
    if kept == "png":
        for number, data in zip(numbers, encoded, strict=True):
            write(job.path(f"{number:08d}.png"), data)
        return
    rows = [
        {"image": _bytes(data), "number": _integers([number])}
        for number, data in zip(numbers, encoded, strict=True)
    ]
    write_records(job.file(kind, shard, ".tfrecord"), rows)


def encode(image: np.ndarray) -> bytes:
    """A PNG of 8 bits of a picture [H, W, C] in [0, 1], rounded to the nearest."""
    return tf.io.encode_png(np.rint(255.0 * np.clip(image, 0.0, 1.0)).astype(np.uint8)).numpy()


def write_arrays(job: Job, kind: str, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
    """One .npz of a shard; NumPy's files hold no time, so equal arrays are equal files."""
    out = io.BytesIO()
    np.savez(out, **dict(arrays))  # type: ignore[arg-type]
    write(job.file(kind, shard, ".npz"), out.getvalue())


def array_rows(arrays: Mapping[str, np.ndarray]) -> list[dict[str, tf.train.Feature]]:
    """Rows of arrays [n, ...] as features of examples: texts, integers or floats, flattened."""
    found = []
    for k in range(len(next(iter(arrays.values())))):
        row = {}
        for name, values in arrays.items():
            value = np.atleast_1d(values[k]).reshape(-1)
            if values.dtype.kind == "U":
                row[name] = _bytes(str(value[0]).encode())
            elif values.dtype.kind in "iu":
                row[name] = _integers(value)
            else:
                row[name] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        found.append(row)
    return found


def write_records(path: str, rows: Sequence[Mapping[str, tf.train.Feature]]) -> None:
    """One TFRecord file of examples."""

    def put(partial: str) -> None:
        with tf.io.TFRecordWriter(partial) as writer:
            for row in rows:
                example = tf.train.Example(features=tf.train.Features(feature=row))
                writer.write(example.SerializeToString(deterministic=True))

    write_whole(path, put)


def _bytes(data: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))


def _integers(values) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(v) for v in values]))
