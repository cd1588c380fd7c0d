"""The load test and the benchmark of the server, on a model of no size."""

import numpy as np
import pytest
from serving_models import save

from tf_structvae.benchmarks import load, load_requests, requests, serving
from tf_structvae.serving import protocol
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.servable import Servable


@pytest.fixture(scope="module")
def servable(tmp_path_factory):
    """With two signatures, of numbers alone, as exported models have."""
    found = Servable(save(tmp_path_factory.mktemp("m")))
    for name in set(found.signatures) - {"serving_default", "finite"}:
        del found.signatures[name]
    return found


def test_valid_requests_are_told_from_wrong_answers(servable):
    for request in load_requests.valid(servable):
        content = protocol.response(request.outputs, request.by_row)
        assert request.is_right(200, content)
        assert not request.is_right(500, content)
        wrong = {k: v + 0.01 for k, v in request.outputs.items()}
        assert not request.is_right(200, protocol.response(wrong, request.by_row))
        shorter = {k: v[:0] for k, v in request.outputs.items()}
        assert not request.is_right(200, protocol.response(shorter, request.by_row))
        other = protocol.response(request.outputs, not request.by_row)
        assert not request.is_right(200, other)


def run(servable, body):
    asked = protocol.parse(body)
    signature = servable.signature(asked.signature_name)
    return servable.run(asked.signature_name, protocol.tensors(asked, signature))


def test_invalid_requests_are_invalid(servable):
    found = load_requests.invalid(servable, 1 << 20)
    kinds = {request.kind for request in found}
    assert {"no JSON", "oversized", "NaN", "wrong shape", "other host", "PUT"} <= kinds
    for request in found:
        assert [request.is_right(s, b"") for s in (200, 400, 404, 500)] == [
            False,
            True,
            True,
            False,
        ]
        if request.kind in ("no JSON", "cut short", "NaN", "wrong shape", "wrong type"):
            with pytest.raises(RequestError):
                run(servable, request.body)


def test_bodies_of_both_formats_give_the_same_inputs(servable):
    for name, signature in servable.signatures.items():
        values = requests.inputs(signature, 3)
        for by_row in (False, True):
            asked = protocol.parse(requests.body(name, values, by_row))
            assert asked.by_row == by_row
            for key, array in protocol.tensors(asked, signature).items():
                np.testing.assert_array_equal(array, values[key])


def test_growth_is_from_the_first_fifth():
    assert load._growth([(0.0, 50), (2.0, 100), (5.0, 120), (10.0, 110)]) == pytest.approx(0.1)


def test_latency_table():
    calls = serving.time_calls(lambda: None, 0.01)
    assert 3 <= calls["calls"] <= serving.MOST_CALLS
    assert 0 <= calls["median"] <= calls["p99"]
    job = {"network": "default", "signature": "sample", "batch": 4}
    call = {**job, "median": 0.02, "p99": 0.03, "peak_mb": 100.0}
    over = {**job, "median": 0.04, "p99": 0.05, "server_mb": 200.0}
    difference = {**call, "signature": "condition - decode", "batch": 1, "peak_mb": np.nan}
    refused = {**job, "batch": 8, "error": "400: too large"}
    lines = serving.table([call, difference, {**call, "batch": 8}], [over, refused]).splitlines()
    assert lines[2] == (
        "| sample | 64x64x3 | 4 | 20.0 | 30.0 | 200.0 | 100 | 40.0 | 50.0 | 100.0 | 200 |"
    )
    assert lines[3] == "| condition - decode | 64x64x3 | 1 | 20.0 | 30.0 | | | | | | |"
    assert lines[4].endswith("| 400.0 | 100 | 400: too large | | | |")


@pytest.mark.long
@pytest.mark.parametrize("kill", [0.0, 6.0])
def test_a_short_load(tmp_path, kill):
    """Real processes at full load; the memory of so short a run is not looked at."""
    from small_vae import make

    from tf_structvae.export import export

    version = export(make(), tmp_path / "model")
    options = load.Options(minutes=0.3, clients=3, publish=5.0, kill=kill)
    report, _ = load.run(version, tmp_path / "served", options)
    assert "wrong or none: 0;" in report, report
    assert "crashes: 0;" in report
