"""What a prior costs: in a training step, in a draw, and to be fitted after training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tf_structvae.utilities import markdown

LEARNED = ("standard_normal", "normal", "vamp", "flow")
FITTED = ("standard_normal", "normal", "mixture", "vamp", "flow")
_OPERATIONS = {
    "step": "training step of 32 / ms",
    "latents": "32 latents / ms",
    "pictures": "32 pictures / ms",
    "fit": "fit / s",
}
_IMAGES = 10_000  # whose posteriors are fitted to


def build(operation: str, problem: dict) -> Callable:
    """One operation with one prior on the default network at 64x64.

    Args:
      operation: "step", "latents", "pictures" or "fit".
      problem: "kind" of the prior, and "images" that it is fitted to.
    """
    from tf_structvae import priors
    from tf_structvae.training import config as config_lib
    from tf_structvae.training.from_config import build_model, build_optimizer

    c = config_lib.default()
    c.objective.pretrain_steps = 0
    kind, shape = problem["kind"], (64, 64, 3)
    if operation == "step":
        c.prior.kind = kind
    model = build_model(c, shape)
    rng = np.random.default_rng(0)
    images = rng.uniform(size=(64, *shape)).astype(np.float32)
    if operation == "step":
        model.compile(build_optimizer(c))
        return lambda: model.train_on_batch(images[:32])
    count = problem["images"] if operation == "fit" else 500
    # posteriors as trained models have them: a wide covariance between, a narrow one within images
    between = rng.normal(size=(count, 64)) @ (rng.normal(size=(64, 64)) / 8)
    posterior = priors.AggregatedPosterior(between, np.full([count, 64], 0.3))
    options: dict[str, Any] = {"encode": model.encode, "images": images}

    def fit():
        return priors.fit(kind, posterior, **options).sample(1)

    if operation == "fit":
        return fit
    options["steps"] = 1  # a draw costs the same after more
    model.replace_prior(priors.fit(kind, posterior, **options).frozen())
    if operation == "latents":
        return lambda: model.prior.sample(32)
    return lambda: model.decode(model.prior.sample(32)).sample_from_noise(np.zeros([32, 25], "f4"))


def jobs(quick: bool) -> list[dict]:
    """Every operation with every prior that has it.

    Args:
      quick: fit to fewer images, and leave out what takes minutes.
    """
    found = []
    for operation in _OPERATIONS:
        for kind in LEARNED if operation == "step" else FITTED:
            if quick and (operation, kind) in (("fit", "vamp"), ("fit", "flow")):
                continue
            fitting = operation == "fit"
            found.append(
                {
                    "suite": "priors",
                    "operation": operation,
                    "problem": {"kind": kind, "images": 1000 if quick else _IMAGES},
                    "warm_up": 0 if fitting else 2,
                    "repeats": 1 if fitting else 5 if quick else 20,
                }
            )
    return found


def table(results: list[dict]) -> str:
    """Markdown: a row a prior; in brackets times over those of N(0, I).

    Args:
      results: of `jobs`.
    """
    seconds = {
        (r["operation"], r["problem"]["kind"]): r.get("seconds", float("nan")) for r in results
    }
    rows = []
    for kind in FITTED:
        cells = []
        for operation in _OPERATIONS:
            found = seconds.get((operation, kind))
            if found is None:
                cells.append("-")
            elif operation == "fit":
                cells.append(f"{found:.2f}")
            else:
                ratio = found / seconds[operation, "standard_normal"]
                cells.append(f"{1e3 * found:.1f} ({ratio:.2f})")
        rows.append([kind, *cells])
    images = results[0]["problem"]["images"]
    heads = ["prior", *_OPERATIONS.values()]
    heads[-1] += f", {images:,} images"
    return markdown.table(heads, rows)
