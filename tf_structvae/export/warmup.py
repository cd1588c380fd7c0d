"""Requests with which TF-Serving tries a model before it serves it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from tf_structvae.export.signatures import DEFAULT, Signature

FILE = "assets.extra/tf_serving_warmup_requests"  # where TF-Serving looks for them
MISSING = (
    "warm-up requests need tensorflow-serving-api: pip install 'tf_structvae[serving]', or leave "
    "them out (--nowarmup)."
)
# a positive variance takes the longer way through `condition`
_VALUES = {"noise_variance": 0.01, "mask": 1.0, "images": 0.5, "values": 0.5}


def available() -> bool:
    """Whether tensorflow-serving-api is installed."""
    return importlib.util.find_spec("tensorflow_serving") is not None


def write(found: Mapping[str, Signature], name: str, path: Path) -> None:
    """Writes a request of one row for each signature, and one for `serving_default`.

    Args:
      found: the signatures of a model.
      name: the model's, as TF-Serving is to know it.
      path: of the SavedModel.

    Raises:
      ImportError: tensorflow-serving-api is not installed.
    """
    if not available():
        raise ImportError(MISSING)
    file = path / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    requests = {"serving_default": found[DEFAULT], **found}
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature_name, signature in requests.items():
            writer.write(
                _log(name, signature_name, signature).SerializeToString(deterministic=True)
            )


def _log(name: str, signature_name: str, signature: Signature):
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature_name
    for key, spec in signature.inputs.items():
        request.inputs[key].CopyFrom(_constant(spec, _VALUES.get(key, 0)))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def _constant(spec: tf.TensorSpec, value: float):
    """One row of the same number everywhere, which a TensorProto holds once."""
    from tensorflow.core.framework import tensor_pb2

    shape = [1, *spec.shape.as_list()[1:]]
    filled = tensor_pb2.TensorProto(
        dtype=spec.dtype.as_datatype_enum, tensor_shape=tf.TensorShape(shape).as_proto()
    )
    if math.prod(shape):
        values = filled.int_val if spec.dtype == tf.int32 else filled.float_val
        values.append(int(value) if spec.dtype == tf.int32 else float(value))
    return filled
