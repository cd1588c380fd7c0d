"""What a run is called: as its data, and a run on somebody's own files as their folder."""

import copy
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tf_structvae.training import config as config_lib
from tf_structvae.training import run_name, workdir

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "manual_dir", "expected"),
    [
        ("avatars", "", "avatars"),
        ("brains", "/data/photos", "brains"),
        ("image_folder", "/data/photos", "photos"),
        ("image_folder", "/data/photos/", "photos"),
        ("image_folder", "/data/.my photos (été)", "my_photos_ete"),
        ("image_folder", "gs://bucket/faces/", "faces"),
        ("image_folder", "/data/写真", "image_folder"),
        ("image_folder", "/", "image_folder"),
        ("image_folder", "", "image_folder"),
        ("ukbb", "/data/T1_scans", "T1_scans"),
        ("celeb_a", "/data/files", "celeb_a"),
        ("tfds:cifar10", "", "cifar10"),
        ("tfds:coco/2017:1.1.0", "", "coco_2017_1.1.0"),
    ],
)
def test_name_of_data(name, manual_dir, expected):
    assert run_name.of_data(name, manual_dir) == expected


def test_a_relative_folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert run_name.of_data("image_folder", ".") == "photos"


def photos(config):
    config.data.update({"name": "image_folder", "manual_dir": "/x/photos", "image_size": (8, 8)})
    return config


def test_a_config_follows_its_data_until_it_is_named(tmp_path):
    config = config_lib.default()
    assert config.name == "avatars"
    photos(config)
    assert config.name == "photos"
    assert json.loads(config.to_json())["name"] == "photos"
    config_lib.validate(config)
    other = copy.deepcopy(config)
    other.data.manual_dir = "/x/drawings"
    assert (other.name, config.name) == ("drawings", "photos")
    workdir.write_config(tmp_path, config)
    saved = workdir.read_config(tmp_path)
    saved.data.manual_dir = "/moved/elsewhere"
    assert saved.name == "photos"
    config.name = "mine"
    config.data.manual_dir = "/x/drawings"
    assert config.name == "mine"


@pytest.mark.parametrize(
    ("file", "of_avatars", "of_photos"),
    [
        ("avatars", "avatars", "photos"),
        ("avatars_paper", "avatars_paper", "photos_paper"),
        ("avatars_standard", "avatars_standard", "photos_standard"),
    ],
)
def test_configs(file, of_avatars, of_photos):
    spec = importlib.util.spec_from_file_location(file, ROOT / "configs" / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.get_config().name == of_avatars
    assert photos(module.get_config()).name == of_photos


def test_flags(monkeypatch):
    """As bin/train reads them."""
    from absl import flags
    from ml_collections import config_flags

    def parsed(*words):
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", flag_values=values)
        argv = ["train", f"--config={ROOT}/configs/avatars.py", *words]
        monkeypatch.setattr(sys, "argv", argv)
        values(argv)
        return values["config"].value

    folder = ("--config.data.name=image_folder", "--config.data.manual_dir=/x/photos")
    assert parsed().name == "avatars"
    assert parsed(*folder).name == "photos"
    assert parsed(*folder, "--config.name=mine").name == "mine"
