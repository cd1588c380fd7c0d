"""What SIGTERM does to a run: a checkpoint of the step that it is at, and the end."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_structvae.training import cluster

STATUS = 143  # what a shell reports for a program ended by SIGTERM


class _OneProcess(keras.callbacks.Callback):
    """Without other workers: the next end of a step is the last."""

    def __init__(self, end: Callable[[], None]):
        super().__init__()
        self._end = end
        self._received = False
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, number, frame):
        self._received = True

    def on_train_batch_end(self, batch, logs=None):
        if self._received:
            self._end()


class _Workers(keras.callbacks.Callback):
    """The workers agree on a step by TensorFlow's handler, whichever of them the signal reached."""

    def __init__(self, strategy: tf.distribute.Strategy, end: Callable[[], None], directory: str):
        super().__init__()
        threading.excepthook = _without_watchers
        self._handler = tf.distribute.experimental.PreemptionCheckpointHandler(
            strategy.cluster_resolver,
            tf.train.CheckpointManager(tf.train.Checkpoint(), directory, 1),  # `end` saves
            termination_config=tf.distribute.experimental.TerminationConfig(
                save_fn=lambda: None, exit_fn=end
            ),
        )

    def on_train_batch_end(self, batch, logs=None):
        self._handler.save_checkpoint_if_preempted()


def _without_watchers(arguments: Any) -> None:
    """The threads in which TensorFlow waits for a signal log nothing when a worker is lost.

    The main thread says so.
    """
    thread = arguments.thread
    lost = issubclass(arguments.exc_type, tf.errors.OpError)
    if not (lost and thread and thread.name.startswith("PeerTerminationWatcher")):
        threading.__excepthook__(arguments)


@contextlib.contextmanager
def watched(
    strategy: tf.distribute.Strategy, save: Callable[[], None]
) -> Iterator[list[keras.callbacks.Callback]]:
    """Within the block, and while a model trains with the callback, SIGTERM ends the process.

    It does so after the step that is under way, or the one after it, with the exit status `STATUS`.
    With several workers one that gets the signal ends all of them, at the same step. Outside of the
    main thread, where Python takes no signals, there is no callback.

    Args:
      strategy: of the model.
      save: writes a checkpoint of the present step; called on the chief.

    Yields:
      Callbacks for `fit`, the same ones for each call.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return

    def end() -> None:
        with cluster.chief_first(strategy):
            if cluster.is_chief(strategy):
                save()
        sys.exit(STATUS)

    with contextlib.ExitStack() as stack:
        several = cluster.count(strategy) > 1
        before = signal.getsignal(signal.SIGTERM)
        # of a handler that was not set by Python, as TensorFlow's of several workers, None is known
        stack.callback(signal.signal, signal.SIGTERM, before or signal.SIG_DFL)
        if several:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            yield [_Workers(strategy, end, directory)]
        else:
            yield [_OneProcess(end)]
