"""Exported models run by programs other than the Python that wrote them."""

import json
import subprocess
import sys
from concurrent import futures

import exports
import forked
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tf_structvae.export import warmup

# the same graph on the same CPU: only threads may sum in another order
SAME = {"rtol": 1e-5, "atol": 1e-6}
KIND = "low_rank"


def expected(kind, name):
    """What Python's loader answers, which test_export_signatures.py holds against the formulas."""
    inputs = {k: tf.constant(v) for k, v in exports.requests(kind)[name].items()}
    return exports.loaded(kind).signatures[name](**inputs)


def check(kind, name, found):
    answer = expected(kind, name)
    assert set(found) == set(answer)
    for key, value in answer.items():
        np.testing.assert_allclose(found[key], value, err_msg=f"{name} {key}", **SAME)


def meta_graph(kind):
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((exports.exported(kind)[1] / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0]


@pytest.mark.parametrize("kind", ["low_rank", pytest.param("standard", marks=pytest.mark.long)])
def test_c_api_without_python_tensorflow(kind, tmp_path):
    """tests/helpers/c_api.py asserts that its process never imported tensorflow."""
    requests = exports.requests(kind)
    found = exports.run_c_api(exports.exported(kind)[1], list(requests.items()), tmp_path)
    for name, answer in zip(requests, found, strict=True):
        check(kind, name, answer)


CLI = """
import json, sys
from absl import flags
from tensorflow.python.tools import saved_model_cli
for words in json.loads(sys.argv[1]):
    flags.FLAGS(["saved_model_cli", *words])
    saved_model_cli.create_parser().parse_args(["run"]).func()
"""


@pytest.mark.long
def test_saved_model_cli(tmp_path):
    """`saved_model_cli run` of every signature."""
    calls = []
    for name, inputs in exports.requests(KIND).items():
        file, out = tmp_path / f"{name}.npz", tmp_path / name
        np.savez(file, **inputs)
        given = ";".join(f"{k}={file}[{k}]" for k in inputs)
        calls.append(
            [f"--dir={exports.exported(KIND)[1]}", "--tag_set=serve", f"--signature_def={name}",
             f"--inputs={given}", f"--outdir={out}"]
        )  # fmt: skip
    run = forked.run("-c", CLI, json.dumps(calls))
    assert run.returncode == 0, run.stderr[-2000:]
    for name in exports.requests(KIND):
        check(KIND, name, {p.stem: np.load(p) for p in (tmp_path / name).glob("*.npy")})


@pytest.mark.long
def test_version_1_loader():
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(exports.exported(KIND)[1]))
        found = {}
        for name, inputs in exports.requests(KIND).items():
            ends = graph.signature_def[name]
            feed = {ends.inputs[k].name: v for k, v in inputs.items()}
            found[name] = session.run({k: t.name for k, t in ends.outputs.items()}, feed)
    for name, answer in found.items():
        check(KIND, name, answer)


def test_python_without_this_package():
    code = (
        "import sys, tensorflow as tf; m = tf.saved_model.load(sys.argv[1]);"
        "print(m.signatures['sample'](seeds=tf.constant([[1, 2]]))['images'].shape);"
        "assert not {'tf_structvae', 'tensorflow_probability'} & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(exports.exported(KIND)[1])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "(1, 6, 5, 2)"


def answer_request(kind, request):
    """What TF-Serving does with a PredictRequest, by the SavedModel in Python."""
    from tensorflow_serving.apis import predict_pb2

    name = request.model_spec.signature_name
    inputs = {k: tf.constant(tf.make_ndarray(t)) for k, t in request.inputs.items()}
    response = predict_pb2.PredictResponse(model_spec=request.model_spec)
    for key, value in exports.loaded(kind).signatures[name](**inputs).items():
        response.outputs[key].CopyFrom(tf.make_tensor_proto(value))
    return response


def test_grpc_messages():
    """Through a PredictionService of this process: not TF-Serving, but its messages and stubs."""
    grpc = pytest.importorskip("grpc")
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    from tensorflow_serving.apis import predict_pb2

    class Service(apis.PredictionServiceServicer):
        def Predict(self, request, context):
            try:
                return answer_request(KIND, request)
            except tf.errors.InvalidArgumentError as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)

    server = grpc.server(futures.ThreadPoolExecutor(2))
    apis.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            predict = apis.PredictionServiceStub(channel).Predict
            for name, inputs in exports.requests(KIND).items():
                request = predict_pb2.PredictRequest()
                request.model_spec.name, request.model_spec.signature_name = KIND, name
                for key, value in inputs.items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
                found = predict(request, timeout=60).outputs
                check(KIND, name, {k: tf.make_ndarray(t) for k, t in found.items()})
            request.inputs["images"].CopyFrom(tf.make_tensor_proto(inputs["images"] * np.nan))
            with pytest.raises(grpc.RpcError, match="images must be finite"):
                predict(request, timeout=60)
    finally:
        server.stop(None)


@pytest.mark.parametrize("kind", ["low_rank", "standard"])
def test_warm_up_requests_replay(kind):
    api = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    path = exports.exported(kind)[1] / warmup.FILE
    asked = []
    for record in tf.data.TFRecordDataset(str(path)):
        log = api.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == kind
        asked.append(request.model_spec.signature_name)
        for tensor in answer_request(kind, request).outputs.values():
            value = tf.make_ndarray(tensor)
            assert value.shape[0] == 1
            assert np.isfinite(value).all()
    assert sorted(asked) == sorted(exports.loaded(kind).signatures)
    assert path.stat().st_size < 2000


@pytest.mark.parametrize("kind", exports.KINDS)
def test_only_operations_of_core_tensorflow(kind):
    graph = meta_graph(kind).graph_def
    functions = {f.signature.name for f in graph.library.function}
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    used = {n.op for n in nodes} - functions
    foreign = {o for o in used if any(w in o for w in ("Py", "Func", "Xla", "CustomCall"))}
    assert not foreign
    # the C++ library alone knows them: it runs all of them in test_c_api_without_python_tensorflow
    listed = subprocess.run(
        [sys.executable, "tests/helpers/c_api.py", "--operations"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert used <= set(json.loads(listed.stdout))
