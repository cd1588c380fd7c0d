"""Trains the distribution without a network, and compares it with its optimum and with PCA."""

from __future__ import annotations

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


def main() -> None:
    from tf_structvae.training import config as config_lib

    config = _CONFIG.value
    config_lib.validate(config)
    from tf_structvae import datasets
    from tf_structvae.datasets import pipeline
    from tf_structvae.studies.density import comparison, report

    settings = comparison.Settings(
        noise=_NOISE.value,
        epsilon=_EPSILON.value,
        entropy_budget=_BUDGET.value,
        steps=_STEPS.value,
        batch_size=_BATCH_SIZE.value,
        natural=_GRADIENT.value == "natural",
        learning_rate=_RATE.value,
        seed=config.seed,
    )
    spec, rank, e = datasets.Spec.of_config(config.data), config.model.rank, config.evaluation
    source = datasets.prepare(spec, "train").take(_IMAGES.value)
    comparison.check(source, rank, settings)
    test = datasets.prepare(spec, "test").take(e.images)
    fits, found, title = comparison.compare(
        source, pipeline.evaluation_batches(test, e.batch_size), rank, settings
    )
    found["data"] = {"name": config.data.name, "variant": config.data.variant, "fit": source.count}
    paths = report.write(Path(_OUTPUT.value), fits, found, source.image_shape, title)
    print(f"\n{report.table(found)}\n")
    for label, path in zip(("numbers", "table", "picture", "model"), paths, strict=True):
        print(f"{label:<9} {path}")


def run() -> None:
    command.run(main)
