"""One loaded version of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_structvae.serving import signature as signature_lib
from tf_structvae.serving import warmup
from tf_structvae.serving.errors import RequestError, invalid
from tf_structvae.serving.signature import Signature

CARD = "model_card.json"
# What TensorFlow puts around the message of the op that failed.
_BEFORE = re.compile(r"\A.*<stack traces unavailable>\n", re.DOTALL)
_AFTER = re.compile(r"(\n\t| )\[\[\{\{node.*|\s*\[Op:.*", re.DOTALL)


class Servable:
    """The functions of a SavedModel. Calls of several threads do not disturb each other.

    Args:
      path: of the version.

    Raises:
      ValueError, OSError, tf.errors.OpError: it cannot be loaded, or a warm-up request fails.
    """

    def __init__(self, path: Path):
        self.path = path
        self.signatures, self.metadata = signature_lib.read(path)
        self._loaded = tf.saved_model.load(str(path))  # holds the variables
        self._functions = self._loaded.signatures
        self.warmed = warmup.replay(path, self.run)

    def signature(self, name: str) -> Signature:
        """A signature by its name.

        Raises:
          RequestError: 400, there is none.
        """
        if name not in self.signatures:
            raise invalid(
                f'Serving signature name: "{name}" not found in signature def; there are: '
                f"{', '.join(sorted(self.signatures))}."
            )
        return self.signatures[name]

    def run(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature.

        Raises:
          RequestError: 400, the model refuses the inputs; 503, there is not enough memory; 500, it
            fails otherwise.
        """
        specs = self.signature(name).inputs
        tensors = {k: tf.constant(v, specs[k].dtype) for k, v in inputs.items()}
        try:
            return {k: v.numpy() for k, v in self._functions[name](**tensors).items()}
        except tf.errors.InvalidArgumentError as error:
            raise invalid(_message(error)) from None
        except tf.errors.ResourceExhaustedError as error:
            raise RequestError(503, _message(error), 1) from None
        except tf.errors.OpError as error:
            raise RequestError(500, _message(error)) from None


def _message(error: tf.errors.OpError) -> str:
    return _AFTER.sub("", _BEFORE.sub("", error.message)).strip()
