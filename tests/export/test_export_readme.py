"""README.md of an export: its metadata are those of model hubs, its text is that of the card."""

import json
from pathlib import Path

import exports
import pytest
import yaml

from tf_structvae.export import card, export, readme

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "saved_models/demo/1"


def parts(path):
    """Metadata and text of a version's README.md."""
    empty, front, rest = (path / readme.FILE).read_text(encoding="utf-8").split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(front), rest


@pytest.mark.parametrize("kind", [*exports.KINDS, "conditional"])
def test_metadata_of_an_export(kind):
    path = exports.exported(kind)[1]
    found, rest = parts(path)
    assert found["library_name"] == "keras"
    assert (found["license"], found["license_name"]) == ("other", "see-model-card")
    assert "tf_structvae" in found["tags"]
    conditional = kind == "conditional"
    assert (found.get("pipeline_tag") == "unconditional-image-generation") is not conditional
    assert ("conditional-image-generation" in found["tags"]) is conditional
    assert "datasets" not in found
    for text in (f"# {kind}\n", card.table(json.loads((path / card.FILE).read_text()))):
        assert text in rest
    assert ("labels=0" in rest) is conditional
    assert ("independent normal" in rest) is (kind == "standard")


def test_what_is_known_of_a_model_is_told(tmp_path):
    about = {
        "license": "apache-2.0",
        "data": {"name": "mnist5k/28x28", "license": "CC\n BY-SA", "citation": "@misc{x: é}"},
        "metrics": {"elbo": {"value": 12.25, "standard_error": None}, "own": 3},
    }
    path = export(exports.build("low_rank"), tmp_path / "m", about=about, warm_up=False)
    found, rest = parts(path)
    assert found["license"] == "apache-2.0"
    assert "license_name" not in found
    assert found["datasets"] == ["ylecun/mnist"]
    for text in (
        "The model: apache-2.0. The training data: CC BY-SA\n",
        "| `elbo` | 12.25 |  |",
        "| `own` | 3 |  |",
        "@misc{x: é}",
    ):
        assert text in rest
    assert json.loads((path / card.FILE).read_text())["license"] == "apache-2.0"


def test_data_of_any_form_do_no_harm(tmp_path):
    about = {"data": ["faces"], "metrics": "good"}
    path = export(exports.build("low_rank"), tmp_path / "m", about=about, warm_up=False)
    assert "## Training data" not in parts(path)[1]


def test_that_of_the_demonstration_model_is_of_its_card():
    """`readme.write(version)` writes it anew."""
    found, rest = parts(DEMO)
    assert (DEMO / readme.FILE).read_text(encoding="utf-8") == readme.text(
        json.loads((DEMO / card.FILE).read_text(encoding="utf-8"))
    )
    assert found["library_name"] == "keras"
    assert "Pablo Stanley" in rest
