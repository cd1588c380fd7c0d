"""Function bodies of a graph with the operations that they need, under short names."""

from __future__ import annotations

import re

_COLOCATION = "loc:@"
_ARGUMENT_NAME = "_user_specified_name"
# what a loop's condition does not use is named after the function's number in its process
_UNUSED = re.compile(r"_\d+(?=___redundant_placeholder\d+$)")


def shorten(function) -> None:
    """Removes what no result of a FunctionDef depends on, and the scopes from the names.

    Distributions leave many unused constants behind, and names of nested scopes take more bytes
    than what they name.
    """
    _prune(function)
    _rename(function)
    for argument in function.arg_attr.values():
        # of a captured weight: its number in this process
        if _ARGUMENT_NAME in argument.attr and argument.attr[_ARGUMENT_NAME].s.isdigit():
            del argument.attr[_ARGUMENT_NAME]


def _node_of(reference: str) -> str:
    """The node or argument in "node:output:0", "node" or "^node"."""
    return reference.lstrip("^").split(":", 1)[0]


def _prune(function) -> None:
    nodes = {n.name: n for n in function.node_def}
    waiting = [_node_of(r) for r in (*function.ret.values(), *function.control_ret.values())]
    needed = set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in needed:
            needed.add(name)
            waiting += map(_node_of, nodes[name].input)
    kept = [n for n in function.node_def if n.name in needed]
    del function.node_def[:]
    function.node_def.extend(kept)


def _rename(function) -> None:
    names = _short_names(function)

    def renamed(reference: str) -> str:
        old = _node_of(reference)
        return reference.replace(old, names.get(old, old), 1)

    for argument in function.signature.input_arg:
        argument.name = names[argument.name]
    for node in function.node_def:
        node.name = names[node.name]
        node.ClearField("experimental_debug_info")
        node.input[:] = [renamed(r) for r in node.input]
        if "_class" in node.attr:
            places = node.attr["_class"].list.s
            places[:] = [_colocation(p, names) for p in places]
    for results in (function.ret, function.control_ret):
        for key, reference in dict(results).items():
            results[key] = renamed(reference)


def _short_names(function) -> dict[str, str]:
    """The last part of each node's name, numbered where it is not the first of that name."""
    names = {a.name: _UNUSED.sub("", a.name) for a in function.signature.input_arg}
    used = set(names.values())
    counts: dict[str, int] = {}
    for node in function.node_def:
        base = re.sub(r"(_\d+)+$", "", node.name.rsplit("/", 1)[-1])
        short = base
        while short in used:
            counts[base] = counts.get(base, 0) + 1
            short = f"{base}_{counts[base]}"
        used.add(short)
        names[node.name] = short
    return names


def _colocation(place: bytes, names: dict[str, str]) -> bytes:
    text = place.decode()
    if not text.startswith(_COLOCATION):
        return place
    old = text.removeprefix(_COLOCATION)
    return (_COLOCATION + names.get(old, old)).encode()
