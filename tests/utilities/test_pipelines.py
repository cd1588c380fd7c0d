"""Work that Apache Beam deals out comes back in order, whole, and is done once."""

import pytest

from tf_structvae.utilities import pipelines
from tf_structvae.utilities.pipelines import Runner

RUNNER = Runner(workers=2)


def numbers(words, work):
    return list(pipelines.map_ordered(int, words, str(work), RUNNER, chunk=3))


def test_results_are_in_order_and_kept_where_work_fails(tmp_path):
    words, work = [str(i) for i in range(10)], tmp_path / "work"
    with pytest.raises(RuntimeError, match="local failed: ValueError: invalid literal"):
        numbers([*words[:9], "x"], work)
    kept = {p: p.stat().st_mtime_ns for p in work.iterdir()}
    assert len(kept) < 4
    assert numbers(words, work) == list(zip(words, range(10), strict=True))
    made = {p: p.stat().st_mtime_ns for p in work.iterdir()}
    assert len(made) == 4
    assert kept.items() < made.items()
    assert numbers(words, work) == list(zip(words, range(10), strict=True))
    assert made == {p: p.stat().st_mtime_ns for p in work.iterdir()}


def test_an_option_that_is_none():
    with pytest.raises(ValueError, match=r"option of the runner must be '--name=value', got 'x'"):
        Runner(flags=("x",))


def test_no_items_need_no_runner(tmp_path):
    found = pipelines.map_ordered(abs, [], str(tmp_path / "work"), Runner("NoSuchRunner"))
    assert list(found) == []
