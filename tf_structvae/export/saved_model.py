"""From signatures to the files of a SavedModel: every weight once, the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from tf_structvae.export import canonical
from tf_structvae.export.exported_model import View
from tf_structvae.export.signatures import DEFAULT, Signature


def write(view: View, found: Mapping[str, Signature], path: Path) -> dict[str, dict]:
    """Writes a SavedModel.

    Its variables are the weights of the model and the multipliers of its constraints, in the order
    of `model.weights`, and what its prior has beside them; no optimiser. Gradients of the functions
    are not saved.

    Args:
      view: of a built model.
      found: its signatures.
      path: an empty directory.

    Returns:
      By signature {"inputs": ..., "outputs": ...}, each by name {"dtype", "shape"}, B being None.
    """
    root = tf.Module()
    of_both = {id(v): v.value for v in (*view.model.weights, *view.prior.weights)}
    root.weights = list(of_both.values())
    traced = {name: _trace(name, signature) for name, signature in found.items()}
    # the gradients of our products would take most of the graph
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(path), {"serving_default": traced[DEFAULT], **traced}, options)
    canonical.rewrite(path)
    return {
        name: {
            "inputs": {k: _describe(v) for k, v in found[name].inputs.items()},
            "outputs": {k: _describe(v) for k, v in function.structured_outputs.items()},
        }
        for name, function in traced.items()
    }


def _trace(name: str, signature: Signature):
    def run(**inputs):
        return signature.function(**inputs)

    run.__name__ = name  # what the graph calls it
    return tf.function(run, autograph=False).get_concrete_function(**signature.inputs)


def _describe(spec) -> dict:
    return {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
