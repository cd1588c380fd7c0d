import csv
import json
import re

import binding
import keras
import numpy as np
import pytest
import tensorflow as tf
from ml_collections import config_flags
from small_run import smoke

from tf_structvae.datasets import pipeline
from tf_structvae.models import input_checks
from tf_structvae.studies import report
from tf_structvae.studies.targets import entropy_floor
from tf_structvae.training import callbacks
from tf_structvae.training import config as config_lib
from tf_structvae.training.experiment import Experiment
from tf_structvae.training.from_config import build_constraints, build_model


def weights(experiment):
    optimizer = experiment.model.optimizer.variables
    return [v.numpy() for v in [*experiment.model.variables, *optimizer]]


def test_run_writes_logs_pictures_and_scores(data_dir, tmp_path):
    experiment = Experiment(smoke(data_dir, tmp_path), tmp_path / "run")
    experiment.start(resume=False)
    assert "starting at step 0" in experiment.summary()
    logs = experiment.train()
    assert experiment.step == 6
    assert "kl" in experiment.targets(logs)
    with (tmp_path / "run/log.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert [r["step"] for r in rows] == ["3", "6"]
    assert {"log_prob", "val_log_prob", "kl", "kl_multiplier", "entropy_above_floor"} <= set(
        rows[0]
    )
    assert np.isfinite([float(v) for v in rows[1].values()]).all()
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["train"]["steps"] == 6
    assert list((tmp_path / "run/tensorboard").glob("events*"))
    pictures = report.write_pictures(experiment, (3, 5))
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    scores = report.write_scores(experiment)
    assert scores["log_prob"].error > 0
    picture, table = report.write_comparison([experiment, experiment], tmp_path / "both")
    assert picture.exists()
    assert "autocorrelation" in table
    assert {"val_component_square_min", "val_residual_square"} <= set(rows[0])
    saved = json.loads((tmp_path / "run/scores.json").read_text())
    assert len(saved["components"]["mean_square"]) == 3


@pytest.mark.long
@pytest.mark.parametrize("stop", [3, 6])
def test_resumed_run_ends_bit_for_bit_where_the_whole_one_does(data_dir, tmp_path, stop):
    """8 steps in epochs of 3, 3 and 2; the interrupted run loses all after its last checkpoint."""
    whole = Experiment(binding.config(smoke(data_dir, tmp_path, steps=8)), tmp_path / "whole")
    whole.start(resume=False)
    whole.train()

    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.steps) == stop + 1:
                raise KeyboardInterrupt

    first = Experiment(binding.config(smoke(data_dir, tmp_path, steps=8)), tmp_path / "parts")
    first.start(resume=False)
    fit = first.model.fit
    first.model.fit = lambda *a, callbacks, **k: fit(*a, callbacks=[*callbacks, Kill()], **k)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    again = Experiment(binding.config(smoke(data_dir, tmp_path, steps=8)), tmp_path / "parts")
    again.start(resume=True)
    assert again.step == stop
    again.train()
    binding.assert_same_state(whole, again)
    log = [(tmp_path / f"{d}/log.csv").read_text() for d in ("whole", "parts")]
    assert log[0] == log[1]
    loaded = Experiment.load(tmp_path / "parts")
    assert loaded.step == 8
    assert loaded.targets(loaded.train()) == "nothing was left to train"


def test_work_directory_is_not_overwritten(data_dir, tmp_path):
    c = smoke(data_dir, tmp_path, steps=3)
    experiment = Experiment(c, tmp_path / "run")
    experiment.start(resume=False)
    experiment.train()
    with pytest.raises(ValueError, match="already holds a run"):
        Experiment(c, tmp_path / "run").start(resume=False)
    changed = smoke(data_dir, tmp_path, steps=3, learning_rate=0.5)
    with pytest.raises(ValueError, match=r"train.learning_rate: 0.0015 -> 0.5"):
        Experiment(changed, tmp_path / "run").start(resume=True)
    told = Experiment(changed, tmp_path / "run")
    told.start(resume=True, allow_changes=True)
    assert told.step == 3
    saved = json.loads((tmp_path / "run/config.json").read_text())
    assert saved["train"]["learning_rate"] == 0.5


def test_pixels():
    assert report.parse_pixel(None, (9, 7, 3)) == (4, 3)
    assert report.parse_pixel(["8", " 0"], (9, 7, 3)) == (8, 0)
    for words in (["9", "0"], ["0", "7"], ["1"], ["1", "-2"], ["a", "b"]):
        with pytest.raises(ValueError, match="pixel"):
            report.parse_pixel(words, (9, 7, 3))


def test_load_without_a_run(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Experiment.load(tmp_path)


def test_one_callback_looks_at_the_loss():
    own = callbacks.StopOnNonFinite(str)
    assert input_checks.with_stop([own]) == [own]
    plain = input_checks.with_stop(None)
    assert [type(c) for c in plain] == [input_checks.StopOnNonFiniteLoss]


def test_non_finite_loss_stops_the_run(data_dir, tmp_path):
    experiment = Experiment(smoke(data_dir, tmp_path), tmp_path / "run")
    experiment.start(resume=False)
    experiment.model.head.mean_bias.assign([np.nan] * 3)
    with pytest.raises(FloatingPointError, match="at step 1; multipliers") as failure:
        experiment.train()
    assert (tmp_path / "run/failure.txt").read_text() == f"{failure.value}\n"
    told = re.search(r"batch: images ([\d, ]+) of the training split", str(failure.value))[1]
    source = experiment.source
    batch = next(iter(pipeline.training_batches(source, 16, 1, 0)))
    images = [source.decode(e["image"]) for e in source.examples]
    named = np.stack([images[int(i)] for i in told.split(", ")]) / 255
    np.testing.assert_allclose(batch, named, atol=1e-6)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_constraints_of_the_papers_configs():
    c = config_lib.paper(kl_target=45.0, entropy_target=-504750.0)
    kl, entropy = build_constraints(c, (218, 178, 3))
    assert (kl.target, entropy.target) == (45.0, -504750.0)
    assert (kl.rate, kl.damping, kl.kind) == (25.0, 250.0, "clamped_equality")
    np.testing.assert_allclose(entropy_floor((218, 178, 3), 1e-5), -4.33752419928 * 116412)
    c.objective.entropy_target = -504950.0
    with pytest.raises(ValueError, match="cannot be met"):
        build_constraints(c, (218, 178, 3))
    c.objective.entropy_target = None
    c.objective.entropy_budget = 190.0
    _, entropy = build_constraints(c, (218, 178, 3))
    np.testing.assert_allclose(entropy.target, -504749.87, atol=0.01)


@pytest.mark.long
def test_papers_network_at_the_size_of_celeba():
    model = build_model(config_lib.paper(45.0, -504750.0), (218, 178, 3))
    assert 0.97 * 31.0e6 < model.count_params() < 1.03 * 31.0e6  # the authors' has 31.0 M
    p = model.decode(tf.zeros([1, 128]))
    assert p.event_shape == (218 * 178 * 3,)


@pytest.mark.parametrize(
    "name", ["avatars", "avatars_standard", "avatars_paper", "appendix_a", "smoke"]
)
def test_configs_are_valid(name):
    flag = config_flags.config_flags._LoadConfigModule("c", f"configs/{name}.py")
    config_lib.validate(flag.get_config())


def test_variants_of_the_study_are_valid_and_differ():
    module = config_flags.config_flags._LoadConfigModule("s", "configs/study.py")
    found = [module.get_config(v) for v in module.VARIANTS]
    for c in found:
        config_lib.validate(c)
        c.name = "any"
    texts = [c.to_json() for c in found]
    assert len(set(texts)) == len(texts)
    assert {v for names in module.STUDIES.values() for v in names} == set(module.VARIANTS)
    with pytest.raises(ValueError, match="variant must be one of calibrated"):
        module.get_config("none")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "a/b"),
        ("data.limit", -1),
        ("model.rank", 0),
        ("model.noise", "none"),
        ("model.epsilon", -1.0),
        ("model.encoder.stages", ()),
        ("objective.samples", 0),
        ("objective.entropy_budget", -3.0),
        ("objective.rate", float("nan")),
        ("train.batch_size", 0),
        ("train.precision", "float8"),
        ("seed", -1),
    ],
)
def test_impossible_values_are_refused(path, value):
    c = config_lib.default()
    c.update_from_flattened_dict({path: value})
    with pytest.raises(ValueError, match=f"config.{path} = "):
        config_lib.validate(c)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("data.name", "mnist", "data set must be one of .* got 'mnist'"),
        ("data.image_size", (64,), r"image_size must be .* got \(64,\)"),
        ("data.fit", "zoom", "fit must be one of .* got 'zoom'"),
        ("data.channels", 2, "channels must be .* got 2"),
    ],
)
def test_impossible_data_are_refused(path, value, message):
    c = config_lib.default()
    c.update_from_flattened_dict({path: value})
    with pytest.raises(ValueError, match=f"config.data: {message}"):
        config_lib.validate(c)


@pytest.mark.long
@pytest.mark.parametrize(
    "precision", [pytest.param("mixed_bfloat16", marks=pytest.mark.long), "mixed_float16"]
)
def test_mixed_precision_with_a_float32_head(data_dir, tmp_path, precision):
    c = smoke(data_dir, tmp_path, precision=precision, steps=9)
    experiment = Experiment(c, tmp_path / "run")
    experiment.start()
    model = experiment.model
    compute = {layer.compute_dtype for layer in model.decoder.layers if "conv" in layer.name}
    assert compute == {precision.removeprefix("mixed_")}
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.decode(tf.zeros([1, 4])).dtype == tf.float32
    assert model.encode(tf.zeros([1, 16, 16, 3])).dtype == tf.float32
    logs = experiment.train()
    assert experiment.step == 9
    assert np.isfinite(list(logs.values())).all()
    again = Experiment(c, tmp_path / "run")
    again.start(resume=True)
    for a, b in zip(weights(experiment), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)
    if precision == "mixed_float16":
        # the first loss scales are too large: steps are skipped, but data and noise go on
        assert int(model.optimizer.iterations) < 9
        return
    # the same run in float32: bfloat16 keeps 8 bits, and nine steps do not carry that far
    plain = Experiment(smoke(data_dir, tmp_path, steps=9), tmp_path / "plain")
    plain.start()
    reference = plain.train()
    np.testing.assert_allclose(logs["log_prob"], reference["log_prob"], rtol=0.1)
