"""Table 1 of two small models: its numbers, what is skipped, and what is refused."""

import dataclasses
import json
import shutil

import fake_inception
import numpy as np
import pytest
from forked import run
from small_run import save_untrained

from tf_structvae import priors
from tf_structvae.datasets import pipeline
from tf_structvae.evaluation import features, frechet_scores, heldout
from tf_structvae.evaluation.feature_set import FeatureCollector
from tf_structvae.evaluation.kid import kernel_distance
from tf_structvae.studies import combine_seeds, evaluate, run_labels, scores, table
from tf_structvae.studies.collection import Settings, distance
from tf_structvae.studies.model_scores import model_settings
from tf_structvae.studies.plot import table1
from tf_structvae.training.experiment import Experiment

FLAGS = ["--images=40", "--importance_samples=3", "--importance_images=10", "--resamples=3"]
TINY = Settings(images=40, importance_images=10, importance_samples=3, resamples=3)


@pytest.fixture(scope="module")
def ours(data_dir, tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("runs") / "ours", data_dir)


@pytest.fixture(scope="module")
def standard(data_dir, tmp_path_factory):
    changes = {"name": "plain", "model.likelihood": "independent"}
    return save_untrained(tmp_path_factory.mktemp("runs") / "standard", data_dir, **changes)


def test_program(ours, standard, tmp_path):
    weights = fake_inception.write(tmp_path / "classify_image_graph_def.pb")
    out = tmp_path / "out"
    common = ["bin/evaluate", f"--workdir={ours}", f"--workdir={standard}", f"--output={out}"]
    first = run(*common, *FLAGS, "--features=random_cnn")
    assert first.returncode == 0, first.stderr
    assert (out / "table1.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "evaluation.md").read_text()
    assert text.strip() in first.stdout
    with_noise = "Our VAE, smoke (samples with the noise of every pixel)"
    for row in ("Our VAE, smoke (means)", with_noise, "Standard VAE, plain (samples)"):
        assert f"| {row} |" in text
    assert "| the data themselves (train split) | avatars/16x16_tiny |" in text
    assert "FID" not in text.replace("Only Inception features give FID and KID", "")
    found = json.loads((out / "evaluation.json").read_text())["data_sets"]["avatars/16x16_tiny"]
    mine, plain = found["models"].values()
    assert list(mine["distances"]["random_cnn"]) == ["means", "samples", "noisy_samples"]
    assert list(plain["distances"]["random_cnn"]) == ["means", "samples"]
    only_ours = {k for k in table.MEASURES if k.startswith("component_")}
    only_ours |= {"effective_rank", "displacement"}
    assert set(mine["estimates"]) == set(table.MEASURES)
    assert set(plain["estimates"]) == set(table.MEASURES) - only_ours
    parts = {p.name: p.stat().st_mtime_ns for p in (out / "models").iterdir()}

    again = run(*common, *FLAGS, f"--inception_weights={weights}", "--features=random_cnn")
    assert again.returncode == 0, again.stderr
    assert "held-out scores" not in again.stderr  # there already
    assert "random_cnn" not in again.stderr
    assert "samples: inception_2015" in again.stderr
    assert "| FID | KID x 1000 |" in (out / "evaluation.md").read_text()
    more = json.loads((out / "evaluation.json").read_text())["data_sets"]["avatars/16x16_tiny"]
    kept = next(iter(more["models"].values()))
    assert kept["estimates"] == mine["estimates"]
    assert kept["distances"]["random_cnn"] == mine["distances"]["random_cnn"]
    assert {p.name for p in (out / "models").iterdir()} == set(parts)
    assert len(list((out / "reference").iterdir())) == 4  # of two splits


def direct(runs, output, **options):
    return evaluate.evaluate(
        runs, [features.extractor("random_cnn")], options.pop("settings", TINY), output, **options
    )


def load(written):
    (data,) = json.loads(written.numbers.read_text())["data_sets"].values()
    return data


def test_numbers_are_those_of_the_parts(ours, tmp_path, monkeypatch):
    """The rows against a computation that holds everything in memory."""
    found = load(direct(run_labels.check_runs([ours], "last"), tmp_path))
    (model,) = found["models"].values()
    experiment = Experiment.load(ours)
    network = features.extractor("random_cnn")
    data = np.concatenate([x.numpy() for x in experiment.evaluation_images("test")])[:40]
    assert found["data"]["images"] == 40
    for kind, saved in model["distances"]["random_cnn"].items():
        images = np.concatenate(list(scores.prior_batches(experiment, 40, kind, seed=0)))
        expected = frechet_scores.frechet([data], [images], network)
        assert saved["frechet"]["value"] == pytest.approx(expected.distance, rel=1e-3)
        assert saved["relative"]["value"] == pytest.approx(expected.relative, rel=1e-3)
        ratio = saved["relative"]["standard_error"] / saved["frechet"]["standard_error"]
        assert ratio == pytest.approx(expected.relative / expected.distance, rel=1e-3)
        x, y = network(data), network(images)
        scale = np.sqrt(np.mean(x.astype(np.float64) ** 2))
        kernel = kernel_distance(x, y, scale=scale)
        assert saved["kernel"]["value"] == pytest.approx(kernel.value, rel=1e-3)
    size = experiment.config.evaluation.batch_size
    batches = [data[i : i + size] for i in range(0, 40, size)]
    expected = heldout.held_out(experiment.exact_model, batches)[0]
    for name, value in expected.items():
        assert model["estimates"][name]["value"] == pytest.approx(value.value, rel=1e-4)
    samples = np.concatenate(list(scores.prior_batches(experiment, 40, "samples", seed=0)))
    variance = (
        samples.reshape(40, -1).var(0, ddof=1).sum() / data.reshape(40, -1).var(0, ddof=1).sum()
    )
    assert model["estimates"]["variance_ratio"]["value"] == pytest.approx(variance, rel=1e-4)
    assert model["estimates"]["variance_ratio"]["standard_error"] > 0


@pytest.mark.long
def test_what_is_there_is_skipped_until_something_changes(ours, tmp_path, monkeypatch):
    calls = []
    true = heldout.held_out
    monkeypatch.setattr(heldout, "held_out", lambda *a: calls.append(1) or true(*a))
    runs = run_labels.check_runs([ours], "last")
    first = load(direct(runs, tmp_path))
    assert load(direct(runs, tmp_path)) == first
    assert len(calls) == 1
    assert load(direct(runs, tmp_path, force=True)) == first
    assert len(calls) == 2
    other = load(direct(runs, tmp_path, settings=Settings(40, 10, 3, 3, seed=1)))
    assert len(calls) == 3
    assert other["models"] != first["models"]


def test_other_weights_are_another_model(ours):
    experiment = Experiment.load(ours)
    before = model_settings(experiment)
    assert before == model_settings(Experiment.load(ours))
    kernel = experiment.model.head.mean_kernel
    kernel.assign(kernel * 1.001)
    assert model_settings(experiment)["weights"] != before["weights"]


@pytest.mark.long
def test_models_of_unlike_data_get_tables_of_their_own(ours, data_dir, tmp_path):
    grey = save_untrained(tmp_path / "grey", data_dir, **{"name": "grey", "data.channels": 1})
    runs = run_labels.check_runs([ours, grey], "last")
    written = direct(runs, tmp_path, settings=Settings(40, 10, 0, 3))
    found = json.loads(written.numbers.read_text())["data_sets"]
    assert [len(d["models"]) for d in found.values()] == [1, 1]
    assert all(name.startswith("avatars/16x16_tiny") for name in found)
    assert len(list((tmp_path / "reference").iterdir())) == 4  # of two splits each
    assert (
        "log_likelihood" not in next(iter(found.values()))["models"]["Our VAE, smoke"]["estimates"]
    )


def test_samples_of_one_z_share_their_means_and_their_noise_is_their_own(ours):
    experiment = Experiment.load(ours)
    means, samples, noisy = (
        np.concatenate(list(scores.prior_batches(experiment, 40, kind, seed=0)))
        for kind in scores.KINDS
    )
    structured, noise = samples - means, noisy - samples
    assert np.abs(structured).max() > 0
    assert noise.std() > 5 * structured.std()  # 0.1 and less than 0.01 before training
    size = experiment.config.evaluation.batch_size
    z = np.random.default_rng(0).standard_normal([size, experiment.model.latent_dim])
    omega = np.random.default_rng([0, 0, 1]).standard_normal([size, experiment.model.head.rank])
    assert not np.isin(np.round(omega, 6), np.round(z, 6)).any()
    with pytest.raises(ValueError, match="kind must be one of"):
        next(scores.prior_batches(experiment, 4, "modes"))


def test_more_images_than_are_kept(monkeypatch):
    """The distance is that of all images, its error that of as many."""
    rng = np.random.default_rng(0)
    network = features.extractor("random_cnn")
    x, y = rng.normal(size=(300, 4)), 0.5 + rng.normal(size=(300, 4))
    found = {}
    for keep in (60, 300):
        sets = []
        for v in (x, y):
            collector = FeatureCollector(keep)
            collector.update(v)
            sets.append(collector.result())
        found[keep] = distance(*sets, network, Settings(resamples=60))
    few, all_of_them = found[60], found[300]
    assert few["frechet"]["value"] == pytest.approx(all_of_them["frechet"]["value"], rel=1e-5)
    ratio = few["frechet"]["standard_error"] / all_of_them["frechet"]["standard_error"]
    assert 0.5 < ratio < 2  # 2.2 if it were that of 60 images; each is told to 10%, and 60 to 20%
    assert few["images"] == 300


def one(value, error=0.1):
    return {"value": value, "standard_error": error}


def test_tables_and_bars():
    kinds = {
        kind: {"frechet": one(20.0), "relative": one(0.5), "kernel": one(0.0123, 0.0011)}
        for kind in scores.KINDS
    }
    models = {"Our VAE": {"inception_2015": kinds, "random_cnn": kinds}}
    titles = {"inception_2015": "FID", "random_cnn": "Frechet distance on random_cnn"}
    lines = table.distances("faces", models, titles).splitlines()
    assert lines[0].startswith("| method | data set | FID | KID x 1000 | Frechet on random_cnn")
    cells = ["Our VAE (means)", "faces", "20.00 +- 0.10", "12.3 +- 1.1"]
    cells += ["0.50 +- 0.10", "0.0123 +- 0.0011"]
    assert lines[2] == f"| {' | '.join(cells)} |"
    assert len(lines) == 5
    text = table.measures({"a": {"elbo": one(1.0)}, "b": {"kl": one(2.0), "elbo": one(3.0)}})
    assert text.splitlines()[2:] == [
        "| ELBO / nats | 1.00 +- 0.10 | 3.00 +- 0.10 |",
        "| KL / nats | - | 2.00 +- 0.10 |",
    ]
    floors = {"faces": {"random_cnn": {"train": {"relative": one(0.1)}}}}
    figure = table1({"faces": models, "brains": models}, titles, floors)
    assert [a.get_title() for a in figure.axes[:2]] == [
        "faces: inception_2015", "faces: random_cnn",
    ]  # fmt: skip
    points = [c.lines[0].get_xdata().tolist() for c in figure.axes[0].containers]
    assert points == [[20.0], [20.0], [20.0]]
    (bars,) = figure.axes[1].containers[0].lines[2]
    np.testing.assert_allclose(bars.get_segments()[0][:, 0], [0.3, 0.7])
    dashed = [line for line in figure.axes[1].lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [0.1]


def test_seeds_of_one_recipe_are_combined():
    def model(recipe, seed, value):
        kinds = {"means": {"frechet": one(value), "frechet_bias": 2 * value}}
        estimates = {"elbo": one(value), **({"kl": one(1.0)} if seed else {})}
        parts = {"estimates": estimates, "distances": {"random_cnn": kinds}}
        return {"recipe": recipe, "seed": seed, **parts}

    models = {f"a {s}": model("a", s, v) for s, v in ((0, 1.0), (1, 2.0), (2, 6.0))}
    models["b"] = model("b", 5, 7.0)
    found = combine_seeds.combine(models)
    assert list(found) == ["a, 3 seeds", "b"]
    assert found["b"] == {**models["b"], "seeds": [5]}
    several = found["a, 3 seeds"]
    error = np.std([1, 2, 6], ddof=1) / np.sqrt(3)
    expected = {"value": 3.0, "standard_error": pytest.approx(error)}
    assert several["estimates"] == {"elbo": expected}  # one run has no kl
    means = several["distances"]["random_cnn"]["means"]
    assert means == {"frechet": expected, "frechet_bias": 6.0}
    assert several["seeds"] == [0, 1, 2]


def test_recipes_are_runs_that_differ_in_their_seed_alone(ours, tmp_path):
    saved = json.loads((ours / "config.json").read_text())

    def runs(*changes):
        found = {}
        for i, change in enumerate(changes):
            path = tmp_path / f"{len(changes)}_{i}"
            path.mkdir()
            (path / "config.json").write_text(json.dumps({**saved, **change}))
            found[f"run {i}"] = path
        return run_labels.recipes(found)

    one_recipe = runs({"seed": 0}, {"seed": 1, "export_dir": "elsewhere"})
    assert one_recipe == dict.fromkeys(("run 0", "run 1"), "Our VAE, smoke")
    for changes in (
        ({"seed": 0}, {"seed": 1}, {"seed": 2, "train": {**saved["train"], "steps": 7}}),
        ({"seed": 0}, {"seed": 1}, {"seed": 2}, {"seed": 2}),
    ):
        assert list(runs(*changes).values()) == [f"run {i}" for i in range(len(changes))]


@pytest.mark.long
def test_latents_of_the_posterior(ours, tmp_path):
    """z ~ q(z | x) of training images, and rows of their own beside those of the prior."""
    experiment = Experiment.load(ours)
    drawn = list(scores.prior_distributions(experiment, 40, seed=1, latents="posterior"))
    assert [start for start, _ in drawn] == [0, 32]
    first = next(iter(pipeline.evaluation_batches(experiment.source.take(40), 32)))
    q = experiment.model.encode(first)
    noise = np.random.default_rng(1).standard_normal(q.mean().shape).astype(np.float32)
    expected = experiment.model.decode(q.mean() + q.stddev() * noise).mean()
    np.testing.assert_allclose(drawn[0][1].mean(), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"images must be at most 256, .* got 999"):
        next(scores.prior_distributions(experiment, 999, latents="posterior"))
    with pytest.raises(ValueError, match="latents must be one of"):
        next(scores.prior_distributions(experiment, 4, latents="past"))
    runs = run_labels.check_runs([ours], "last")
    prior = load(direct(runs, tmp_path))["models"]
    other = load(direct(runs, tmp_path, settings=dataclasses.replace(TINY, latents="posterior")))
    assert other["models"] != prior
    assert load(direct(runs, tmp_path))["models"] == prior


@pytest.mark.long
def test_each_prior_has_rows_of_its_own(ours, tmp_path):
    """Fitted to the run's posteriors; the run keeps its prior, and what is there is not fitted
    again."""
    out = tmp_path / "out"
    words = [f"--workdir={ours}", f"--output={out}", "--features=random_cnn", "--components=3"]
    words += ["--prior=own,mixture,posterior"]
    first = run("bin/evaluate", *words, *FLAGS)
    assert first.returncode == 0, first.stderr
    found = json.loads((out / "evaluation.json").read_text())["data_sets"]["avatars/16x16_tiny"]
    own, mixture, posterior = found["models"].values()
    assert [m["prior"] for m in (own, mixture, posterior)] == [
        "N(0, I)",
        "mixture of 3 normals with full covariances",
        "q(z given x)",
    ]
    for text in ("z from a mixture (means)", "z from q(z given x) (samples)"):
        assert f"| Our VAE, smoke, {text} |" in first.stdout
    # a mixture of the posteriors fits better than N(0, I), and log p(x given z) is the same
    assert mixture["estimates"]["kl"]["value"] < own["estimates"]["kl"]["value"] - 0.05
    assert mixture["estimates"]["log_prob"] == own["estimates"]["log_prob"]
    assert posterior["estimates"] == own["estimates"]
    distances = [
        m["distances"]["random_cnn"]["means"]["frechet"] for m in (own, mixture, posterior)
    ]
    assert len({d["value"] for d in distances}) == 3
    model = Experiment.load(ours).model
    fitted = next((out / "models").glob("*-mixture.npz"))
    assert isinstance(model.prior, priors.StandardNormal)
    before = fitted.stat().st_mtime_ns
    again = run("bin/evaluate", *words, *FLAGS)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert fitted.stat().st_mtime_ns == before
    forced = run("bin/evaluate", *words, *FLAGS, "--force")
    assert forced.returncode == 0, forced.stderr
    assert fitted.stat().st_mtime_ns > before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latents": "past"}, "latents must be one of"),
        ({"priors": ("own", "gamma")}, "prior must be one or more of .*, got .*gamma"),
        ({"priors": ()}, "prior must be one or more of"),
        ({"priors": ("own", "own")}, "prior must name each one once"),
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"images": 39}, "images must be at least 40, got 39"),
        ({"importance_samples": -1}, "importance_samples must be at least 0"),
        ({"importance_images": 1}, "importance_images must be at least 2"),
        ({"resamples": 1}, "resamples must be at least 2"),
        ({"reference_split": "dev"}, r"reference_split must be one of .* got 'dev'"),
    ],
)
def test_bad_settings(fields, message):
    with pytest.raises(ValueError, match=message):
        Settings(**fields)


def test_bad_runs(ours, tmp_path):
    for workdirs, checkpoint, error, message in (
        ([], "last", ValueError, "workdir is missing"),
        ([ours, ours], "last", ValueError, "given more than once"),
        ([tmp_path], "last", FileNotFoundError, r"holds no run: .*config\.json does not exist"),
    ):
        with pytest.raises(error, match=message):
            run_labels.check_runs(workdirs, checkpoint)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="holds no best checkpoint"):
        run_labels.check_runs([tmp_path], "best")


def test_labels_tell_runs_of_one_name_apart(ours, tmp_path):
    copy = tmp_path / "again"
    shutil.copytree(ours, copy)
    assert list(run_labels.check_runs([ours, copy], "last")) == ["Our VAE, ours", "Our VAE, again"]


def test_errors_are_one_message_before_any_work(ours, tmp_path):
    flags = ["--features=inception", f"--output={tmp_path / 'out'}"]
    done = run("bin/evaluate", f"--workdir={ours}", *flags)
    assert done.returncode == 2
    assert "features must be one of" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
