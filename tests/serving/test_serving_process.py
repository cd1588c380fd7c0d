"""bin/serve as a user starts it, with the clients of examples/."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from concurrent import futures

import forked
import numpy as np
import pytest
import tensorflow as tf
from serving_models import ROOT, eventually, process, save

from tf_structvae.serving.servable import Servable


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"examples/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sampler(directory, version=1):
    """A version with a `sample` like that of a real export: images of the seeds."""
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int32, "seeds")])
    def sample(seeds):
        color = tf.cast(seeds[:, 1], tf.float32)[:, tf.newaxis, tf.newaxis, tf.newaxis] / 10.0
        return {"images": color * tf.ones([1, 4, 5, 3]), "latents": tf.cast(seeds, tf.float32)}

    tf.saved_model.save(module, str(directory / str(version)), signatures={"sample": sample})
    return directory


def get(url):
    with urllib.request.urlopen(url, timeout=300) as answer:
        return json.load(answer)


def running(server):
    """How many calls a server's model computes."""
    with urllib.request.urlopen(f"{server.url}/monitoring/prometheus/metrics") as answer:
        (found,) = re.findall(rb"^structvae_running (.*)$", answer.read(), re.M)
    return float(found)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_signals_end_it_after_the_running_requests(tmp_path):
    predict = example("client_rest").predict
    save(tmp_path / "m")
    for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with process("--model", tmp_path / "m") as server:
            assert server.url.startswith("http://127.0.0.1:")
            url = f"{server.url}/v1/models/m"
            assert predict(url, "serving_default", {"x": [1.0]}) == [3.5]
            gate = tmp_path / f"gate{status}"
            with futures.ThreadPoolExecutor(1) as pool:
                found = pool.submit(predict, url, "busy", {"gate": [str(gate)]}, 1)
                assert eventually(lambda s=server: running(s) == 1)
                os.kill(server.pid, number)
                gate.touch()
                assert found.result() == [str(gate)]
            assert server._process.wait(300) == status
            line = server.lines.get(timeout=300)
            assert line == (None if status else "stopped.\n")  # Ctrl-C is told on stderr


def test_a_call_that_does_not_end_does_not_keep_it(tmp_path):
    save(tmp_path / "m")
    with process("--model", tmp_path / "m", "--timeout=1") as server:
        body = b'{"signature_name": "busy", "inputs": ["%s/never"]}' % bytes(tmp_path)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{server.url}/v1/models/m:predict", body)
        assert error.value.code == 504
        assert server.end() == 1
        assert "cut short" in server.lines.get(timeout=300)


def test_a_new_version_under_load_drops_no_request(tmp_path):
    """Every answer is one of a version's that was served then, and the last are of the highest."""
    predict = example("client_rest").predict
    save(tmp_path / "m", 1, 1.0)
    with process("--model", tmp_path / "m", "--poll_seconds=0.1") as server:
        url, stop = f"{server.url}/v1/models/m", threading.Event()
        found = [[] for _ in range(3)]

        def ask(answers):
            while not stop.is_set() or answers[-1] != 4.0:
                answers.append(predict(url, "serving_default", {"x": [0.0]}, tries=1)[0])

        with futures.ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(ask, answers) for answers in found]
            assert eventually(lambda: all(found))
            (tmp_path / "m/2").mkdir()
            (tmp_path / "m/2/saved_model.pb").write_bytes(b"broken")
            save(tmp_path / "m", 3, 3.0)
            arrived = eventually(lambda: get(f"{server.url}/readyz") == {"m": 3})
            save(tmp_path / "m", 4, 4.0)
            arrived = arrived and eventually(lambda: get(f"{server.url}/readyz") == {"m": 4})
            assert arrived
            stop.set()
            for future in asked:
                future.result()
        for answers in found:
            assert answers == sorted(answers)
            assert set(answers) <= {1.0, 3.0, 4.0}
            assert (answers[0], answers[-1]) == (1.0, 4.0)
        assert server.end() == 0


def test_kill_9_and_a_client_that_tries_again(tmp_path):
    predict = example("client_rest").predict
    save(tmp_path / "m")
    port = free_port()
    with process("--model", tmp_path / "m", port=port) as server:
        url = f"{server.url}/v1/models/m"
        with futures.ThreadPoolExecutor(1) as pool:
            gate = tmp_path / "gate"
            answer = pool.submit(predict, url, "busy", {"gate": [str(gate)]}, tries=1000)
            assert eventually(lambda: running(server) == 1)
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            with process("--model", tmp_path / "m", port=port):
                gate.touch()
                assert answer.result(300) == [str(gate)]


def test_the_rest_client_writes_images(tmp_path):
    sampler(tmp_path / "faces")
    (tmp_path / "seeds.json").write_text('{"seeds": [[0, 5]]}')
    client = [sys.executable, str(ROOT / "examples/client_rest.py")]
    with process("--model", f"other={tmp_path / 'faces'}") as server:
        url = f"{server.url}/v1/models/other"

        def run(*arguments):
            return subprocess.run(
                [*client, *arguments], capture_output=True, text=True, cwd=tmp_path
            )

        done = run(url, "--count=3", "--output=s")
        assert done.returncode == 0, done.stderr
        for i in range(3):
            png = tf.io.decode_png((tmp_path / f"s-{i}.png").read_bytes()).numpy()
            np.testing.assert_array_equal(png, np.full((4, 5, 3), int(25.5 * i + 0.5)))
        done = run(url, "--signature=sample", "--inputs=seeds.json", "--output=out.json")
        assert done.returncode == 0, done.stderr
        assert json.loads((tmp_path / "out.json").read_text())["latents"] == [[0.0, 5.0]]
        done = run(f"{server.url}/v1/models/none")
        assert done.returncode == 1
        assert done.stderr == "error: 404: Servable not found for request: Latest(none)\n"
        done = run(url, "--signature=none")
        assert "400: Serving signature name" in done.stderr


def test_the_grpc_client_speaks_with_a_prediction_service(tmp_path):
    """Through the real messages and stubs; behind them is our loader, not TF-Serving."""
    grpc = pytest.importorskip("grpc")
    pytest.importorskip("tensorflow_serving")
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    servable = Servable(sampler(tmp_path / "faces") / "1")

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            if request.model_spec.version_label not in ("", "stable"):
                context.abort(grpc.StatusCode.NOT_FOUND, "no such label")
            inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            for k, v in servable.run(request.model_spec.signature_name, inputs).items():
                response.outputs[k].CopyFrom(tf.make_tensor_proto(v))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = example("client_grpc")
    seeds = {"seeds": np.array([[1, 2], [3, 4]], np.int32)}
    try:
        found = client.predict(f"127.0.0.1:{port}", "faces", "sample", seeds, "stable")
        np.testing.assert_array_equal(found["latents"], seeds["seeds"])
        assert found["images"].shape == (2, 4, 5, 3)
        with pytest.raises(grpc.RpcError, match="no such label"):
            client.predict(f"127.0.0.1:{port}", "faces", "sample", seeds, "none")
    finally:
        server.stop(0)


def test_errors_are_one_message(tmp_path):
    save(tmp_path / "m")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken/1").mkdir(parents=True)
    (tmp_path / "broken/1/saved_model.pb").write_bytes(b"\xff")
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    m = f"--model={tmp_path / 'm'}"
    cases = [
        ([], "--model must have a value"),
        ([f"--model={tmp_path / 'none'}"], "none is no directory of a model"),
        ([f"--model={tmp_path / 'empty'}"], "holds no version"),
        ([f"--model={tmp_path / 'm/1'}"], "is a version; give the directory"),
        ([f"--model={tmp_path / 'broken'}"], "can be loaded"),
        ([m, m], "the name 'm' is given twice"),
        ([m, f"--port={taken.getsockname()[1]}"], "in use"),
        ([m, "--host=192.0.2.1"], "host 192.0.2.1"),
        ([m, "--port=70000"], "port"),
        ([m, "--timeout=0"], "--timeout must be positive and finite, got 0"),
    ]
    for arguments, message in cases:
        run = forked.run(ROOT / "bin/serve", "--port=0", *arguments)
        assert run.returncode == 2, run.stderr
        assert message in run.stderr
        assert "Traceback" not in run.stderr
    taken.close()


def has_compose():
    """The client alone may be installed, without the plugin."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0


def test_the_compose_file_is_valid():
    if not has_compose():
        pytest.skip("docker compose is not installed")
    file = ROOT / "examples/tf_serving/docker-compose.yml"
    subprocess.run(["docker", "compose", "-f", str(file), "config", "-q"], check=True)


def test_tf_serving_reads_the_configurations():
    """By the messages that it parses them with; monitoring has none in the Python package."""
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format

    folder = ROOT / "examples/tf_serving"
    found = text_format.Parse((folder / "models.config").read_text(), config.ModelServerConfig())
    model = found.model_config_list.config[0]
    assert model.base_path == f"/models/{model.name}"
    assert (ROOT / "saved_models" / model.name).is_dir()  # so that it works after a clone
    labels = dict(model.version_labels)
    assert set(labels) == {"stable", "canary"}
    assert set(labels.values()) <= set(model.model_version_policy.specific.versions)
