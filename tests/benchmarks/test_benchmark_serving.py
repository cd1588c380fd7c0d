"""The latency benchmark of exported models, on signatures of no size."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from server_thread import ServerThread

from tf_structvae.benchmarks import requests, server_process, serving
from tf_structvae.serving.servable import Servable
from tf_structvae.serving.specs import Signature, Spec
from tf_structvae.utilities import memory


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """decode: twice the latents; condition: the values under the mask."""
    module = tf.Module()

    def spec(*shape, name):
        return tf.TensorSpec([None, *shape], tf.float32, name)

    @tf.function(input_signature=[spec(3, name="latents")])
    def decode(latents):
        return {"mean": 2.0 * latents}

    picture = [spec(3, 3, 1, name=name) for name in ("values", "mask")]

    @tf.function(input_signature=[spec(3, name="latents"), *picture])
    def condition(latents, values, mask):
        return {"mean": values * mask + tf.reduce_sum(latents)}

    found = tmp_path_factory.mktemp("models") / "default" / "1"
    signatures = {"decode": decode, "condition": condition, "serving_default": decode}
    tf.saved_model.save(module, str(found), signatures=signatures)
    return found


class Clock:
    """Calls of signatures take a time that is known."""

    def __init__(self, monkeypatch, **seconds):
        self.now, self.calls, self._seconds = 0.0, [], seconds
        real = Servable.run

        def run(servable, name, inputs):
            self.calls.append((name, {len(v) for v in inputs.values()}))
            self.now += self._seconds[name]
            return real(servable, name, inputs)

        monkeypatch.setattr(Servable, "run", run)
        monkeypatch.setattr(serving, "time", SimpleNamespace(perf_counter=lambda: self.now))


def job(path, **changes):
    return {
        "suite": "serving", "network": "default", "path": str(path), "seconds": 0.01, "batch": 1,
    } | changes  # fmt: skip


def test_quantiles_are_of_the_calls_after_the_first(monkeypatch):
    durations = iter([100.0, 1.0, 5.0, 2.0, 3.0, 50.0])
    clock = SimpleNamespace(now=0.0)

    def call():
        clock.now += next(durations)

    monkeypatch.setattr(serving, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    found = serving.time_calls(call, 10.5)
    assert found == {
        "median": 2.5,
        "p99": pytest.approx(np.quantile([1, 5, 2, 3], 0.99)),
        "calls": 4,
    }
    durations = iter([1.0] * 1000)
    assert serving.time_calls(call, 1e9)["calls"] == serving.MOST_CALLS
    assert serving.time_calls(call, 0.0)["calls"] == 3


def test_signature_is_measured_at_its_batch(path, monkeypatch):
    clock = Clock(monkeypatch, decode=0.25)
    found = serving.measure(job(path, signature="decode", batch=8, seconds=1.0))
    assert (found["median"], found["calls"]) == (0.25, 4)
    assert found["peak_mb"] > 10
    assert clock.calls == [("decode", {8})] * 5


def test_condition_over_decode_is_a_difference_of_calls_in_turn(path, monkeypatch):
    clock = Clock(monkeypatch, decode=0.25, condition=0.75)
    found = serving.measure(job(path, signature="condition - decode", seconds=3.5))
    assert (found["median"], found["p99"], found["calls"]) == (0.5, 0.5, 4)
    assert np.isnan(found["peak_mb"])
    assert clock.calls == [("decode", {1}), ("condition", {1})] * 5


def test_condition_over_decode_of_an_export_without_decode(path, monkeypatch):
    clock = Clock(monkeypatch, condition=0.75)
    real = Servable.__init__

    def without(servable, path):
        real(servable, path)
        del servable.signatures["decode"]

    def decoder(network, latents):
        assert network == "default"
        assert latents.shape == (1, 3)
        return lambda: setattr(clock, "now", clock.now + 0.5)

    monkeypatch.setattr(Servable, "__init__", without)
    monkeypatch.setattr(serving, "_decoder", decoder)
    found = serving.measure(job(path, signature="condition - decode"))
    assert (found["median"], found["calls"]) == (0.25, 3)


def test_decoder_is_that_of_the_network(monkeypatch):
    from small_vae import make

    model = make()
    monkeypatch.setattr(serving, "_model", {"default": model}.get)
    z = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    tf.config.run_functions_eagerly(True)
    try:
        mean, variance = serving._decoder("default", z)()
    finally:
        tf.config.run_functions_eagerly(False)
    samples = model.decode(z).sample(1000, seed=(0, 1)).numpy()
    for found, wanted, power in ((mean, samples.mean(0), 0.5), (variance, samples.var(0), 1.0)):
        spread = 5 * np.sqrt(2 / 1000) * variance**power
        assert np.all(np.abs(found - wanted) < spread)


def test_networks_are_those_of_the_configs(monkeypatch, tmp_path):
    from tf_structvae import export
    from tf_structvae.training import from_config

    monkeypatch.setattr(
        from_config, "build_model", lambda c, shape: (c.model.encoder.to_dict(), shape)
    )
    written = []
    monkeypatch.setattr(export, "export", lambda *given: written.append(given) or given[1] / "1")
    paths = serving.export_models(tmp_path, ["default", "paper"])
    assert paths == {name: tmp_path / name / "1" for name in ("default", "paper")}
    (default, small), (paper, large) = (model for model, _ in written)
    assert (small, large) == ((64, 64, 3), (218, 178, 3))
    assert default != paper


def test_jobs_are_every_signature(path):
    quick, whole = (serving.jobs({"default": path}, q) for q in (True, False))

    def named(jobs):
        return [(j["signature"], j["batch"]) for j in jobs]

    assert named(quick) == [("condition", 1), ("decode", 1), ("condition - decode", 1)]
    assert named(whole) == [
        ("condition", 1),
        ("condition", 8),
        ("decode", 1),
        ("decode", 8),
        ("condition - decode", 1),
    ]
    assert {j["path"] for j in whole} == {str(path)}


def test_latency_over_http(path, monkeypatch):
    monkeypatch.setattr(server_process, "ServerProcess", ServerThread)
    wanted = [
        job(path, signature="decode"),
        job(path, signature="condition - decode"),
        job(path, signature="condition", batch=65),
        job(path, signature="condition", batch=2),
    ]
    found = serving.measure_http(wanted)
    assert [(r["signature"], r["batch"]) for r in found] == [
        ("decode", 1),
        ("condition", 65),
        ("condition", 2),
    ]
    assert "the request has 65 rows" in found[1]["error"]
    for r in (found[0], found[2]):
        assert r["calls"] >= 3
        assert 0 < r["median"] <= r["p99"] < 5
        assert r["server_mb"] == pytest.approx(memory.resident() / 2**20, rel=0.5)


def testposter_gives_the_whole_answer(path):
    server = ServerThread(f"--model=m={path.parent}")
    try:
        latents = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
        body = requests.body("decode", {"latents": latents})
        answer = json.loads(serving.poster(server.url, "/v1/models/m:predict", body)())
        np.testing.assert_allclose(answer["outputs"], 2 * latents, rtol=1e-6)
        with pytest.raises(RuntimeError, match=r"404: .*Latest\(n\)"):
            serving.poster(server.url, "/v1/models/n:predict", body)()
    finally:
        assert server.end() == 0


# What is sent.


def test_values_are_what_their_names_ask_for():
    f, i = "float32", "int32"
    specs = {
        "labels": Spec(i, (None,)),
        "seeds": Spec(i, (None, 2)),
        "mask": Spec(f, (None, 9, 7, 1)),
        "noise_variance": Spec(f, (None,)),
        "images": Spec(f, (None, 9, None, 1)),
        "latents": Spec(f, (None, 500)),
    }
    values = requests.inputs(Signature(specs, {}), 3)
    assert not values["labels"].any()
    assert set(np.unique(values["seeds"])) <= set(range(5))
    mask = np.zeros((3, 9, 7, 1))
    mask[:, 3:6, 2:5] = 1  # a third of the height, in the middle
    np.testing.assert_array_equal(values["mask"], mask)
    assert set(values["noise_variance"]) == {np.float32(0.01)}
    assert values["images"].shape == (3, 9, 1, 1)
    assert 0 <= values["images"].min() < values["images"].max() <= 1
    assert abs(values["latents"].std() - 1) < 5 / (2 * 1500) ** 0.5
    for name, spec in specs.items():
        assert values[name].dtype == spec.dtype
    other = requests.inputs(Signature(specs, {}), 3, seed=1)
    assert np.any(other["latents"] != values["latents"])
    large = requests._patch((1, 218, 178, 1))
    assert large.sum() == requests.PATCH**2
