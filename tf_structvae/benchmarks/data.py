"""Images per second and memory of each data set's pipeline, beside what training consumes."""

from __future__ import annotations

import time
from typing import Any

from tf_structvae.benchmarks import stand_ins
from tf_structvae.utilities import markdown, memory

BATCH = 32
# Of a source without size or variant here, the images come as they are stored.
SOURCES: list[dict[str, Any]] = [
    {"name": "avatars", "variant": "32x32"},
    {"name": "avatars", "variant": "64x64"},
    {"name": "avatars", "variant": "64x64", "flip": True, "shift": 2},
    {"name": "brains", "variant": "96x96"},
    {"name": "mnist5k"},
    {"name": "lfw25"},
]
LARGE: list[dict[str, Any]] = [
    {"name": "brains", "variant": "192x192"},
    {"name": "avatars", "variant": "218x178"},
    # generated files, in the layout of the originals
    {"name": "celeb_a", "stand_ins": True},
    {"name": "image_folder", "stand_ins": True, "image_size": (64, 64)},
    {"name": "ukbb", "stand_ins": True, "image_size": (252, 182)},
    {"name": "generated", "variant": "10000"},
    {"name": "generated", "variant": "50000"},
    {"name": "generated", "variant": "100000"},
]


def _source(problem: dict):
    from tf_structvae import datasets

    if problem["name"] != "generated":
        known = ("name", "variant", "data_dir", "image_size")
        fields = {k: problem[k] for k in known if k in problem}
        if "image_size" in fields:
            fields["image_size"] = tuple(fields["image_size"])  # JSON has lists
        if problem.get("stand_ins"):
            # by name: prepared records of the originals would win over these
            fields["data_dir"] = f"{problem['data_dir']}/stand_ins/records"
            fields["manual_dir"] = stand_ins.make(problem["name"], problem["data_dir"])
        return datasets.prepare(datasets.Spec(**fields), "train")
    from tf_structvae.benchmarks import generated
    from tf_structvae.datasets import preparation, registry

    config = generated.config(int(problem["variant"]))
    opened = registry.Opened(
        lambda: generated.Generated(config=config, data_dir=problem["data_dir"])
    )
    spec = datasets.Spec("avatars", data_dir=problem["data_dir"])
    return preparation.open_split(opened, preparation.built(opened), spec, "train")


def measure(problem: dict, seconds: float = 8.0) -> dict:
    """Images per second of the first pass and of those after it, and peak memory (MB).

    Args:
      problem: a row of `SOURCES`, with a "data_dir".
      seconds: how long to measure after the first pass, and at most for that.
    """
    from tf_structvae.datasets import augment, pipeline

    source = _source(problem)
    before = memory.peak() / 2**20
    change = augment.chain(problem.get("flip", False), problem.get("shift", 0))
    batches = iter(pipeline.training_batches(source, BATCH, 10**7, 0, augment=change))
    rates = []
    for limit in (source.count // BATCH, 10**7):
        start, images = time.perf_counter(), 0
        while images < limit * BATCH and time.perf_counter() - start < seconds:
            images += len(next(batches))
        rates.append(images / (time.perf_counter() - start))
    return {
        "count": source.count,
        "image_shape": source.image_shape,
        "cached": pipeline.is_cached(source),
        "first_rate": rates[0],
        "rate": rates[1],
        "start_mb": before,
        "peak_mb": max(before, memory.peak() / 2**20),  # Linux counts pages by CPU, and roughly
    }


def jobs(quick: bool, data_dir: str) -> list[dict]:
    """Every source that needs no file of the user's."""
    rows = SOURCES if quick else SOURCES + LARGE
    return [{"suite": "data", "problem": {**row, "data_dir": data_dir}} for row in rows]


def consumption_jobs(results: list[dict]) -> list[dict]:
    """One training step of the default network, for each shape of image that was read."""
    shapes = dict.fromkeys(tuple(r["image_shape"]) for r in results if "rate" in r)
    return [
        {
            "suite": "train",
            "implementation": "ours",
            "problem": {
                "network": "default",
                "height": height,
                "width": width,
                "channels": channels,
                "rank": 25,
                "batch": BATCH,
            },
            "warm_up": 2,
            "repeats": 3,
        }
        for height, width, channels in shapes
    ]


def table(results: list[dict], consumed: list[dict]) -> str:
    """A Markdown table of `measure`'s results over what the training steps take."""
    steps = {}
    for r in consumed:
        p = r["problem"]
        if "seconds" in r:
            steps[p["height"], p["width"], p["channels"]] = p["batch"] / r["seconds"]
    rows = []
    for r in results:
        p = r["problem"]
        words = {"flip": "flip", "shift": f"shift {p.get('shift')}", "stand_ins": "generated files"}
        extras = [word for key, word in words.items() if key in p]
        name = " ".join(part for part in [p["name"], p.get("variant"), *extras] if part)
        if "error" in r:
            rows.append([name, r["error"]])
            continue
        step = steps.get(tuple(r["image_shape"]), float("nan"))
        shape = "x".join(map(str, r["image_shape"]))
        share = f"{min(r['rate'], r['first_rate']) / step:.0f}x"
        numbers = [f"{x:,.0f}" for x in (r["first_rate"], r["rate"], step)]
        sizes = [f"{r[k]:,.0f}" for k in ("peak_mb", "start_mb")]
        kept = "yes" if r["cached"] else "no"
        rows.append([name, f"{r['count']:,}", shape, kept, *numbers, share, *sizes])
    titles = (
        "data set|images|size|kept decoded|images/s, first pass|images/s, later|"
        "training takes images/s|pipeline / training|peak / MB|of it at the start"
    )
    return markdown.table(titles.split("|"), rows)
