"""The 2015 Inception network of FID and KID, read from the user's file; nothing is downloaded.

The file is `classify_image_graph_def.pb`, the original graph, or the `inception-2015-12-05.tgz` it
comes in. It is run as Heusel et al. (2017) do: images as numbers from 0 to 255 are fed to
`ExpandDims:0`, and features come out of `pool_3:0`. The graph itself enlarges the images to 299x299
(bilinear as in TensorFlow 1, without half pixels), so its features differ slightly from those of
programs that enlarge otherwise, such as pytorch-fid.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tf_structvae.evaluation.features import Extractor

GRAPH_FILE = "classify_image_graph_def.pb"
FEATURES = 2048
_INPUT, _OUTPUT = "ExpandDims", "pool_3"
_AT_ONCE = 16  # at 299x299 the first layers take about 12 MB an image


def extractor(path: str | Path) -> Extractor:
    """The features of FID from a weights file.

    Images [0, 1] are rounded to 8 bits first, since the reference implementations read image files.

    Args:
      path: ends in .pb or .tgz.

    Raises:
      FileNotFoundError: no such file.
      ValueError: another ending, or not that network.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"inception_weights: {path} does not exist.")
    if path.suffix not in (".pb", ".tgz"):
        raise ValueError(f"inception_weights must end in .pb or .tgz, got {path}.")
    return Extractor(
        "inception_2015",
        _graph_network(path),
        _sha256(path),
        min_side=1,
        at_once=_AT_ONCE,
        is_inception=True,
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _eight_bits(images: tf.Tensor) -> tf.Tensor:
    """[0, 1] -> whole numbers from 0 to 255, float32."""
    return tf.round(images * 255.0)


def _graph_network(path: Path) -> Callable[[tf.Tensor], np.ndarray]:
    graph = tf.Graph()
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.float32, [None, None, None, 3])
        (output,) = tf.import_graph_def(
            _needed(_read_graph(path), path),
            input_map={f"{_INPUT}:0": images},
            return_elements=[f"{_OUTPUT}:0"],
        )
    # A session, not a tf.function: the graph's batch norm runs in graphs of its old version only.
    session = tf.compat.v1.Session(graph=graph)

    def network(batch: tf.Tensor) -> np.ndarray:
        found = session.run(output, {images: _eight_bits(batch).numpy()})
        if found.shape != (len(batch), 1, 1, FEATURES):
            raise ValueError(
                f"inception_weights {path}: {_OUTPUT} must be [{len(batch)}, 1, 1, {FEATURES}], is "
                f"{list(found.shape)}."
            )
        return found[:, 0, 0]

    network(
        tf.zeros([2, 8, 8, 3])
    )  # refused before any work is done; two, since the graph says one
    return network


def _read_graph(path: Path) -> tf.compat.v1.GraphDef:
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(_graph_bytes(path))
    except DecodeError as error:
        raise ValueError(f"inception_weights {path} is no TensorFlow graph: {error}.") from error
    return definition


def _graph_bytes(path: Path) -> bytes:
    if path.suffix == ".pb":
        return path.read_bytes()
    try:
        with tarfile.open(path) as archive:
            member = next((m for m in archive if Path(m.name).name == GRAPH_FILE), None)
            found = archive.extractfile(member) if member else None
            if found is None:
                raise ValueError(f"inception_weights {path} holds no {GRAPH_FILE}.")
            return found.read()
    except tarfile.TarError as error:
        raise ValueError(f"inception_weights {path} is no archive: {error}.") from error


def _needed(definition: tf.compat.v1.GraphDef, path: Path) -> tf.compat.v1.GraphDef:
    """The nodes from `_INPUT` to `_OUTPUT`: without the JPEG decoder, and the classifier, which
    takes one image at a time."""
    nodes = {node.name: node for node in definition.node}
    missing = [name for name in (_INPUT, _OUTPUT) if name not in nodes]
    if missing:
        raise ValueError(
            f"inception_weights {path} is not the 2015 graph: it has no {' and no '.join(missing)}."
        )
    wanted, todo = set(), [_OUTPUT]
    while todo:
        name = todo.pop()
        if name in wanted or name == _INPUT:
            continue
        wanted.add(name)
        todo += [i.lstrip("^").split(":")[0] for i in nodes[name].input]
    kept = tf.compat.v1.GraphDef(versions=definition.versions)
    kept.node.extend(node for node in definition.node if node.name in wanted)
    return kept
