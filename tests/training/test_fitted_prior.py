"""Priors in runs: fitted after training, learned in it, kept beside the checkpoint, exported."""

import csv
import json

import forked
import numpy as np
import pytest
from small_run import smoke

import tf_structvae as sv
from tf_structvae import priors
from tf_structvae.export import card
from tf_structvae.studies import scores
from tf_structvae.training import fitted_prior
from tf_structvae.training.experiment import Experiment


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    """The directory of a run whose prior bin/train fitted."""
    folder = tmp_path_factory.mktemp("fitted")
    words = ["--config=configs/smoke.py", f"--workdir={folder / 'run'}"]
    words += [f"--config.data.dir={data_dir}", f"--config.export_dir={folder / 'models'}"]
    done = forked.run("bin/train", *words)
    assert done.returncode == 0, done.stderr
    assert "fitted: mixture of 4 normals" in done.stdout
    return folder


def test_train_fits_exports_and_draws_the_prior(trained):
    experiment = Experiment.load(trained / "run")
    prior = experiment.model.prior
    assert isinstance(prior, priors.Mixture)
    assert prior.components == 4
    assert not prior.trainable_variables
    assert (trained / "run/pictures/priors.png").exists()
    exported = sv.load(trained / "models/smoke")
    assert exported.prior == prior.describe() == "mixture of 4 normals with full covariances"
    # what is drawn is at latents of the mixture, not of N(0, I)
    z = prior.sample(32, 3)
    means = scores.prior_samples(experiment, 32, means=True)
    wanted = experiment.model.decode(z).mean()
    np.testing.assert_allclose(means.reshape(32, -1), wanted, atol=1e-6)
    # and it is that of the posteriors of all training images
    posterior = priors.AggregatedPosterior.of(
        experiment.model.encode, experiment.batches(experiment.source)
    )
    again = priors.Mixture.fit(posterior, 4)
    np.testing.assert_allclose(again.log_prob(z), prior.log_prob(z), rtol=1e-3, atol=1e-3)


def test_the_logs_have_the_parts_of_the_kl_divergence(trained):
    with (trained / "run/log.csv").open() as f:
        rows = list(csv.DictReader(f))
    for row in rows:
        parts = [float(row[f"val_{k}"]) for k in ("prior_mismatch", "mutual_information")]
        np.testing.assert_allclose(sum(parts), float(row["val_kl"]), rtol=1e-4)
        assert min(parts) > 0


@pytest.mark.long
def test_a_prior_of_another_step_is_left_out(data_dir, tmp_path, capsys):
    config = smoke(data_dir, tmp_path)
    experiment = Experiment(config, tmp_path / "run")
    experiment.start()
    experiment.train()
    experiment.fit_prior(progress=False)
    config.train.steps = 9
    longer = Experiment(config, tmp_path / "run")
    longer.start(resume=True, allow_changes=True)
    assert isinstance(longer.model.prior, priors.StandardNormal)  # what it trained with
    longer.train()
    capsys.readouterr()
    assert isinstance(Experiment.load(tmp_path / "run").model.prior, priors.StandardNormal)
    text = capsys.readouterr().out
    assert "was fitted at step 6, not at 9: it is left out" in text
    longer.fit_prior(fitted_prior.Settings("normal"), progress=False)
    assert isinstance(Experiment.load(tmp_path / "run").model.prior, priors.Normal)
    path = tmp_path / "run/prior/last.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"last.npz holds no prior .* bin/fit_prior makes it anew"):
        Experiment.load(tmp_path / "run")


@pytest.mark.parametrize(
    "kind",
    ["mixture", "flow", *(pytest.param(k, marks=pytest.mark.long) for k in ("normal", "vamp"))],
)
def test_each_kind_is_kept_in_a_file_and_copied(kind, tmp_path):
    rng = np.random.default_rng(0)
    posterior = priors.AggregatedPosterior(rng.normal(size=(60, 3)), np.full((60, 3), 0.5))

    def encode(images):
        means = np.reshape(images, [len(images), -1])[:, :3]
        return priors.AggregatedPosterior(means, np.ones_like(means)).as_distribution()

    images = rng.uniform(size=(60, 2, 2, 1)).astype(np.float32)
    made = {"encode": encode, "images": images} if kind == "vamp" else {}
    if kind == "vamp":
        prior = priors.VampPrior(3, (2, 2, 1), 5)
        prior.start_at(images)
        prior.attach(encode)
    else:
        prior = priors.fit(kind, posterior, 5, steps=20, **made)
    fitted_prior.save(tmp_path / "a/p.npz", prior, {"step": 3})
    loaded, about = fitted_prior.load(tmp_path / "a/p.npz")
    assert about == {"step": 3}
    z = rng.normal(size=(7, 3)).astype(np.float32)
    for other in (loaded, fitted_prior.copy(prior)):
        other.attach(encode)
        np.testing.assert_array_equal(other.log_prob(z), prior.log_prob(z))
    assert fitted_prior.load(tmp_path / "nothing.npz") is None


@pytest.mark.long
@pytest.mark.parametrize("kind", ["normal", "vamp", "flow"])
def test_a_run_learns_its_prior_and_goes_on_with_it(kind, data_dir, tmp_path):
    """Whole, and in two parts: the same weights, the prior's among them."""

    def make(name, steps):
        config = smoke(data_dir, tmp_path, steps=steps, final_fraction=1.0)
        config.prior.kind, config.prior.fitted = kind, "none"
        return Experiment(config, tmp_path / name)

    whole = make("whole", 6)
    if kind == "vamp":  # starts at images
        first = next(iter(whole.batches(whole.source)))[:4]
        np.testing.assert_array_equal(whole.model.prior.pseudo_inputs, first)
    before = [w.numpy() for w in whole.model.prior.weights]
    whole.start()
    whole.train()
    assert any(
        np.any(w.numpy() != b) for w, b in zip(whole.model.prior.weights, before, strict=True)
    )
    assert "prior: " in whole.summary()
    estimated = "estimated from 1 sample" in whole.summary()
    assert estimated == (kind != "normal")
    half = make("half", 3)
    half.start()
    half.train()
    half = make("half", 6)
    half.start(resume=True, allow_changes=True)
    half.train()
    for a, b in zip(whole.model.variables, half.model.variables, strict=True):
        if "learning_rate" not in a.path:
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    loaded = Experiment.load(tmp_path / "whole")
    z = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    found, wanted = loaded.model.prior.log_prob(z), whole.model.prior.log_prob(z)
    # the encoder of a VampPrior rounds
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if kind == "vamp" else 0)


def test_the_exact_twin_of_tfps_model_has_the_fitted_prior(data_dir, tmp_path):
    config = smoke(data_dir, tmp_path)
    config.model.likelihood, config.model.factor_scale = "stock_low_rank", "kernel"
    experiment = Experiment(config, tmp_path / "run")
    experiment.start()
    experiment.fit_prior(progress=False)
    exact = experiment.exact_model
    z = exact.prior.sample(5, 1)
    np.testing.assert_array_equal(z, experiment.model.prior.sample(5, 1))
    for a, b in zip(exact.weights, experiment.model.weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_fit_prior_changes_a_run_and_exports_it(trained):
    run = trained / "run"
    words = [f"--workdir={run}", f"--directory={trained / 'other'}"]
    done = forked.run("bin/fit_prior", *words, "--kind=normal")
    assert done.returncode == 0, done.stderr
    for line in ("| N(0, I) |", "| before |", "| fitted |", "prior     N(m, C)", "priors.png"):
        assert line in done.stdout
    assert sv.load(trained / "other").prior == "N(m, C), full covariance"
    written = json.loads((trained / "other/1/model_card.json").read_text())
    assert written["metrics"] is None  # those there are of the prior before
    assert isinstance(Experiment.load(run).model.prior, priors.Normal)
    assert card.of_experiment(Experiment.load(run))["metrics"] is None  # for bin/export, too
    done = forked.run("bin/fit_prior", f"--workdir={run}", "--kind=none", "--noexport")
    assert done.returncode == 0, done.stderr
    assert "prior     N(0, I), that of training" in done.stdout
    assert not (run / "prior/last.npz").exists()
    assert isinstance(Experiment.load(run).model.prior, priors.StandardNormal)


def test_a_run_from_before_priors_keeps_n_0_i(data_dir, tmp_path):
    experiment = Experiment(smoke(data_dir, tmp_path), tmp_path / "run")
    experiment.start()
    experiment.checkpoints.save(0)
    file = tmp_path / "run/config.json"
    config = json.loads(file.read_text())
    del config["prior"]
    file.write_text(json.dumps(config))
    loaded = Experiment.load(tmp_path / "run")
    assert loaded.config.prior.fitted == "none"
    assert isinstance(loaded.model.prior, priors.StandardNormal)


def test_too_few_images_are_an_error_before_training(data_dir, tmp_path):
    config = smoke(data_dir, tmp_path)
    config.prior.components = 300
    with pytest.raises(ValueError, match="takes at least 300 training images, got 256"):
        Experiment(config, tmp_path / "run")
    config.prior.fitted, config.prior.kind = "none", "vamp"
    with pytest.raises(ValueError, match=r"components = 300 must be at most .* images, 256"):
        Experiment(config, tmp_path / "run")
