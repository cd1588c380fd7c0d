"""Statistics and results on disk: used when they fit, made again when they do not."""

import json

import numpy as np
import pytest

from tf_structvae.datasets import Spec, prepare
from tf_structvae.evaluation.feature_set import FeatureCollector
from tf_structvae.studies import feature_cache
from tf_structvae.studies.part_store import PartStore

SETTINGS = {"features": "some", "version": "1", "data": {"images": 30, "shape": [2, 2]}}


def make(seed=0):
    collector = FeatureCollector(keep=20)
    collector.update(np.random.default_rng(seed).normal(size=(30, 4)).astype(np.float32))
    return collector.result()


class Counted:
    def __init__(self):
        self.calls, self.told = 0, []

    def __call__(self):
        self.calls += 1
        return make()


def same(a, b):
    np.testing.assert_array_equal(a.kept, b.kept)
    np.testing.assert_array_equal(a.moments.mean, b.moments.mean)
    np.testing.assert_array_equal(a.moments.scatter, b.moments.scatter)
    assert a.moments.count == b.moments.count


def test_statistics_are_made_once(tmp_path):
    made = Counted()
    found = [feature_cache.cached(tmp_path / "a", SETTINGS, made) for _ in range(3)]
    assert made.calls == 1
    for f in found:
        same(f, make())
    assert len(list((tmp_path / "a").iterdir())) == 1  # and nothing half written
    feature_cache.cached(tmp_path / "a", {**SETTINGS, "version": "2"}, made)
    feature_cache.cached(
        tmp_path / "a", {**SETTINGS, "data": {"images": 31, "shape": [2, 2]}}, made
    )
    assert made.calls == 3


def garbage(path):
    path.write_bytes(b"nothing")


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def other_settings(path):
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays["settings"] = np.array(json.dumps({**SETTINGS, "version": "0"}))
    np.savez(path, **arrays)


def not_finite(path):
    with np.load(path) as saved:
        arrays = dict(saved)
    arrays["scatter"][0, 0] = np.nan
    np.savez(path, **arrays)


@pytest.mark.parametrize("damage", [garbage, cut, flip_a_bit, other_settings, not_finite])
def test_a_damaged_file_is_told_of_and_written_anew(damage, tmp_path):
    made = Counted()
    feature_cache.cached(tmp_path, SETTINGS, made)
    (path,) = tmp_path.iterdir()
    damage(path)
    same(feature_cache.cached(tmp_path, SETTINGS, made, made.told.append), make())
    assert made.calls == 2
    assert len(made.told) == 1
    assert str(path) in made.told[0]
    same(feature_cache.cached(tmp_path, SETTINGS, made, made.told.append), make())
    assert (made.calls, len(made.told)) == (2, 1)


def test_data_settings_tell_data_apart_and_forget_where_they_are(data_dir):
    def settings(split="test", count=5, **options):
        spec = Spec("avatars", data_dir=data_dir, **options)
        return feature_cache.data_settings(prepare(spec, split).take(count), spec, split)

    one = settings(variant="16x16_tiny")
    assert one == settings(variant="16x16_tiny")
    assert json.loads(json.dumps(one)) == one
    assert data_dir not in json.dumps(one)
    others = [
        settings(variant="16x16_tiny", count=4),
        settings("validation", variant="16x16_tiny"),
        settings(variant="16x16_tiny", channels=1),
        settings(variant="16x16_tiny", image_size=(8, 8)),
        settings(variant="16x16_tiny", image_size=(8, 8), fit="stretch"),
    ]
    names = {feature_cache.fingerprint(s) for s in (one, *others)}
    assert len(names) == 6


# Results of a model.


def test_parts_are_made_once_and_kept(tmp_path):
    path, calls = tmp_path / "models" / "a.json", []

    def make_part(value):
        return lambda: calls.append(value) or {"value": value}

    store = PartStore(path)
    assert store.get("x", {"n": [1, 2]}, make_part(1)) == {"value": 1}
    again = PartStore(path)
    assert again.get("x", {"n": (1, 2)}, make_part(2)) == {"value": 1}
    assert again.get("y", {}, make_part(3)) == {"value": 3}
    assert calls == [1, 3]
    assert again.get("x", {"n": [1, 3]}, make_part(4)) == {"value": 4}
    assert PartStore(path).get("y", {}, make_part(5)) == {"value": 3}
    assert PartStore(path, force=True).get("y", {}, make_part(6)) == {"value": 6}
    assert calls == [1, 3, 4, 6]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"parts": {"x": 1}}', '{"parts": [1]}'])
def test_damaged_parts_are_made_again(content, tmp_path):
    path, told = tmp_path / "a.json", []
    path.write_text(content)
    store = PartStore(path, tell=told.append)
    assert len(told) == 1
    assert str(path) in told[0]
    assert store.get("x", {}, lambda: 2) == 2
    assert PartStore(path, tell=told.append).get("x", {}, lambda: 3) == 2
    assert len(told) == 1
