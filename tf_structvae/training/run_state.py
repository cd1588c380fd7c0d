"""Every variable of a model in training, as one object that TensorFlow writes and reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

# Of a checkpoint: which objects it holds, by the names of the attributes that lead to them.
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def variables(model: keras.Model) -> list[keras.Variable]:
    """What training changes: variables of a compiled model, its constraints and its optimiser."""
    return [*model.variables, *model.optimizer.variables]


def trackable(model: keras.Model) -> tf.train.Checkpoint:
    """The variables of a compiled model, in the form that is written to disk.

    TensorFlow follows attributes, but not Keras's lists of layers, such as a model's constraints:
    what it would not reach is added by its Keras path.

    Args:
      model: compiled, with a built optimiser.

    Raises:
      ValueError: two variables that TensorFlow does not reach have one path, so that they could
        not be distinguished in the file.
    """
    networks = {"model": model, "optimizer": model.optimizer}
    reached = {id(v) for v in _reached(tf.train.Checkpoint(**networks))}
    others = [v for v in variables(model) if id(v) not in reached]
    doubled = [path for path, n in Counter(v.path for v in others).items() if n > 1]
    if doubled:
        raise ValueError(
            f"a checkpoint cannot tell apart the variables of one path, {', '.join(doubled)}: give "
            "their layers different names."
        )
    return tf.train.Checkpoint(**networks, others={v.path: v for v in others})


def _reached(root: tf.train.Checkpoint) -> Iterator[keras.Variable]:
    for found in tf.train.TrackableView(root).descendants():
        if isinstance(found, keras.Variable):
            yield found


def missing(model: keras.Model, path: str | Path) -> list[keras.Variable]:
    """The variables of a compiled model for which a checkpoint holds no value.

    Args:
      model: compiled, with a built optimiser.
      path: of a checkpoint, without the ending ".index".
    """
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(tf.train.load_checkpoint(str(path)).get_tensor(_GRAPH))
    root = trackable(model)
    view = tf.train.TrackableView(root)
    # TensorFlow binds an object to the first place in the file that leads to it, by breadth first.
    bound = {id(root): 0}
    queue = [root]
    for found in queue:
        places = {c.local_name: c.node_id for c in graph.nodes[bound[id(found)]].children}
        for name, child in view.children(found).items():
            if name in places and id(child) not in bound:
                bound[id(child)] = places[name]
                queue.append(child)
    return [
        v
        for v in variables(model)
        if id(v) not in bound or not graph.nodes[bound[id(v)]].attributes
    ]
