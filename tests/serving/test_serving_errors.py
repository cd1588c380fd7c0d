"""What the server tells of failures that ordinary requests do not cause."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from serving_models import eventually, save
from tensorflow.core.protobuf import saved_model_pb2

from tf_structvae.serving import signature, values
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.metrics import Metrics
from tf_structvae.serving.repository import Repository
from tf_structvae.serving.servable import Servable
from tf_structvae.serving.specs import Spec


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    found = tmp_path_factory.mktemp("m")
    save(found, only=["serving_default"])
    return found


class Failing:
    """A session in which every call fails."""

    def __init__(self, error):
        self.error = error

    def run(self, outputs, inputs):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (tf.errors.InvalidArgumentError, 400),
        (tf.errors.ResourceExhaustedError, 503),
        (tf.errors.InternalError, 500),
    ],
)
def test_errors_of_a_call_by_their_kind(directory, error, status, monkeypatch):
    servable = Servable(directory / "1")
    told = "Graph execution error:\n\nno room left [[{{node a/b}}]]\n\t more [Op:__inference]"
    monkeypatch.setattr(servable, "_session", Failing(error(None, None, told)))
    with pytest.raises(RequestError) as refused:
        servable.run("serving_default", {"x": np.zeros(1, np.float32)})
    assert refused.value.status == status
    assert str(refused.value) == "no room left"


def test_a_repository_has_a_model():
    with pytest.raises(ValueError, match="at least one model"):
        Repository({}, Metrics())


def test_a_failing_look_at_the_versions_is_not_the_last(directory, monkeypatch, caplog):
    models = Repository({"m": directory}, Metrics())
    assert "m" in models
    assert "n" not in models
    looks = []

    def poll(model):
        looks.append(model.name)
        if len(looks) == 1:
            raise OSError("stale file handle")

    monkeypatch.setattr(models, "_poll", poll)
    with caplog.at_level(logging.ERROR):
        models.start(0.01)
        assert eventually(lambda: len(looks) > 2)
        models.stop()
    assert set(looks) == {"m"}
    assert [r.getMessage() for r in caplog.records] == ["the versions of m cannot be read"]


def test_graphs_for_other_uses_are_no_models(tmp_path):
    saved = saved_model_pb2.SavedModel()
    saved.meta_graphs.add().meta_info_def.tags.append("train")
    (tmp_path / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(ValueError, match="has no graph with the tag 'serve'"):
        signature.read(tmp_path)


def test_inputs_of_any_rank_and_of_types_that_json_lacks():
    anything = Spec("float32", None)
    assert anything.accepts(())
    assert anything.accepts((3, 1, 4))
    np.testing.assert_array_equal(values.decode([[1], [2]], "x", anything), [[1.0], [2.0]])
    deep: object = 1
    for _ in range(33):
        deep = [deep]
    for spec, value, message in (
        (anything, deep, "'x' has 33 dimensions; at most 32 may be"),
        (Spec("complex64", None), [1], "'x' has the type complex64, which JSON cannot give"),
        (Spec("int64", None), [2**70], "'x' holds a number beyond the range of int64"),
        (Spec("string", None), ["\ud800"], "'x' holds a string that is not Unicode"),
    ):
        with pytest.raises(RequestError, match=message) as refused:
            values.decode(value, "x", spec)
        assert refused.value.status == 400


def test_a_message_is_short_however_long_the_request():
    assert len(str(RequestError(400, "x" * 10_000))) == 2003
    assert str(RequestError(400, "x" * 2000)) == "x" * 2000
