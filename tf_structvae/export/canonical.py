"""A SavedModel's graph with names that do not depend on what its process did before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from tf_structvae.export.shorten import shorten

# TensorFlow numbers functions through the life of a process.
_NUMBER = re.compile(r"(_\d+)+$")
# names a gradient that is not exported, by another such number
_GRADIENT = "_gradient_op_type"


def rewrite(path: Path) -> None:
    """Shortens the functions of a SavedModel and numbers them as its signatures call them.

    Then two exports of a model are the same bytes. The fingerprint is removed: it holds a random
    number, and loaders do without.
    """
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(file.read_bytes())
    for graph in saved.meta_graphs:
        _renumber(graph)
    file.write_bytes(saved.SerializeToString(deterministic=True))
    (path / "fingerprint.pb").unlink(missing_ok=True)


def _renumber(graph) -> None:
    library = graph.graph_def.library
    for function in library.function:
        shorten(function)
    functions = {f.signature.name: f for f in library.function}
    names = {old: f"{_NUMBER.sub('', old)}_{i}" for i, old in enumerate(_order(graph, functions))}
    nodes = [graph.graph_def.node, *(f.node_def for f in functions.values())]
    for node in (n for part in nodes for n in part):
        node.op = names.get(node.op, node.op)
        node.attr.pop(_GRADIENT, None)
        for reference in _references(node):
            reference.name = names[reference.name]
    for function in functions.values():
        function.signature.name = names[function.signature.name]
    ordered = sorted(functions.values(), key=lambda f: f.signature.name)
    _replace(library.function, ordered)
    _renumber_objects(graph.object_graph_def, names)


def _renumber_objects(objects, names: dict[str, str]) -> None:
    for node in objects.nodes:
        if node.HasField("function"):
            traces = node.function.concrete_functions
            _replace(traces, [names[n] for n in traces])
        if node.HasField("bare_concrete_function"):
            bare = node.bare_concrete_function
            bare.concrete_function_name = names[bare.concrete_function_name]
    concrete = {names[k]: v for k, v in objects.concrete_functions.items()}
    copies = {k: v.SerializeToString(deterministic=True) for k, v in concrete.items()}
    objects.ClearField("concrete_functions")
    for name, text in copies.items():
        objects.concrete_functions[name].ParseFromString(text)


def _replace(field, items) -> None:
    items = list(items)
    del field[:]
    field.extend(items)


def _order(graph, functions) -> list[str]:
    """Names of all functions, each before those that it calls, from the graph's nodes on."""
    order: dict[str, None] = {}
    rest = sorted(functions, key=lambda n: (_NUMBER.sub("", n), functions[n].ByteSize()))
    waiting = [*reversed(rest), *reversed(list(_called(graph.graph_def.node, functions)))]
    while waiting:
        name = waiting.pop()
        if name not in order:
            order[name] = None
            waiting += reversed(list(_called(functions[name].node_def, functions)))
    return list(order)


def _called(nodes, functions) -> Iterator[str]:
    for node in nodes:
        if node.op in functions:
            yield node.op
        yield from (r.name for r in _references(node))


def _references(node) -> Iterator:
    """The functions in the attributes of a node."""
    for key in sorted(node.attr):
        value = node.attr[key]
        if value.HasField("func"):
            yield value.func
        yield from value.list.func
