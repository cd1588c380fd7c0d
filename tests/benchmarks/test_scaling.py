"""What the benchmark of several workers counts and tables."""

import json
import math
import os

import keras
import pytest
import small_vae
import tensorflow as tf

from tf_structvae import priors
from tf_structvae.benchmarks import scaling
from tf_structvae.layers import IndependentNormalHead
from tf_structvae.models import replicas
from tf_structvae.models.constraints import Constraint
from tf_structvae.models.training_step import Totals


def size(nest):
    return sum(x.dtype.size * math.prod(x.shape) for x in tf.nest.flatten(nest))


def summed(model, monkeypatch):
    """What a step of a model sums over replicas."""
    found = []
    monkeypatch.setattr(replicas, "global_sum", lambda x: found.append(x) or x)
    model.compile("adam", run_eagerly=True)
    model.fit(small_vae.images(8), batch_size=8, verbose=0)
    return found


def test_payload_is_what_a_step_sums_over_replicas(monkeypatch):
    model = small_vae.make(
        constraints=[Constraint("kl", 2.0)], prior=priors.Normal(small_vae.LATENT, rate=0.1)
    )
    found = summed(model, monkeypatch)
    told = scaling.payload(model)
    (totals,) = (x for x in found if isinstance(x, Totals))
    assert told["noise moments"] == size(totals.noise) == 4 * (3 + 3 * 3)
    assert told["prior moments"] == size(totals.prior) == 4 * (3 + 3 * 3)
    alone = [x for x in found if isinstance(x, dict)]
    assert told["constraints"] == size(alone) + size(totals.constrained) == 8
    assert told["gradients"] == size([w.value for w in model.trainable_weights])
    assert told["batch normalisation"] == 0


def test_payload_of_a_model_without_any_of_it(monkeypatch):
    head = IndependentNormalHead(2, epsilon=0.05)
    told = scaling.payload(small_vae.make(head))
    assert {k: v for k, v in told.items() if v} == {"gradients": told["gradients"]}


def test_payload_counts_the_channels_that_are_normalised_together():
    model = small_vae.make()
    model.encoder.add(keras.layers.BatchNormalization(synchronized=True))
    model.encoder.build((None, *small_vae.SHAPE))
    channels = 2 * small_vae.LATENT
    # as tests/models/test_batch_normalization.py finds exchanged, forth and back
    assert scaling.payload(model)["batch normalisation"] == 2 * 4 * (2 * channels + 1)


def row(what, workers, rate, **more):
    return {"what": what, "workers": workers, "images_per_second": rate, **more}


def test_table_has_the_ratio_of_each_turn():
    results = [
        row("training", 1, 50.0, bytes={"gradients": 1}),
        row("training", 2, 80.0, bytes={"gradients": 7_000_000}),
        row("training", 1, 40.0),
        row("training", 2, 72.0),
        row("generation", 1, 100.0),
        {"what": "generation", "workers": 2, "error": "a worker ended with status 1"},
    ]
    text = scaling.table(results)
    assert "| training | 45.0 | 76.0 | 1.70 | 1.60 to 1.80 |" in text
    assert "| generation | a worker ended with status 1 |" in text
    assert "| gradients | 7,000,000 |" in text


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="pins workers, on Linux")
def test_more_workers_than_cores():
    count = len(os.sched_getaffinity(0)) + 1
    with pytest.raises(ValueError, match=f"needs {count} cores, this process may use {count - 1}"):
        scaling._cores(count)


@pytest.mark.long
def test_suite(tmp_path):
    found = scaling.run(quick=True)
    assert [(r["what"], r["workers"]) for r in found] == [
        (what, workers) for what in ("training", "generation") for workers in (1, 2)
    ]
    assert all(r["images_per_second"] > 0 for r in found), json.dumps(found)
    assert found[1]["bytes"]["batch normalisation"] > 0
