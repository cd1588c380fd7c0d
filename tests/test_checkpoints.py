"""What is left of a run when its process, its disk or a file fails."""

import signal

import forked
import keras
import numpy as np
import pytest
from test_training import smoke, weights
from test_vae import make

from tf_structvae import workdir
from tf_structvae.checkpoints import Checkpoints
from tf_structvae.training import Experiment


def compiled():
    model = make()
    model.compile(keras.optimizers.Adam(0.01))
    model.optimizer.build(model.trainable_variables)
    return model


def bias(model):
    return model.head.mean_bias


def save_steps(directory, steps, values=None):
    """A model whose mean bias is the step, saved at each of `steps`."""
    model = compiled()
    checkpoints = Checkpoints(directory, model, keep=3)
    for i, step in enumerate(steps):
        bias(model).assign([step, step])
        checkpoints.save(step, None if values is None else values[i])
    return model, checkpoints


def test_last_and_best_are_kept(tmp_path):
    model, checkpoints = save_steps(tmp_path, range(1, 7), values=[1, 5, 2, 4, 3, 0])
    assert checkpoints.steps() == [4, 5, 6]
    assert checkpoints.steps("best") == [2]
    assert checkpoints.restore("best") == 2
    np.testing.assert_array_equal(bias(model), [2, 2])
    assert checkpoints.restore() == 6
    np.testing.assert_array_equal(bias(model), [6, 6])
    # a resumed run knows what was best, and goes on rotating
    again = Checkpoints(tmp_path, compiled(), keep=3)
    again.restore()
    again.save(7, 4.5)
    assert again.steps("best") == [2]
    again.save(8, 5.5)
    assert again.steps("best") == [8]
    assert again.steps() == [6, 7, 8]
    with pytest.raises(ValueError, match="'last' or 'best'"):
        again.steps("first")


def test_best_at_an_earlier_step_replaces_a_later_one(tmp_path):
    """A run that went back to step 3 and does better on another way."""
    model, checkpoints = save_steps(tmp_path, [3, 6], values=[1, 2])
    bias(model).assign([4, 4])
    checkpoints.save(4, 5.0)
    assert checkpoints.steps("best") == [4]
    assert checkpoints.best_value() == 5.0
    bias(model).assign([0, 0])
    assert checkpoints.restore("best") == 4
    np.testing.assert_array_equal(bias(model), [4, 4])


def test_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path, compiled(), keep=3).restore() is None


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, lambda p: p.unlink(), lambda p: p.write_bytes(b"")])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_damaged_newest_checkpoint(tmp_path, damage, part):
    save_steps(tmp_path, [1, 2])
    damage(tmp_path / f"ckpt-2.{part}")
    model, told = compiled(), []
    assert Checkpoints(tmp_path, model, keep=3).restore(tell=told.append) == 1
    np.testing.assert_array_equal(bias(model), [1, 1])
    if (tmp_path / "ckpt-2.index").exists():
        assert "ckpt-2 cannot be read" in told[0]
        assert "Going on from step 1" in told[0]


def test_half_written_checkpoint_is_none(tmp_path):
    """What a process leaves that is killed while it writes."""
    save_steps(tmp_path, [1])
    for part in ("index", "data-00000-of-00001"):
        (tmp_path / f"partial.{part}").write_bytes(b"half")
    (tmp_path / "ckpt-2.data-00000-of-00001").write_bytes(b"no index yet")
    model = compiled()
    checkpoints = Checkpoints(tmp_path, model, keep=3)
    assert checkpoints.restore() == 1
    checkpoints.save(2)
    assert checkpoints.restore() == 2
    assert not list(tmp_path.glob("partial*"))


def test_all_checkpoints_damaged(tmp_path):
    save_steps(tmp_path, [1, 2])
    for step in (1, 2):
        cut(tmp_path / f"ckpt-{step}.data-00000-of-00001")
    with pytest.raises(OSError, match=r"ckpt-2 cannot be read(.|\n)*ckpt-1 cannot be read"):
        Checkpoints(tmp_path, compiled(), keep=3).restore()


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model, checkpoints = save_steps(tmp_path, [1])
    bias(model).assign([np.nan, 0])
    with pytest.raises(FloatingPointError, match=r"mean_bias is not finite after step 2. .* 1, is"):
        checkpoints.save(2)
    assert checkpoints.steps() == [1]


def test_full_disk(tmp_path):
    """The system refuses to write a file beyond a size, as it does when the disk is full."""
    program = f"""
import resource, signal, sys
sys.path.insert(0, "tests")
from test_checkpoints import *
model, checkpoints = save_steps({str(tmp_path)!r}, [1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
bias(model).assign([2, 2])
try:
    checkpoints.save(2)
except OSError as error:
    print(error)
"""
    done = forked.run("-c", program)
    assert "checkpoint of step 2 cannot be written" in done.stdout, done.stderr[-2000:]
    assert "The last checkpoint, of step 1, is untouched." in done.stdout
    model = compiled()
    assert Checkpoints(tmp_path, model, keep=3).restore() == 1
    np.testing.assert_array_equal(bias(model), [1, 1])


def test_directory_that_cannot_be_written(data_dir, tmp_path):
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(OSError, match=r"workdir .*file/run cannot be written"):
        workdir.check(tmp_path / "file" / "run", smoke(data_dir, tmp_path))
    workdir.check(tmp_path / "run", smoke(data_dir, tmp_path))
    assert not (tmp_path / "run").exists()


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
import keras
from pathlib import Path
from test_training import smoke
from tf_structvae.training import Experiment

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.steps) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

e = Experiment(smoke(sys.argv[1], Path(sys.argv[2]), steps=8), sys.argv[2] + "/parts")
e.start()
fit = e.model.fit
e.model.fit = lambda *a, callbacks, **k: fit(*a, callbacks=[*callbacks, Kill()], **k)
e.train()
"""


def test_killed_run_resumes_bit_for_bit(data_dir, tmp_path):
    """SIGKILL in the middle of the second epoch of three."""
    done = forked.run("-c", KILLED, data_dir, tmp_path)
    assert done.returncode == -signal.SIGKILL
    again = Experiment(smoke(data_dir, tmp_path, steps=8), tmp_path / "parts")
    again.start(resume=True)
    assert again.step == 3
    again.train()
    whole = Experiment(smoke(data_dir, tmp_path, steps=8), tmp_path / "whole")
    whole.start()
    whole.train()
    for a, b in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "parts/log.csv").read_text()
    best = Experiment.load(tmp_path / "parts", "best")
    assert best.step == again.checkpoints.steps("best")[0]
