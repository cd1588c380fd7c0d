"""What is left of a run when its process, its disk or a file fails."""

import signal
from pathlib import Path

import binding
import forked
import keras
import numpy as np
import pytest
import tensorflow as tf
from small_checkpoints import bias, compiled, save_steps
from small_run import smoke
from small_vae import make

from tf_structvae.layers import IndependentNormalHead
from tf_structvae.training import run_state, workdir
from tf_structvae.training.checkpoints import Checkpoints
from tf_structvae.training.experiment import Experiment


def set_all(model, seed):
    """Gives each variable numbers of its own, and returns them by path."""
    rng = np.random.default_rng(seed)
    for v in run_state.variables(model):
        v.assign(np.ceil(100 * rng.uniform(size=v.shape)))
    return {v.path: v.numpy() for v in run_state.variables(model)}


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


def test_of_equals_the_first_is_the_best(tmp_path):
    _, checkpoints = save_steps(tmp_path, [1, 2], values=[3.0, 3.0])
    assert checkpoints.steps("best") == [1]


def test_an_old_checkpoint_is_none_from_the_first_of_its_files_on(tmp_path, monkeypatch):
    """The process may end between the removal of one file and of the next."""
    _, checkpoints = save_steps(tmp_path, [1, 2, 3])
    removed = []
    monkeypatch.setattr(Path, "unlink", lambda path: removed.append(path.name))
    checkpoints.save(4)
    assert removed == ["ckpt-1.index", "ckpt-1.data-00000-of-00001"]


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


def test_every_variable_is_in_the_state(tmp_path):
    """Weights, multipliers, counters of moving targets, the closed-form scale, Adam's moments."""
    model = compiled()
    written = set_all(model, seed=1)
    for name in ("kl/multiplier", "kl/updates", "entropy/multiplier", "structured_vae/steps"):
        assert name in written
    assert any("mixing" in path for path in written)
    assert any("velocity" in path for path in written)
    checkpoints = Checkpoints(tmp_path, model, keep=3)
    checkpoints.save(1, value=1.0)
    for which in ("last", "best"):
        set_all(model, seed=2)
        assert checkpoints.restore(which) == 1
        for v in run_state.variables(model):
            np.testing.assert_array_equal(v, written[v.path], err_msg=v.path)


def write_as_before(directory, model, step):
    """As versions that left out the state of constraints."""
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(f"{directory}/ckpt-{step}")


def test_state_without_multipliers(tmp_path):
    """It is refused, but where constraints may start anew; whatever it holds is then restored."""
    model = compiled()
    written = set_all(model, seed=1)
    write_as_before(tmp_path, model, 4)
    before = set_all(model, seed=2)
    checkpoints, told = Checkpoints(tmp_path, model, keep=3), []
    with pytest.raises(ValueError, match="ckpt-4 holds no value for kl/updates, kl/mult"):
        checkpoints.restore(tell=told.append)
    assert {v.path: v.numpy().tolist() for v in run_state.variables(model)} == {
        path: value.tolist() for path, value in before.items()
    }
    assert checkpoints.restore(tell=told.append, allow_missing=True) == 4
    (line,) = told
    assert "kl/multiplier, entropy/multiplier: training from here starts them anew" in line
    for v in run_state.variables(model):
        of_constraint = v.path.startswith(("kl/", "entropy/"))
        expected = before if of_constraint else written
        np.testing.assert_array_equal(v, expected[v.path], err_msg=v.path)


def test_state_without_weights_is_always_refused(tmp_path):
    """A state of the standard VAE is none of the structured one."""
    standard = make(IndependentNormalHead(2, epsilon=0.05, noise="learned", mean_initial=0.5))
    standard.compile(keras.optimizers.Adam(0.01))
    standard.optimizer.build(standard.trainable_variables)
    Checkpoints(tmp_path, standard, keep=3).save(1)
    with pytest.raises(ValueError, match=r"no value for .*mixing.*: it is of another model"):
        Checkpoints(tmp_path, compiled(), keep=3).restore(allow_missing=True)


@pytest.mark.parametrize("count", [1, 5, 6, 7])
def test_messages_name_six_variables(tmp_path, monkeypatch, count):
    model = compiled()
    monkeypatch.setattr(run_state, "missing", lambda model, path: found)
    found = run_state.variables(model)[:count]
    with pytest.raises(ValueError, match="would leave out") as e:
        Checkpoints(tmp_path, model, keep=3).save(1)
    shown = ", ".join(v.path for v in found[:6]) + (" and 1 more" if count == 7 else "")
    assert f"would leave out {shown}, so" in str(e.value)


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (OSError("first line.\nsecond"), ": first line. The last"),
        (OSError(), ": OSError. The last"),
        (OSError("x" * 300), f": {'x' * 200}. The last"),
    ],
)
def test_messages_give_the_first_line_of_the_reason(tmp_path, monkeypatch, error, shown):
    _, checkpoints = save_steps(tmp_path, [1])

    def fail(model):
        raise error

    monkeypatch.setattr(run_state, "trackable", fail)
    with pytest.raises(OSError, match="cannot be written") as e:
        checkpoints.save(2)
    assert shown in str(e.value)


def test_a_state_that_would_leave_something_out_is_not_saved(tmp_path, monkeypatch):
    _, checkpoints = save_steps(tmp_path, [1])

    def incomplete(model):
        return tf.train.Checkpoint(model=model, optimizer=model.optimizer)

    monkeypatch.setattr(run_state, "trackable", incomplete)
    with pytest.raises(ValueError, match=r"step 2 would leave out kl/updates, kl/multiplier, ent"):
        checkpoints.save(2)
    assert checkpoints.steps() == [1]


def test_variables_that_a_file_cannot_tell_apart(tmp_path):
    model = compiled()
    model.twins = [keras.layers.Dense(1, name="twin") for _ in range(2)]
    for layer in model.twins:
        layer.build((None, 1))
    with pytest.raises(ValueError, match="variables of one path, twin/kernel, twin/bias: give"):
        Checkpoints(tmp_path, model, keep=3).save(1)
    assert not list(tmp_path.glob("**/*.index"))


def test_older_run(data_dir, tmp_path, capsys):
    """One of before multipliers were saved: it is evaluated, but not trained on without a word."""
    c = smoke(data_dir, tmp_path, steps=3)
    old = Experiment(c, tmp_path / "run")
    old.start()
    old.checkpoints.directory.mkdir()
    old.model.steps.assign(3)
    write_as_before(old.checkpoints.directory, old.model, 3)
    assert Experiment.load(tmp_path / "run").step == 3
    assert "holds no value for kl/updates" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"kl/multiplier(.|\n)*--allow_changes"):
        Experiment(c, tmp_path / "run").start(resume=True)
    again = Experiment(c, tmp_path / "run")
    again.start(resume=True, allow_changes=True)
    assert again.step == 3
    assert "training from here starts them anew" in capsys.readouterr().out


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
sys.path[:0] = ["tests", "tests/helpers"]
from small_checkpoints import *
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
sys.path[:0] = ["tests", "tests/helpers"]
import binding, keras
from pathlib import Path
from small_run import smoke
from tf_structvae.training.experiment import Experiment

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.steps) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

e = Experiment(
    binding.config(smoke(sys.argv[1], Path(sys.argv[2]), steps=8)), sys.argv[2] + "/parts"
)
e.start()
fit = e.model.fit
e.model.fit = lambda *a, callbacks, **k: fit(*a, callbacks=[*callbacks, Kill()], **k)
e.train()
"""


def test_killed_run_resumes_bit_for_bit(data_dir, tmp_path):
    """SIGKILL in the middle of the second epoch of three."""
    done = forked.run("-c", KILLED, data_dir, tmp_path)
    assert done.returncode == -signal.SIGKILL
    again = Experiment(binding.config(smoke(data_dir, tmp_path, steps=8)), tmp_path / "parts")
    again.start(resume=True)
    assert again.step == 3
    again.train()
    whole = Experiment(binding.config(smoke(data_dir, tmp_path, steps=8)), tmp_path / "whole")
    whole.start()
    whole.train()
    binding.assert_same_state(whole, again)
    assert (tmp_path / "whole/log.csv").read_text() == (tmp_path / "parts/log.csv").read_text()
    best = Experiment.load(tmp_path / "parts", "best")
    assert best.step == again.checkpoints.steps("best")[0]
