"""One training step of the whole model, as a function of no arguments that does it once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tf_structvae.benchmarks import arithmetic
from tf_structvae.utilities import markdown


class Implementation(NamedTuple):
    """What stands in the network's last layer, and what computes the step."""

    likelihood: str
    jit: bool = False
    torch: bool = False
    channels_last: bool = False  # the memory format of PyTorch


IMPLEMENTATIONS = {
    "ours": Implementation("low_rank"),
    "ours, XLA": Implementation("low_rank", jit=True),
    "tfp_covariance": Implementation("stock_low_rank"),
    "low rank and local": Implementation("local_low_rank"),
    "standard VAE": Implementation("independent"),  # what the network alone costs
    "PyTorch": Implementation("low_rank", torch=True),
    "PyTorch, channels last": Implementation("low_rank", torch=True, channels_last=True),
}


def build(implementation: str, problem: dict) -> tuple[Callable[[], Any], int]:
    """A step of `fit` on random images, without the reading of data, and its operations.

    Args:
      implementation: one of `IMPLEMENTATIONS`.
      problem: "network" ("default" or "paper"), "height", "width", "rank", "batch"; "channels" if
        not 3.

    Raises:
      ImportError: PyTorch is not installed.
    """
    chosen = IMPLEMENTATIONS[implementation]
    if chosen.torch:  # before the work on a model
        from tf_structvae.benchmarks import torch_step
    from tf_structvae.training import config as config_lib
    from tf_structvae.training.from_config import build_model, build_optimizer

    # the budget only has to be one that can be met; it does not change the cost
    c = config_lib.paper(45.0, 0.0) if problem["network"] == "paper" else config_lib.default()
    likelihood = c.model.likelihood = chosen.likelihood
    c.model.rank = problem["rank"]
    if likelihood == "local_low_rank":
        config_lib.use_local(c)
    c.model.factor_scale = "kernel"  # what all of them can do
    c.model.factor_initial = 0.01
    c.objective.pretrain_steps = 0
    c.objective.entropy_target = None
    if likelihood != "independent":
        c.objective.entropy_budget = 190.0
    shape = (problem["height"], problem["width"], problem.get("channels", 3))
    model = build_model(c, shape)
    operations = arithmetic.of_step(model, problem["batch"])
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(problem["batch"], *shape)).astype(np.float32)
    if chosen.torch:
        rate = c.train.learning_rate
        return torch_step.build(model, images, chosen.channels_last, rate), operations
    model.compile(build_optimizer(c), jit_compile=chosen.jit)
    return lambda: model.train_on_batch(images), operations


_SMALL = {"network": "default", "height": 64, "width": 64, "batch": 32}


def profile_job() -> dict:
    """One that traces our step of the default network."""
    return {
        "suite": "train",
        "implementation": "ours",
        "problem": {**_SMALL, "rank": 25},
        "profile": True,
    }


def jobs(quick: bool) -> list[dict]:
    """The default network at 64x64, and the paper's at the size of CelebA."""
    sizes = [_SMALL]
    if not quick:
        sizes.append({"network": "paper", "height": 218, "width": 178, "batch": 4})
    ranks = (25,) if quick else (25, 100)
    return [
        {
            "suite": "train",
            "implementation": name,
            "problem": {**size, "rank": rank},
            "warm_up": 2,
            "repeats": 5,
        }
        for size in sizes
        for rank in ranks
        for name in IMPLEMENTATIONS
        if rank == 25 or name in ("ours", "tfp_covariance", "low rank and local")
    ]


def table(results: list[dict], peak: float) -> str:
    """A Markdown table: times over ours, and what the likelihood adds to the network's.

    Args:
      results: of `jobs`.
      peak: operations a second that the machine can do.
    """
    rows = []

    def seconds(result: dict, implementation: str, rank: int) -> float:
        wanted = {**result["problem"], "rank": rank}
        found = [
            r["seconds"]
            for r in results
            if (r["implementation"], r["problem"]) == (implementation, wanted) and "seconds" in r
        ]
        return found[0] if found else float("nan")

    for r in results:
        p = r["problem"]
        size = f"{p['height']}x{p['width']}x3"
        head = [p["network"], size, p["batch"], p["rank"], r["implementation"]]
        if "error" in r:
            rows.append([*head, r["error"]])
            continue
        ratio = r["seconds"] / seconds(r, "ours", p["rank"])
        added = 1e3 * (r["seconds"] - seconds(r, "standard VAE", 25))
        time = f"{1e3 * r['seconds']:.0f}"
        share = f"{r['operations'] / r['seconds'] / peak:.0%}"
        rows.append([*head, time, f"{ratio:.2f}", f"{added:.0f}", share, f"{r['peak_mb']:.0f}"])
    titles = (
        "network|image|batch|rank|by|step / ms|step / ours|likelihood / ms|of the peak|memory / MB"
    )
    text = markdown.table(titles.split("|"), rows)
    counted = {
        (r["problem"]["network"], r["problem"]["rank"]): r["operations"]
        for r in results
        if r["implementation"] == "ours" and "operations" in r
    }
    steps = (f"{name}, rank {rank}: {n / 1e9:.0f}" for (name, rank), n in counted.items())
    return (
        f"{text}\n\nThe peak is {peak / 1e9:.0f} GFLOPS, of a product of float32 matrices. "
        f"GFLOP of a step: {'; '.join(steps)}."
    )
