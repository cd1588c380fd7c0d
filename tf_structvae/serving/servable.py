"""One loaded version of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_structvae.serving import signature as signature_lib
from tf_structvae.serving import specs, warmup
from tf_structvae.serving.errors import RequestError, invalid
from tf_structvae.serving.specs import Signature

CARD = "model_card.json"
# What TensorFlow puts around the message of the op that failed.
_BEFORE = re.compile(
    r"\AGraph execution error:\s*(Detected at node.*<stack traces unavailable>\n)?", re.DOTALL
)
_AFTER = re.compile(r"\s*\[\[\{\{node.*|\s*\[Op:.*", re.DOTALL)


class Servable:
    """The functions of a SavedModel. Calls of several threads do not disturb each other.

    They run in a session, as in TF-Serving. What `tf.saved_model.load` builds instead stays in the
    memory of the process after the last reference to it: 42 MB a load of an export of 11 MB,
    measured with TensorFlow 2.21. Versions come and go here.

    Args:
      path: of the version.

    Raises:
      ValueError, OSError, tf.errors.OpError: it cannot be loaded, or a warm-up request fails.
    """

    def __init__(self, path: Path):
        self.path = path
        self.signatures, self.metadata = signature_lib.read(path)
        self._session = tf.compat.v1.Session(graph=tf.Graph(), config=_config())
        try:
            with self._session.graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
            self._names = {
                name: (_tensors(d.inputs), _tensors(d.outputs))
                for name, d in loaded.signature_def.items()
            }
            self.warmed = warmup.replay(path, self.run)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives the memory back. No call may be running, and none may follow."""
        self._session.close()

    def signature(self, name: str) -> Signature:
        """A signature by its name.

        Raises:
          RequestError: 400, there is none.
        """
        return specs.find(self.signatures, name)

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature.

        Raises:
          RequestError: 400, the model refuses the inputs; 503, there is not enough memory; 500, it
            fails otherwise.
        """
        self.signature(name)
        names, outputs = self._names[name]
        try:
            return self._session.run(outputs, {names[key]: value for key, value in inputs.items()})
        except tf.errors.InvalidArgumentError as error:
            raise invalid(_message(error)) from None
        except tf.errors.ResourceExhaustedError as error:
            raise RequestError(503, _message(error), 1) from None
        except tf.errors.OpError as error:
            raise RequestError(500, _message(error)) from None


def _config() -> tf.compat.v1.ConfigProto:
    """Without TensorFlow's rewriting of graphs.

    It took 4 of the 10.6 seconds until a server was ready, and made the demonstration model's calls
    no faster: without it they take 0.5 to 1.1 of the time, measured with TensorFlow 2.21 on a CPU.
    """
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def _tensors(infos) -> dict[str, str]:
    """Name in the signature -> name in the graph."""
    return {name: info.name for name, info in infos.items()}


def _message(error: tf.errors.OpError) -> str:
    return _AFTER.sub("", _BEFORE.sub("", error.message)).strip()
