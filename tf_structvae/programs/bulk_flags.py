"""The flags that bin/generate and bin/embed share, and what they say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from absl import flags

from tf_structvae.programs.runner_flags import RunnerFlags, resumable

if TYPE_CHECKING:
    from tf_structvae.export.bulk.inputs import Folder, Records
    from tf_structvae.export.loading.model import LoadedModel

flags.disclaim_key_flags()  # they are those of the program that makes them


class BulkFlags:
    """Made once, where a program is imported."""

    def __init__(self) -> None:
        self.model = flags.DEFINE_string(
            "model", "demo", "What `sv.load` opens: an export, a run, a file."
        )
        self._output = flags.DEFINE_string("output", None, "Where the files go.", required=True)
        self.shard_size = flags.DEFINE_integer(
            "shard_size", 256, "Images of one shard.", lower_bound=1
        )
        self.seed = flags.DEFINE_integer("seed", 0, "Of all noise.")
        self._images = flags.DEFINE_string("images", None, "A folder of image files.")
        self._data = flags.DEFINE_string(
            "data", None, "A data set instead of a folder, such as avatars."
        )
        self._split = flags.DEFINE_string("split", "test", "Of --data.")
        self._data_dir = flags.DEFINE_string("data_dir", None, "Of the records of --data.")
        self._fit = flags.DEFINE_enum(
            "fit", "crop", ["crop", "pad", "stretch"], "How images of another size are fitted."
        )
        self._background = flags.DEFINE_string(
            "background", "white", "Behind transparent parts of files."
        )
        self._label = flags.DEFINE_string(
            "label", None, "Of a conditional model: a class, or its number."
        )
        self._runner = RunnerFlags()

    @property
    def output(self) -> str:
        """Where the files go, for processes that may work in another directory."""
        return _absolute(self._output.value)

    def inputs(self, model: LoadedModel) -> Folder | Records | None:
        """The images that the flags name, fitted to a model.

        Raises:
          ValueError: both kinds are named.
        """
        import tensorflow as tf

        from tf_structvae.export.bulk.inputs import Folder, Records

        shape, fit = model.image_shape, self._fit.value
        if self._images.value and self._data.value:
            raise ValueError("--images or --data must be given, not both.")
        if self._images.value:
            folder = _absolute(self._images.value)
            if not tf.io.gfile.isdir(folder):
                raise ValueError(f"--images must be a folder of images, got {folder!r}.")
            return Folder(folder, shape, fit, self._background.value)
        if self._data.value:
            spec: dict[str, Any] = {
                "name": self._data.value,
                "data_dir": self._data_dir.value,
                "fit": fit,
            }
            spec |= {"image_size": shape[:2], "channels": shape[2]}
            return Records(tuple(spec.items()), self._split.value, shape)
        return None

    def label(self, model: LoadedModel) -> int | None:
        """The number of the class that --label names.

        Raises:
          ValueError: none of the model's.
        """
        known, given = model.classes, self._label.value
        if not known and given is None:
            return None
        if given in known:
            return known.index(given)
        if known and given is not None and given.isdecimal() and int(given) < len(known):
            return int(given)
        allowed = f"one of {', '.join(known)}" if known else "left out: the model has no classes"
        raise ValueError(f"--label must be {allowed}; got {given!r}.")

    def run(self, work: Any, label: str) -> None:
        """Makes the shards of a job that are missing, and says what was left out.

        Args:
          work: a `Generate` or an `Embed`.
          label: of the progress bar.
        """
        from tf_structvae.utilities import pipelines

        job, runner = work.job, self._runner.runner()
        missing = job.begin()
        if len(missing) < job.shards:
            print(f"{job.shards - len(missing)} of {job.shards} shards are there.")
        with resumable():
            pipelines.run(work, missing, runner, job.images_done, job.count, label)
        left_out = job.left_out()
        for image in left_out[:10]:
            print(f"left out  {image['name']}: {image['reason']}")
        if len(left_out) > 10:
            print(f"          and {len(left_out) - 10} more, see {job.path('shards')}")
        print(f"{label:<9} {job.count - len(left_out)} images in {job.directory}")


def _absolute(path: str) -> str:
    return path if "://" in path else os.path.abspath(os.path.expanduser(path))
