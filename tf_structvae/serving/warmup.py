"""Replays the requests that an exporter left for the first calls of a model.

https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

FILE = Path("assets.extra", "tf_serving_warmup_requests")
MOST = 1000  # as many as TF-Serving accepts


def replay(path: Path, run: Callable[[str, Mapping[str, np.ndarray]], object]) -> int:
    """Runs the predict requests of a version.

    Args:
      path: of the version.
      run: takes the name of a signature and its inputs.

    Returns:
      How many there were: 0 without the file, or without the package tensorflow-serving-api.
    """
    if not (path / FILE).exists():
        return 0
    try:
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return 0
    count = 0
    for record in tf.data.TFRecordDataset(str(path / FILE)).take(MOST).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            continue
        request = log.predict_log.request
        name = request.model_spec.signature_name or "serving_default"
        run(name, {key: tf.make_ndarray(value) for key, value in request.inputs.items()})
        count += 1
    return count
