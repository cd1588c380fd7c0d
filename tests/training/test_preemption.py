"""SIGTERM: a checkpoint of the step, the end, and a run that goes on as if it had not been."""

import os
import signal
import threading

import binding
import keras
import pytest
from small_run import smoke

from tf_structvae.training import preemption
from tf_structvae.training.experiment import Experiment


class SignalAt(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self._step = step

    def on_train_batch_begin(self, batch, logs=None):
        if int(self.model.steps) == self._step:
            os.kill(os.getpid(), signal.SIGTERM)


def experiment(data_dir, tmp_path, name):
    return Experiment(binding.config(smoke(data_dir, tmp_path, steps=8)), tmp_path / name)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run = experiment(data_dir, folder, "run")
    run.start()
    run.train()
    return run


def rows(run):
    """Lines of the log by their step."""
    lines = (run.workdir / "log.csv").read_text().splitlines()
    return {line.partition(",")[0]: line for line in lines}


@pytest.mark.parametrize(
    "step",
    [pytest.param(0, marks=pytest.mark.long), 4, pytest.param(7, marks=pytest.mark.long)],
)
def test_a_run_stopped_within_an_epoch_ends_where_a_whole_one_does(
    step, whole, data_dir, tmp_path, capsys
):
    """Epochs of three steps, and one of two: in the first, the second, and after the last step."""
    before = signal.getsignal(signal.SIGTERM)
    stopped = experiment(data_dir, tmp_path, "run")
    stopped.start()
    fit = stopped.model.fit
    stopped.model.fit = lambda *a, callbacks, **k: fit(
        *a, callbacks=[SignalAt(step), *callbacks], **k
    )
    with pytest.raises(SystemExit) as ended:
        stopped.train()
    assert ended.value.code == preemption.STATUS
    assert f"Stopped by SIGTERM at step {step + 1}, of which" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) == before
    again = experiment(data_dir, tmp_path, "run")
    again.start(resume=True)
    assert again.step == step + 1
    again.train()
    binding.assert_same_state(whole, again)
    want, found = rows(whole), rows(again)
    within = {0: "3", 4: "6", 7: "8"}[step]  # the row of this epoch is of its rest
    assert list(found) == [k for k in want if (k, step) != ("8", 7)]
    assert all(found[k] == want[k] for k in found if k != within)


def test_the_signal_ends_a_process_that_does_not_train(data_dir, tmp_path):
    """Before and after training it is left to its default, also where a run had nothing to do."""
    before = signal.getsignal(signal.SIGTERM)
    run = experiment(data_dir, tmp_path, "run")
    run.start()
    run.train()
    assert signal.getsignal(signal.SIGTERM) == before
    assert run.train() == {}


def test_training_in_another_thread_leaves_signals_alone(data_dir, tmp_path):
    run = experiment(data_dir, tmp_path, "run")
    run.start()
    logs = []
    thread = threading.Thread(target=lambda: logs.append(run.train()))
    thread.start()
    thread.join()
    assert logs[0]["loss"]
    assert run.step == 8
