"""What the making of records leaves behind, and what it tells, when it does not end well."""

import errno
import os

import pytest
import tensorflow as tf
from filelock import FileLock

from tf_structvae import datasets
from tf_structvae.datasets import preparation, registry
from tf_structvae.training import config as config_lib
from tf_structvae.training import workdir
from tf_structvae.training.preflight import of_run

SPEC = {"name": "avatars", "variant": "16x16_tiny"}


def opened(tmp_path, prepare, **changes):
    found = registry.open(datasets.Spec(**SPEC, data_dir=str(tmp_path)))
    return found._replace(prepare=prepare, **changes)


def full(kind):
    """As TFDS wraps what TensorFlow raises, or as NumPy does."""

    def prepare(builder):
        if kind == "numpy":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            raise tf.errors.ResourceExhaustedError(
                None, None, "a.tfrecord; No space left on device"
            )
        except tf.errors.OpError as error:
            raise RuntimeError(f"{error} Failed to finalize") from error

    return prepare


@pytest.mark.parametrize("kind", ["tensorflow", "numpy"])
def test_a_full_disk_is_one_error(kind, tmp_path):
    directory = f"{tmp_path}/avatars/16x16_tiny/1.0.0"
    with pytest.raises(OSError, match=f"records of avatars do not fit.*{directory}.*data_dir"):
        preparation.built(opened(tmp_path, full(kind)))


def test_other_errors_stay_what_they_are(tmp_path):
    def prepare(builder):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match=r"^broken$"):
        preparation.built(opened(tmp_path, prepare))


def left_over(folder):
    """As a killed preparation leaves them."""
    (folder / "incomplete.AB12CD_1.0.0").mkdir(parents=True)
    (folder / "incomplete.AB12CD_1.0.0/avatars-train.tfrecord").write_bytes(b"half")
    return folder / "incomplete.AB12CD_1.0.0"


def test_what_killed_preparations_left_is_removed(tmp_path):
    """Also that of other variants, unless it is another process's that is at work."""
    root = tmp_path / "avatars"
    own, other, busy = (left_over(root / v) for v in ("16x16_tiny", "32x32", "64x64"))
    elsewhere = left_over(tmp_path / "brains/48x48")
    seen = []

    def prepare(builder):
        seen.append([p.exists() for p in (own, other, busy, elsewhere)])

    with FileLock(root / "64x64/1.0.0.lock"):
        preparation.built(opened(tmp_path, prepare))
    assert seen.pop() == [False, False, True, True]
    left_over(own.parent)
    preparation.built(opened(tmp_path, prepare, own=False))  # perhaps TFDS is at work there
    assert seen.pop()[0]


@pytest.mark.parametrize("name", ["celeb_a", "ukbb", "image_folder"])
def test_preflight_looks_for_the_files(name, tmp_path):
    config = config_lib.default()
    config.data.update({"name": name, "image_size": (218, 178), "dir": str(tmp_path)})
    config.data.manual_dir = str(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"manual_dir '.*nowhere' (does not|is not)"):
        of_run.check_config(config, "none", 0.0, "if_large")


def test_a_run_with_fields_that_had_no_effect_can_be_read(tmp_path):
    config = config_lib.default()
    config.data.nifti.axis = "coronal"
    with pytest.raises(ValueError, match=r"config\.data: nifti\.axis must be 'axial' for avatars"):
        config_lib.validate(config)
    workdir.write_config(tmp_path, config)
    config_lib.validate(workdir.read_config(tmp_path))
