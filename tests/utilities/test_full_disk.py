"""What is told of a full disk: that no space is left, for which file. /dev/full is such a disk."""

import errno
import os
from types import SimpleNamespace

import forked
import pytest
import tensorflow as tf
from matplotlib.figure import Figure
from small_checkpoints import save_steps

from tf_structvae.programs import command
from tf_structvae.training import callbacks, run_state, workdir
from tf_structvae.training import config as config_lib
from tf_structvae.utilities import files

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")


def fill(path):
    """Lets the disk be full when a file is written."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.with_name(f".{os.getpid()}-{path.name}").symlink_to("/dev/full")


def write_log(folder):
    log = callbacks.CsvLog(folder / "log.csv")
    log.set_model(SimpleNamespace(steps=tf.Variable(3)))
    log.on_epoch_end(0, {"loss": 1.0})


WRITERS = {
    "config.json": lambda folder: workdir.write_config(folder, config_lib.default()),
    "log.csv": write_log,
    "picture.png": lambda folder: files.save_figure(Figure(), folder / "picture.png"),
    "scores.json": lambda folder: files.write_whole(folder / "scores.json", "{}"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_is_named_and_the_one_before_stays(name, tmp_path):
    (tmp_path / name).write_text("step\n")
    fill(tmp_path / name)
    with pytest.raises(OSError, match="No space left on device") as error:
        WRITERS[name](tmp_path)
    assert error.value.filename == str(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "step\n"
    told = command._told(error.value, None)
    assert told.startswith("no space left on the disk; what it held is untouched.\n")
    assert str(tmp_path / name) in told


def test_checkpoint(tmp_path, monkeypatch):
    """TensorFlow has an error of its own, which says so at the end of a long text."""
    _, checkpoints = save_steps(tmp_path, [1])

    def write(path):
        raise tf.errors.ResourceExhaustedError(
            None, None, f"{path}{300 * 'x'}; No space left on device"
        )

    monkeypatch.setattr(run_state, "trackable", lambda model: SimpleNamespace(write=write))
    with pytest.raises(OSError, match=r"step 2 cannot be written to .*: no space left") as error:
        checkpoints.save(2)
    told = command._told(error.value, None)
    assert told.startswith("no space left on the disk; what it held is untouched.\nthe checkpoint")
    assert "The last checkpoint, of step 1, is untouched." in told


def test_other_errors_are_told_as_they_are():
    error = OSError(errno.EACCES, "Permission denied", "a")
    assert not files.is_full(error)
    assert command._told(error, None) == "[Errno 13] Permission denied: 'a'"
    memory = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    assert not files.is_full(memory)
    assert command._told(memory, None) is None  # the program's own: a traceback
    assert files.is_full(OSError(errno.EDQUOT, "Disk quota exceeded"))


TRAIN = """
import os, pathlib, runpy, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
(folder / f".{os.getpid()}-config.json").symlink_to("/dev/full")
sys.argv = ["bin/train", "--config=configs/smoke.py", f"--workdir={folder}", *sys.argv[2:]]
runpy.run_path("bin/train", run_name="__main__")
"""


def test_the_program_ends_with_one_message(tmp_path, data_dir):
    done = forked.run(
        "-c", TRAIN, tmp_path / "run", f"--config.data.dir={data_dir}", "--nopreflight"
    )
    assert done.returncode == 2, done.stderr
    assert "error: no space left on the disk; what it held is untouched.\n" in done.stderr
    assert f"No space left on device: '{tmp_path / 'run/config.json'}'\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run").iterdir()) == []
