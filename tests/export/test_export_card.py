"""model_card.json, of a bare model and of a run; and bin/export."""

import json
import os
import time

import exports
import forked
import pytest
from small_run import smoke
from small_vae import make

from tf_structvae.export import card, warmup
from tf_structvae.export.exported_model import View
from tf_structvae.models.constraints import Constraint
from tf_structvae.studies import report
from tf_structvae.training.experiment import Experiment
from tf_structvae.utilities import provenance


def read(path):
    return json.loads((path / card.FILE).read_text())


@pytest.mark.parametrize("kind", exports.KINDS)
def test_card_of_a_bare_model(kind):
    model, path = exports.exported(kind)
    found = read(path)
    assert set(found) == {
        "format", "name", "version", "image_shape", "latent_dim", "rank", "likelihood", "prior",
        "signatures", "value_range", "parameters", "targets", "training", "metrics", "data",
    }  # fmt: skip
    assert (found["format"], found["name"], found["version"]) == (1, kind, 1)
    assert found["image_shape"] == list(model.image_shape)
    assert found["latent_dim"] == model.latent_dim
    assert found["rank"] == {"low_rank": 3, "grey": 2, "standard": 0}[kind]
    assert found["likelihood"] == ("independent" if kind == "standard" else "low_rank")
    assert found["value_range"] == [0, 1]
    assert found["training"] is found["metrics"] is found["data"] is None
    networks = [*model.encoder.weights, *model.decoder.weights]
    assert found["parameters"] == sum(v.numpy().size for v in networks)


@pytest.mark.parametrize("kind", exports.KINDS)
def test_card_lists_the_signatures_as_they_are(kind):
    listed = read(exports.exported(kind)[1])["signatures"]
    loaded = exports.loaded(kind).signatures
    assert {*listed, "serving_default"} == set(loaded)
    for name, entry in listed.items():
        assert entry["description"]
        _, inputs = loaded[name].structured_input_signature
        for tensors, specs in (
            (entry["inputs"], inputs),
            (entry["outputs"], loaded[name].structured_outputs),
        ):
            truth = {
                k: {"dtype": s.dtype.name, "shape": s.shape.as_list()} for k, s in specs.items()
            }
            assert tensors == truth


def test_targets_are_those_of_the_constraints():
    model = make(constraints=[Constraint("kl", 2.5), Constraint("entropy", 4.0, "upper_bound")])
    found = card.card(model, {}, {}, View.of(model).likelihood, "m", 1, card.check_about(None))
    assert found["targets"] == {
        "kl": {"target": 2.5, "kind": model.constraints[0].kind},
        "entropy": {"target": 4.0, "kind": "upper_bound"},
    }


@pytest.mark.long
def test_card_and_program_of_a_run(data_dir, tmp_path):
    """One trained run: its card, when scores are left out, and bin/export."""
    config = smoke(data_dir, tmp_path)
    experiment = Experiment(config, tmp_path / "run")
    experiment.start()
    experiment.train()
    assert card.of_experiment(experiment)["metrics"] is None  # no scores yet
    report.write_scores(experiment)
    about = card.of_experiment(experiment)
    assert about["training"]["steps"] == 6
    assert about["training"]["commit"] == provenance.commit()
    assert about["training"]["config"]["model"]["rank"] == 3
    assert str(data_dir) not in json.dumps(about)
    assert str(tmp_path) not in json.dumps(about)
    assert "value" in about["metrics"]["elbo"]
    assert about["data"]["name"] == "avatars/16x16_tiny"
    for key in ("license", "citation", "attribution"):
        assert "Pablo Stanley" in about["data"][key]
    assert about["data"]["homepage"].startswith("https://")
    assert card.of_experiment(experiment, "best")["metrics"] is None

    run = program(tmp_path, "--version=4")
    assert run.returncode == 0, run.stderr
    found = read(tmp_path / "out/faces/4")
    assert found["name"] == "faces"
    assert {k: found[k] for k in about} == about
    assert found["targets"]["kl"]["target"] == config.objective.kl_target
    assert (tmp_path / "out/faces/4" / warmup.FILE).exists()
    for text in ("| `sample` | seeds [B,2] int32 | images [B,16,16,3]", "out/faces/4", " MB, "):
        assert text in run.stdout
    assert "| `log_prob` |" in run.stdout

    again = program(tmp_path, "--version=4")
    assert again.returncode == 2
    assert "never overwritten" in again.stderr
    assert "Traceback" not in again.stderr

    newer = tmp_path / "run/checkpoints/ckpt-6.index"
    os.utime(newer, (time.time() + 60,) * 2)  # as if it had been trained further and not scored
    assert card.of_experiment(experiment)["metrics"] is None


def program(tmp_path, *arguments):
    workdir, directory = tmp_path / "run", tmp_path / "out/faces"
    return forked.run("bin/export", f"--workdir={workdir}", f"--directory={directory}", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdir=nowhere"], "holds no run"),
        (["--workdir=nowhere", "--version=0"], "version"),
        (["--workdir=nowhere", "--checkpoint=first"], "checkpoint"),
        ([], "workdir"),
    ],
)
def test_errors_are_one_message(arguments, message):
    run = forked.run("bin/export", *arguments)
    assert run.returncode == 2
    assert message in run.stderr
    assert "Traceback" not in run.stderr
