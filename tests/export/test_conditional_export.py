"""The export of a conditional model: each signature given its labels, errors, card, serving."""

import json

import conditional
import exports
import keras
import numpy as np
import pytest
import tensorflow as tf
from starlette.testclient import TestClient

from tf_structvae import StructuredVAE
from tf_structvae.export import card, export, signatures, warmup
from tf_structvae.serving.app import create_app

NAMES = ["ant", "bee", "cat", "dog"]


def of_class(model, k):
    """An unconditional model whose networks are always told class k."""

    def told(x):
        hot = tf.one_hot([k], model.classes)
        return tf.tile(hot, [tf.shape(x)[0], 1])

    def network(inner, shape):
        x = keras.Input(shape)
        label = keras.layers.Lambda(told, output_shape=(model.classes,))(x)
        return keras.Model(x, inner([x, label]))

    return StructuredVAE(
        network(model.encoder, model.image_shape), network(model.decoder, (model.latent_dim,))
    )


def test_every_signature_is_that_of_the_rows_class():
    """Against unconditional models, whose signatures test_export_signatures.py holds to NumPy."""
    model, _ = exports.exported("conditional")
    fixed = {k: signatures(of_class(model, k)) for k in (0, 2)}
    cases = exports.requests("conditional", 8)
    assert set(cases) == exports.NAMES
    for name, request in cases.items():
        assert {0, 2} < set(request["labels"])
        found = exports.loaded("conditional").signatures[name](
            **{k: tf.constant(v) for k, v in request.items()}
        )
        rest = {k: tf.constant(v) for k, v in request.items() if k != "labels"}
        for k in fixed:
            wanted = tf.function(lambda f=fixed[k][name].function, r=rest: f(**r))()
            assert wanted.keys() == found.keys()
            own = request["labels"] == k
            for key, value in wanted.items():
                np.testing.assert_allclose(
                    found[key].numpy()[own], value.numpy()[own], rtol=1e-4, atol=2e-5,
                    err_msg=f"{name} {key}",
                )  # fmt: skip


def test_specs_and_the_python_model():
    model, _ = exports.exported("conditional")
    for signature in signatures(model).values():
        assert list(signature.inputs)[-1] == "labels"
        assert signature.inputs["labels"] == tf.TensorSpec([None], tf.int32, "labels")
    request = exports.requests("conditional")["decode"]
    found = exports.loaded("conditional").signatures["decode"](
        **{k: tf.constant(v) for k, v in request.items()}
    )
    p = model.decode(request["latents"], request["labels"])
    np.testing.assert_allclose(found["means"].numpy().reshape(3, -1), p.mean(), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 4, 1], "labels must be from 0 to 3"),
        ([0, -1, 1], "labels must be from 0 to 3"),
        ([0, 1], "labels must have as many rows as"),
    ],
)
def test_bad_labels_are_named(labels, message):
    for name, request in exports.requests("conditional").items():
        request = {k: tf.constant(v) for k, v in request.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            exports.loaded("conditional").signatures[name](
                **request | {"labels": tf.constant(labels)}
            )


def test_card_names_the_classes(tmp_path):
    model, plain = exports.exported("conditional")
    found = json.loads((plain / card.FILE).read_text())
    assert found["classes"] == ["0", "1", "2", "3"]
    assert "labels [B] int32" in card.table(found)
    named = export(model, tmp_path / "m", about={"classes": NAMES})
    assert json.loads((named / card.FILE).read_text())["classes"] == NAMES
    for wrong in (NAMES[:3], [0, 1, 2, 3]):
        with pytest.raises(ValueError, match=r"about\['classes'\] must be 4 names"):
            export(model, tmp_path / "m", about={"classes": wrong})
    with pytest.raises(ValueError, match="about must have keys of"):
        export(exports.build("low_rank"), tmp_path / "m", about={"classes": NAMES})


def test_warm_up_requests_have_labels():
    prediction_log_pb2 = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )
    _, path = exports.exported("conditional")
    records = list(tf.data.TFRecordDataset(str(path / warmup.FILE)).as_numpy_iterator())
    assert len(records) == len(exports.NAMES) + 1
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert tf.make_ndarray(request.inputs["labels"]).tolist() == [0]


@pytest.mark.long
def test_server_passes_labels_on():
    model, path = exports.exported("conditional")
    z = np.zeros((2, conditional.LATENT), np.float32)
    app = create_app({"m": path.parent})
    with TestClient(app, base_url="http://127.0.0.1") as client:

        def decode(labels):
            content = {"signature_name": "decode", "inputs": {"latents": z.tolist(), **labels}}
            return client.post("/v1/models/m:predict", json=content)

        answer = decode({"labels": [1, 3]})
        assert answer.status_code == 200, answer.text
        means = np.reshape(answer.json()["outputs"]["means"], [2, -1])
        np.testing.assert_allclose(means, model.decode(z, [1, 3]).mean(), atol=1e-6)
        for labels, message in (({"labels": [1, 4]}, "labels must be from 0 to 3"), ({}, "labels")):
            answer = decode(labels)
            assert answer.status_code == 400
            assert message in answer.json()["error"]
