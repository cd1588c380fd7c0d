"""Conditional models in experiments: data, training, resuming, scores, pictures, replicas."""

import json

import binding
import forked
import numpy as np
import pytest
import tensorflow as tf
from small_run import smoke

from tf_structvae import datasets, priors
from tf_structvae.datasets import pipeline
from tf_structvae.datasets.first_images import within_classes
from tf_structvae.evaluation import calibration, importance
from tf_structvae.export import card, export
from tf_structvae.models import class_labels
from tf_structvae.studies import drawings, report, scores
from tf_structvae.studies.collection import Settings
from tf_structvae.studies.evaluate import evaluate
from tf_structvae.training import config as config_lib
from tf_structvae.training import workdir
from tf_structvae.training.experiment import Experiment
from tf_structvae.training.preflight import decision, of_run, size

LABEL = "glasses"


def config(data_dir, tmp_path, label=LABEL, **train):
    c = binding.config(smoke(data_dir, tmp_path, **train))
    c.data.label = label
    return c


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    """A run of six steps, and its experiment."""
    folder = tmp_path_factory.mktemp("conditional")
    experiment = Experiment(config(data_dir, folder), folder / "run")
    experiment.start()
    experiment.train()
    return experiment


def test_labels_stay_with_their_images(data_dir):
    """Shuffled, cached, augmented, sharded: each image has the label it has in the records."""
    source = datasets.prepare(datasets.Spec("avatars", "16x16_tiny", data_dir), "train").take(60)
    truth = {
        source.decode(e["image"]).numpy().tobytes(): int(e[LABEL]) for e in source.examples
    }  # fmt: skip
    assert len(set(truth.values())) > 1
    assert pipeline.labels(source, LABEL).tolist() == [int(e[LABEL]) for e in source.examples]
    for batches in (
        pipeline.training_batches(source, 16, 8, seed=0, label=LABEL, shard=(1, 2)),
        pipeline.evaluation_batches(source, 16, label=LABEL),
    ):
        seen = 0
        for images, labels in batches:
            assert labels.dtype == tf.int32
            for image, label in zip(np.rint(255 * images.numpy()), labels.numpy(), strict=True):
                assert truth[image.astype(np.uint8).tobytes()] == label
                seen += 1
        assert seen >= 60


def test_run_takes_its_classes_from_the_data(trained):
    names = trained.source.info.classes[LABEL]
    assert trained.class_names == names
    assert trained.model.classes == len(names)
    assert f"given {LABEL}, {len(names)} classes: {names[0]}" in trained.summary()
    assert card.of_experiment(trained)["classes"] == list(names)
    assert trained.model.decoder.input_shape[1] == (None, len(names))


@pytest.mark.parametrize("label", ["colour", "skin_tone", "image"])
def test_other_labels_are_refused_before_any_work(data_dir, tmp_path, label):
    c = config(data_dir, tmp_path, label)
    message = f"class attribute of avatars/16x16_tiny, got '{label}'; there are: hair_style, clo"
    with pytest.raises(ValueError, match=message):
        of_run.check_config(c, "none", 0.0, "if_large")
    with pytest.raises(ValueError, match=message):
        Experiment(c, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    c.data.update({"name": "lfw25", "variant": "", "image_size": (25, 25)})
    with pytest.raises(ValueError, match=r"attribute of lfw25, got .* there are: none; it has no"):
        of_run.check_config(c, "none", 0.0, "if_large")


@pytest.mark.long
def test_resumed_run_ends_bit_for_bit(trained, data_dir, tmp_path):
    c = config(data_dir, tmp_path)
    half = Experiment(c, tmp_path / "run")
    half.start()
    half._fit(1, 3)  # the first epoch alone
    rest = Experiment(c, tmp_path / "run")
    rest.start(resume=True)
    assert rest.step == 3
    rest.train()
    binding.assert_same_state(rest, trained)
    c.data.label = "eyes"
    with pytest.raises(ValueError, match=r"data.label: 'glasses' -> 'eyes'"):
        workdir.check(tmp_path / "run", c, resume=True)


def test_runs_of_before_there_were_labels_go_on(data_dir, tmp_path):
    c = smoke(data_dir, tmp_path)
    workdir.write_config(tmp_path, c)
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["data"]["label"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    workdir.check(tmp_path, c, resume=True)


def test_labels_of_the_prior_are_as_frequent_as_in_the_data(trained):
    counts = np.zeros(trained.model.classes)
    for e in trained.source.examples:
        counts[int(e[LABEL])] += 1
    np.testing.assert_allclose(trained.label_frequencies, counts / counts.sum())
    n = 20_000
    (drawn,) = trained.draw_labels(n, seed=5)
    share = np.bincount(drawn, minlength=len(counts)) / n
    p = counts / counts.sum()
    assert np.all(np.abs(share - p) <= 5 * np.sqrt(p * (1 - p) / n))  # five standard errors
    np.testing.assert_array_equal(trained.draw_labels(7, seed=5)[0], drawn[:7])


def test_scores_are_those_given_the_labels(trained):
    (start, p), *_ = scores.prior_distributions(trained, 40, seed=3)
    z = np.random.default_rng(3).standard_normal([32, trained.model.latent_dim])
    labels = trained.draw_labels(40, 3)[0][:32]
    expected = trained.model.decode(z.astype(np.float32), labels)
    assert start == 0
    np.testing.assert_allclose(p.mean(), expected.mean(), atol=1e-6)
    images, labels = next(iter(trained.evaluation_batches("test")))
    w = importance.log_weights(trained.model, images, 2, labels=(labels,))
    q = trained.model.encode(images, labels)
    noise = [np.random.default_rng([0, i]).standard_normal([2, 4]) for i in range(len(images))]
    z = np.asarray(q.loc) + np.asarray(q.stddev()) * np.stack(noise)[:, 0]
    of_z = np.sum(-0.5 * z**2 + 0.5 * np.stack(noise)[:, 0] ** 2, -1)
    of_z += np.log(np.asarray(q.stddev())).sum(-1)
    p = trained.model.decode(z.astype(np.float32), labels)
    x = tf.reshape(images, [len(images), -1])
    np.testing.assert_allclose(w[0], p.log_prob(x) + of_z, rtol=1e-4, atol=1e-2)
    with pytest.raises(ValueError, match="labels must be integers"):
        calibration.calibration(trained.model, [images])
    posterior = next(scores.prior_distributions(trained, 40, latents="posterior"))[1]
    first = class_labels.split(next(iter(trained.batches(trained.source.take(40)))))
    q = trained.model.encode(*first)
    rng = np.random.default_rng(3)
    z = q.mean() + q.stddev() * rng.standard_normal(q.mean().shape).astype(np.float32)
    np.testing.assert_allclose(
        posterior.mean(), trained.model.decode(z, first[1]).mean(), atol=1e-5
    )


@pytest.mark.long
def test_pictures_evaluation_and_figures(trained, tmp_path):
    found = report.write_scores(trained)
    assert np.isfinite([e.value for e in found.values()]).all()
    pictures = report.write_pictures(trained, (3, 5))
    assert "classes.png" in {p.name for p in pictures}
    settings = Settings(images=40, importance_images=4, importance_samples=2)
    written = evaluate({"ours": trained.workdir}, [], settings, tmp_path)
    (data,) = json.loads(written.numbers.read_text())["data_sets"].values()
    assert np.isfinite(data["models"]["ours"]["estimates"]["log_likelihood"]["value"])
    options = drawings.Options(images=2, columns=2)
    for draw, number in (
        (drawings.samples, 1),
        (drawings.observation, 2),
        (drawings.interpolation, 3),
        (drawings.editing, 11),
    ):
        assert draw(number, [trained], options) is not None
    with pytest.raises(ValueError, match="images must be at most"):
        drawings.observation(2, [trained], drawings.Options(images=1000))


def test_a_column_of_the_class_sheet_shares_its_noise(trained, monkeypatch):
    shown = []
    monkeypatch.setattr("tf_structvae.figures.sheet", lambda rows, *_: shown.extend(rows))
    report.class_sheet(trained, columns=3, seed=1)
    assert [r.label for r in shown] == list(trained.class_names)
    z = np.random.default_rng(1).standard_normal([3, 4]).astype(np.float32)
    noise = np.random.default_rng(np.random.SeedSequence(1, spawn_key=(1,)))
    omega = noise.standard_normal([3, 3]).astype(np.float32)
    for k, row in enumerate(shown):
        p = trained.model.decode(z, [k] * 3)
        expected = p.sample_from_noise(omega).numpy().reshape(row.images.shape)
        np.testing.assert_allclose(row.images, expected, atol=1e-5)


@pytest.mark.long
def test_preflight_measures_labels_too(trained):
    classes = trained.model.classes
    lines = []
    decision.check(trained.config, (16, 16, 3), when="always", output=lines.append, classes=classes)
    assert "images a second" in lines[-1]
    plain = size.of_network(trained.config, (16, 16, 3)).parameters
    told = size.of_network(trained.config, (16, 16, 3), classes).parameters
    assert told["encoder"] - plain["encoder"] == 4 * classes  # of the stem's four filters


@pytest.mark.parametrize("flip", [False, True])
def test_targets_are_of_what_the_label_leaves_open(trained, flip):
    source = trained.source
    images = [source.decode(e["image"]).numpy() / np.float32(255) for e in source.examples]
    images, labels = np.stack(images[:150]), pipeline.labels(source, LABEL)[:150]
    if flip:
        images = np.concatenate([images, images[:, :, ::-1]])
        labels = np.tile(labels, 2)
    residual = sum(
        np.square(images[labels == k] - images[labels == k].mean(0)).sum() for k in set(labels)
    )
    found = within_classes(source, 150, flip, LABEL)
    np.testing.assert_allclose(np.square(found).sum(), residual, rtol=1e-4)


REPLICAS = """
import json, sys
import tensorflow as tf
sys.path[:0] = ["tests", "tests/helpers"]
import keras, numpy as np
import binding, conditional
from tf_structvae.training import cluster
from tf_structvae.datasets.pipeline import part

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

def run(strategy):
    with strategy.scope():
        model = conditional.make(
            constraints=binding.constraints(-20.0), samples=2, pretrain_steps=2
        )
        model.compile(keras.optimizers.Adam(0.01))
    data = tf.data.Dataset.from_tensor_slices(conditional.batch(29)).batch(7)  # the last has one
    logs = model.fit(data, validation_data=data.skip(4), verbose=0).history
    return (
        strategy.num_replicas_in_sync,
        {k: float(np.mean(v[-1])) for k, v in logs.items()},
        {v.path: np.asarray(v).tolist() for v in model.variables if "seed" not in v.path},
    )

batches = tf.data.Dataset.from_tensor_slices((tf.range(10), 2 * tf.range(10))).batch(5)
halves = [(a.numpy().tolist(), b.numpy().tolist()) for a, b in cluster.split(batches, 2)]
assert halves[:2] == [([0, 1, 2], [0, 2, 4]), ([3, 4], [6, 8])], halves
print(json.dumps([run(cluster.build_strategy(name)) for name in ("none", "mirrored")]))
"""


@pytest.mark.long
def test_two_replicas_equal_one():
    """Uneven batches, and a last one of one image, whose replica without any is filled up."""
    from replica_limits import LIMIT, assert_same

    done = forked.run("-c", REPLICAS, timeout=LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same(*json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.long
def test_program(data_dir, tmp_path):
    """bin/train on another attribute and another likelihood, once."""
    done = forked.run(
        "bin/train", "--config=configs/smoke.py", "--config.data.label=clothing",
        f"--config.data.dir={data_dir}", f"--config.export_dir={tmp_path / 'models'}",
        "--config.model.likelihood=independent", f"--workdir={tmp_path / 'run'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "given clothing" in done.stdout
    assert "pictures/classes.png" in done.stdout
    found = json.loads((tmp_path / "models/smoke/1/model_card.json").read_text())
    assert list(found["signatures"]["decode"]["inputs"]) == ["latents", "labels"]
    assert len(found["classes"]) > 2


@pytest.mark.long
def test_a_prior_of_each_label_is_fitted_drawn_and_exported(data_dir, tmp_path):
    c = config(data_dir, tmp_path)
    c.prior.fitted, c.prior.by_label = "normal", True
    experiment = Experiment(c, tmp_path / "run")
    experiment.start()
    experiment.train()
    experiment.fit_prior(progress=False)
    prior = Experiment.load(tmp_path / "run").model.prior
    assert isinstance(prior, priors.Conditional)
    labels = experiment._labels()
    posterior = priors.AggregatedPosterior.of(
        experiment.model.encode, experiment.batches(experiment.source)
    )
    for k, own in enumerate(prior.priors):
        mean, covariance = posterior.subset(labels == k).moments()
        np.testing.assert_allclose(own.mean, mean, atol=1e-5)
        np.testing.assert_allclose(own.covariance, covariance, atol=1e-5)
    p = next(scores.prior_distributions(experiment, 20, seed=3))[1]
    (drawn,) = experiment.draw_labels(20, 3)
    z = prior.sample(20, 3, drawn)
    np.testing.assert_allclose(p.mean(), experiment.model.decode(z, drawn).mean(), atol=1e-5)
    path = export(experiment.exact_model, tmp_path / "m", warm_up=False)
    signature = tf.saved_model.load(str(path)).signatures["sample"]
    given = {"seeds": tf.constant([[0, 1], [0, 1]]), "labels": tf.constant([0, 1])}
    first, second = signature(**given)["latents"].numpy()
    assert np.abs(first - second).max() > 1e-3  # the same noise, another prior
    assert report.class_sheet(experiment, 3) is not None


def test_a_prior_by_label_needs_images_of_each(data_dir, tmp_path):
    c = config(data_dir, tmp_path)
    c.prior.by_label, c.prior.components = True, 200
    with pytest.raises(ValueError, match=r"at least 200 training images of label \d, got \d+"):
        Experiment(c, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.label": ""}, "prior.by_label = True: must be False without data.label"),
        ({"prior.by_label": False, "prior.kind": "vamp"}, "by_label = False: must be True for a V"),
        ({"prior.kind": "mixture"}, "prior.kind = 'mixture': must be one of standard_normal"),
        ({"prior.fitted": "gamma"}, "prior.fitted = 'gamma': must be one of none, normal, mixture"),
        ({"prior.components": 0}, "prior.components = 0: must be a positive integer"),
        ({"prior.fitted": "flow", "model.latent_dim": 1}, "must be at least 2 for a flow"),
    ],
)
def test_priors_that_cannot_be_are_refused(changes, message, data_dir, tmp_path):
    c = config(data_dir, tmp_path)
    c.prior.by_label = True
    c.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        config_lib.validate(c)
