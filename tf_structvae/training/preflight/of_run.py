"""The preflight of a config as bin/train starts it: finds shape, replicas and speed of reading."""

from __future__ import annotations

import json
import os

import tensorflow as tf
from ml_collections import ConfigDict

from tf_structvae import datasets
from tf_structvae.datasets import augment, pipeline, preparation, registry
from tf_structvae.training import tf_config
from tf_structvae.training.experiment import Experiment
from tf_structvae.training.preflight.decision import check, pipeline_rate


def check_config(config: ConfigDict, distribute: str, budget_gb: float, when: str) -> None:
    """Refuses a run that does not fit, before anything is built; see `decision.check`.

    The data are prepared, unless `config.data.image_size` gives their shape.

    Args:
      config: of the run.
      distribute: one of `cluster.STRATEGIES`.
      budget_gb: what the run may take, in GB of 2^30 bytes; 0: what is available.
      when: to measure; "always" also measures how fast images are read.

    Raises:
      ValueError: it does not fit, or the data have no labels of the name in `config.data.label`.
      FileNotFoundError: `config.data.manual_dir`, if given, lacks what the data set needs.
    """
    d, t, rate = config.data, config.train, None
    spec = datasets.Spec.of_config(d)
    if d.manual_dir:
        registry.open(spec)  # refuses a folder that is not there
    if d.image_size:  # the data need not be there; 3 channels are the most there are
        shape, images = (*d.image_size, d.channels or 3), d.limit
        names = preparation.info(spec).class_names(d.label) if d.label else ()
    else:
        source = datasets.prepare(spec, "train")
        shape, images = source.image_shape, source.count
        names = source.info.class_names(d.label)
        if when == "always":
            change = augment.chain(d.flip, d.shift)
            rate = pipeline_rate(
                pipeline.training_batches(source, t.batch_size, 10**6, config.seed, augment=change)
            )
    classes = len(names)
    check(config, shape, replicas(distribute), images, budget_gb, when, rate, classes=classes)


def check_experiment(experiment: Experiment, budget_gb: float) -> None:
    """The same for an experiment whose workers are connected; not on GPUs, which it holds by then.

    Args:
      experiment: of this worker.
      budget_gb: as of `check_config`.

    Raises:
      ValueError: the run does not fit.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    source, strategy = experiment.source, experiment.strategy
    check(
        experiment.config,
        source.image_shape,
        strategy.num_replicas_in_sync,
        source.count,
        budget_gb,
        classes=experiment.model.classes,
    )


def replicas(distribute: str) -> int:
    """How many replicas a strategy will make, as far as it is known before."""
    if distribute == "none":
        return 1
    workers = 1
    if distribute == "multi_worker":
        text = os.environ.get("TF_CONFIG", "")
        tf_config.check(text)
        workers = len(json.loads(text)["cluster"]["worker"])
    return workers * max(len(tf.config.list_physical_devices("GPU")), 1)
