"""Trains the distribution without a network, and compares it with its optimum and with PCA."""

from __future__ import annotations

import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from tf_structvae.programs import command

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Data, rank, seed and test images, configs/NAME.py; nothing else is read."
)
_IMAGES = flags.DEFINE_integer(
    "images", 10_000, "Fit the first so many training images.", lower_bound=2
)
_NOISE = flags.DEFINE_enum("noise", "learned", ["learned", "fixed"], "D = epsilon I.")
_EPSILON = flags.DEFINE_float(
    "epsilon", None, "The noise variance: where it starts (default 0.01), or fixed (1e-5)."
)
_BUDGET = flags.DEFINE_float(
    "entropy_budget", None, "Constrain the entropy, nats above that of D; needs --noise=fixed."
)
_STEPS = flags.DEFINE_integer("steps", 1000, "Of training.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 250, "Images a step.", lower_bound=1)
_GRADIENT = flags.DEFINE_enum(
    "gradient", "natural", ["natural", "plain"], "natural, for SGD; or plain, for Adam."
)
_RATE = flags.DEFINE_float("learning_rate", None, "The first; default 0.3, for Adam 2e-3.")
_OUTPUT = flags.DEFINE_string("output", "runs/density", "Where table, picture and numbers go.")
flags.mark_flag_as_required("config")


def check(source, rank: int, epsilon: float) -> None:
    """Refuses what cannot be fitted before any of the images is read."""
    import math

    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ValueError(f"epsilon = {epsilon:g}: must be a finite number > 0.")
    if _BUDGET.value is not None and _NOISE.value != "fixed":
        raise ValueError("--entropy_budget needs --noise=fixed: a noise that is free takes part.")
    if _BUDGET.value is not None and not _BUDGET.value > 0:
        raise ValueError(f"entropy_budget = {_BUDGET.value:g}: must be above 0 nats per image.")
    if _RATE.value is not None and not (math.isfinite(_RATE.value) and _RATE.value > 0):
        raise ValueError(f"learning_rate = {_RATE.value:g}: must be a finite number > 0.")
    if _BATCH_SIZE.value > source.count:
        raise ValueError(
            f"batch_size = {_BATCH_SIZE.value}: must be at most {source.count}, the images to fit."
        )
    most = min(source.count - 1, math.prod(source.image_shape))
    if rank > most:
        raise ValueError(f"config.model.rank = {rank}: must be at most {most} for these images.")


def passes(source, size: int = 250):
    """A function that starts one more pass over the images, decoded once if they are small."""
    import tensorflow as tf
    from tqdm.auto import tqdm

    from tf_structvae.datasets import pipeline

    batches = pipeline.evaluation_batches(source, size)
    if pipeline.is_cached(source):
        batches = batches.map(lambda x: tf.cast(tf.round(255 * x), tf.uint8)).cache()
        for _ in tqdm(batches, "reading", -(-source.count // size), dynamic_ncols=True):
            pass
        batches = batches.map(lambda x: tf.cast(x, tf.float32) / 255)
    return batches.as_numpy_iterator


def timed(function, *arguments, **options):
    """What a function returns, and the seconds it took."""
    start = time.perf_counter()
    found = function(*arguments, **options)
    return found, time.perf_counter() - start


def fit_closed_forms(read, rank: int, epsilon: float | None) -> dict:
    """Optimum and PCA."""
    from tqdm.auto import tqdm

    from tf_structvae import closed_form, pca
    from tf_structvae.density_report import Fit

    with tqdm(desc="closed form", unit="pass", dynamic_ncols=True) as bar:

        def report(residual: float) -> None:
            bar.set_postfix(residual=f"{residual:.1e}", refresh=False)
            bar.update()

        components, seconds = timed(closed_form.leading_components, read, rank, report=report)
    best = closed_form.optimum(components, epsilon, _BUDGET.value)
    bar = tqdm(read(), "PCA", unit="batch", dynamic_ncols=True)
    found, pca_seconds = timed(pca.fit, bar, rank)
    implied = closed_form.optimum(found, epsilon, _BUDGET.value)
    return {
        "closed form": Fit.of(best, seconds),
        "PCA": Fit.of_pca(found, implied, pca_seconds),
    }


def train(source, rank: int, epsilon: float, seed: int):
    """The trained distribution, and the seconds that took."""
    import tensorflow as tf

    from tf_structvae import density, targets
    from tf_structvae.datasets import pipeline
    from tf_structvae.density_report import Fit

    constraints = []
    if _BUDGET.value is not None:
        floor = targets.entropy_floor(source.image_shape, epsilon)
        constraints = [density.entropy_constraint(floor + _BUDGET.value, rank)]
    model = density.LowRankDensity(
        source.image_shape,
        rank,
        epsilon,
        _NOISE.value,
        constraints,
        pretrain_steps=_STEPS.value // 20,
        natural=_GRADIENT.value == "natural",
        seed=seed,
    )
    steps = _STEPS.value
    batches = pipeline.training_batches(source, _BATCH_SIZE.value, steps, seed)
    seconds = timed(density.fit, model, batches, steps, _RATE.value)[1]
    return Fit.of(model.distribution(tf.float64), seconds)


def main() -> None:
    from tf_structvae import config as config_lib

    config = _CONFIG.value
    config_lib.validate(config)
    from tf_structvae import datasets, density_report, pca
    from tf_structvae.datasets import pipeline

    try:
        pca.require()
    except ImportError as error:
        command.fail(error)
    fixed = _NOISE.value == "fixed"
    epsilon = _EPSILON.value
    if epsilon is None:
        epsilon = 1e-5 if fixed else 0.01
    spec, rank, e = datasets.Spec.of_config(config.data), config.model.rank, config.evaluation
    source = datasets.prepare(spec, "train").take(_IMAGES.value)
    check(source, rank, epsilon)
    test = datasets.prepare(spec, "test").take(e.images)

    closed = fit_closed_forms(passes(source), rank, epsilon if fixed else None)
    fits = {"trained": train(source, rank, epsilon, config.seed), **closed}
    log_prob = density_report.log_probs(fits, pipeline.evaluation_batches(test, e.batch_size))
    found = {
        **density_report.numbers(fits, log_prob),
        "data": {"name": config.data.name, "variant": config.data.variant, "fit": source.count},
    }
    h, w, c = source.image_shape
    title = f"{config.data.name} {h}x{w}x{c}: {source.count:,} images, rank {rank}"
    paths = density_report.write(Path(_OUTPUT.value), fits, found, source.image_shape, title)
    print(f"\n{density_report.table(found)}\n")
    for label, path in zip(("numbers", "table", "picture", "model"), paths, strict=True):
        print(f"{label:<9} {path}")


def run() -> None:
    command.run(main)
