"""The signatures of a SavedModel, as its file lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from tf_structvae.serving.errors import LoadError
from tf_structvae.serving.specs import Signature, Spec


def read(path: Path) -> tuple[dict[str, Signature], dict[str, Any]]:
    """The signatures of a SavedModel directory, and their description in TF-Serving's metadata.

    Args:
      path: of the directory with `saved_model.pb`.

    Returns:
      name -> Signature of all that take an input, and name -> JSON form of `SignatureDef` of all.

    Raises:
      LoadError: the file is no SavedModel.
    """
    proto = saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((path / "saved_model.pb").read_bytes())
    except Exception as error:  # the class differs between versions of protobuf
        raise LoadError(path, f"saved_model.pb is damaged: {error}") from error
    graphs = [g for g in proto.meta_graphs if "serve" in g.meta_info_def.tags]
    if not graphs:
        raise LoadError(path, "it has no graph with the tag 'serve'.")
    definitions = graphs[0].signature_def
    found = {
        name: Signature(_specs(d.inputs), _specs(d.outputs))
        for name, d in definitions.items()
        if d.inputs
    }
    return found, {name: _as_json(definitions[name]) for name in sorted(definitions)}


def _specs(infos) -> dict[str, Spec]:
    def shape(proto):
        if proto.unknown_rank:
            return None
        return tuple(None if d.size < 0 else int(d.size) for d in proto.dim)

    return {
        name: Spec(tf.dtypes.as_dtype(infos[name].dtype).name, shape(infos[name].tensor_shape))
        for name in sorted(infos)
    }


def _as_json(definition) -> dict[str, Any]:
    """The JSON form of a SignatureDef: 64-bit numbers are strings (proto3's JSON mapping)."""

    def tensors(infos):
        return {
            name: {
                "dtype": types_pb2.DataType.Name(infos[name].dtype),
                "tensor_shape": {
                    "dim": [
                        {"size": str(d.size), "name": d.name} for d in infos[name].tensor_shape.dim
                    ],
                    "unknown_rank": infos[name].tensor_shape.unknown_rank,
                },
                "name": infos[name].name,
            }
            for name in sorted(infos)
        }

    return {
        "inputs": tensors(definition.inputs),
        "outputs": tensors(definition.outputs),
        "method_name": definition.method_name,
    }
