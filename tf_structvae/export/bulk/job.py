"""A job of many images in shards, which goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tf_structvae.utilities import checks, remote_files

_JOB = "job.json"
_SHARDS = "shards"


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be made, and where.

    Image k of the job is in shard k // shard_size. A shard is done when its record is there,
    which is written after its images, so that a process may be killed at any time. All paths may be
    of any file system that `tf.io.gfile` knows.

    Attributes:
      directory: of the results.
      count: of images.
      shard_size: images of one shard.
      settings: all that decides the results, as JSON.
    """

    directory: str
    count: int
    shard_size: int
    settings: dict[str, Any]

    def __post_init__(self):
        """
        Raises:
          ValueError: a number below one.
        """
        checks.integer("count", self.count)
        checks.integer("shard_size", self.shard_size)

    @property
    def shards(self) -> int:
        """Their number."""
        return -(-self.count // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """The first image of a shard, and the first that is behind it."""
        first = shard * self.shard_size
        return first, min(first + self.shard_size, self.count)

    def path(self, *parts: str) -> str:
        """Of a file of the job."""
        return tf.io.gfile.join(self.directory, *parts)

    def file(self, name: str, shard: int, suffix: str) -> str:
        """The path of a shard's file."""
        return self.path(f"{name}-{shard:05d}-of-{self.shards:05d}{suffix}")

    def _record(self, shard: int) -> str:
        return self.path(_SHARDS, f"{shard:05d}.json")

    def begin(self) -> list[int]:
        """Takes possession of the directory.

        Returns:
          The shards that are still to be made.

        Raises:
          ValueError: it holds another job.
          OSError: it cannot be written.
        """
        about = {"count": self.count, "shard_size": self.shard_size, **self.settings}
        about = json.loads(json.dumps(about))
        path = self.path(_JOB)
        try:
            tf.io.gfile.makedirs(self.path(_SHARDS))
            if tf.io.gfile.exists(path):
                self._check_same(json.loads(remote_files.read(path)), about)
            else:
                remote_files.write(path, (json.dumps(about, indent=1) + "\n").encode())
        except tf.errors.OpError as error:
            raise OSError(f"output {self.directory} cannot be written: {error.message}") from error
        for left in tf.io.gfile.glob(
            self.path(f"{remote_files.PARTIAL}*")
        ):  # of a process that was killed
            tf.io.gfile.remove(left)
        done = self._done()
        return [k for k in range(self.shards) if k not in done]

    def _check_same(self, there: dict[str, Any], about: dict[str, Any]) -> None:
        changed = [
            f"  {k}: {there.get(k)!r} -> {about.get(k)!r}"
            for k in sorted({*there, *about})
            if there.get(k) != about.get(k)
        ]
        if changed:
            raise ValueError(
                "\n".join(
                    [
                        f"output {self.directory} holds another job; give another one, or the same "
                        "settings to go on with it:",
                        *changed,
                    ]
                )
            )

    def _done(self) -> set[int]:
        names = tf.io.gfile.listdir(self.path(_SHARDS))
        return {int(n[:-5]) for n in names if n.endswith(".json") and n[:-5].isdecimal()}

    def images_done(self) -> int:
        """How many images of the job are in shards that are done."""
        return sum(b - a for a, b in map(self.bounds, self._done()))

    def finish(self, shard: int, left_out: Sequence[dict[str, Any]] = ()) -> None:
        """Says that a shard is there.

        Args:
          shard: its number.
          left_out: {"image": number, "name": ..., "reason": ...} of the images that it lacks.
        """
        first, last = self.bounds(shard)
        about = {"first": first, "images": last - first - len(left_out), "left_out": list(left_out)}
        remote_files.write(self._record(shard), (json.dumps(about) + "\n").encode())

    def left_out(self) -> list[dict[str, Any]]:
        """Images that the shards that are done lack, in their order."""
        found = (json.loads(remote_files.read(self._record(k))) for k in sorted(self._done()))
        return [image for record in found for image in record["left_out"]]
