"""Where the time of a training step goes: by kind of operation, from TensorFlow's own profiler."""

from __future__ import annotations

import collections
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tf_structvae.utilities import markdown

_WARM_UP = 3
_OPERATION = re.compile(r"^[^:]+:(?P<kind>_?[A-Z]\w*)$")  # the name of a node, and its kind


def measure(run: Callable[[], Any], steps: int = 10) -> dict:
    """Times of all operations, of some steps that were traced.

    Args:
      run: a step.
      steps: their number.

    Returns:
      "seconds" of a step, and "kinds": kind -> ("seconds" of a step in its kernels, summed
      over threads, and "calls").
    """
    import tensorflow as tf

    for _ in range(_WARM_UP):
        run()
    with tempfile.TemporaryDirectory() as directory:
        tf.profiler.experimental.start(directory)
        start = time.perf_counter()
        for _ in range(steps):
            run()
        seconds = (time.perf_counter() - start) / steps
        tf.profiler.experimental.stop()
        (path,) = Path(directory).rglob("*.xplane.pb")
        found = _operations(path.read_bytes())
    return {
        "seconds": seconds,
        "kinds": {
            kind: {"seconds": taken / steps, "calls": calls / steps}
            for kind, (taken, calls) in found.items()
        },
    }


def _operations(trace: bytes) -> dict[str, tuple[float, int]]:
    """Kind -> seconds and calls. An event within another of its thread is not counted twice."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(trace)
    seconds: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            end = 0
            for event in sorted(line.events, key=lambda e: (e.offset_ps, -e.duration_ps)):
                matched = _OPERATION.match(plane.event_metadata[event.metadata_id].name)
                if matched is None or event.offset_ps < end:
                    continue
                end = event.offset_ps + event.duration_ps
                seconds[matched["kind"]] += event.duration_ps * 1e-12
                calls[matched["kind"]] += 1
    return {kind: (taken, calls[kind]) for kind, taken in seconds.most_common()}


def table(found: dict, most: int = 25) -> str:
    """A Markdown table of the kinds that take longest.

    Args:
      found: from `measure`.
      most: rows.
    """
    whole = found["seconds"]
    kinds = list(found["kinds"].items())
    rows = [
        [kind, f"{o['calls']:.0f}", f"{1e3 * o['seconds']:.1f}", f"{o['seconds'] / whole:.0%}"]
        for kind, o in kinds[:most]
    ]
    rest = [o for _, o in kinds[most:]]
    if rest:
        taken = sum(o["seconds"] for o in rest)
        calls = sum(o["calls"] for o in rest)
        rows.append(["all others", f"{calls:.0f}", f"{1e3 * taken:.1f}", f"{taken / whole:.0%}"])
    text = markdown.table(["operation", "calls of a step", "time / ms", "of the step"], rows)
    return (
        f"{text}\n\nA step took {1e3 * whole:.0f} ms while it was traced. Times of operations are "
        "summed over threads, which run several at once, so that the shares may exceed 100%."
    )
