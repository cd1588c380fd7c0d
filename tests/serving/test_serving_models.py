"""Versions come and go while they are used."""

import shutil
import threading
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf
from serving_models import eventually, save

from tf_structvae.serving import warmup
from tf_structvae.serving.app import create_app
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.models import Model

X = {"x": np.zeros(1, np.float32)}


def served(model, number=None):
    with model.use(number) as servable:
        return servable.run("serving_default", X)["y"].item()


def states(model):
    found = model.status()["model_version_status"]
    return {v["version"]: v["state"] for v in found}


def break_version(directory, version):
    path = directory / str(version)
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\xff\xff")
    return path


def test_the_highest_is_served_and_nothing_else(tmp_path):
    for version, offset in ((9, 9.0), (10, 10.0)):
        save(tmp_path, version, offset)
    for name in ("11.tmp", ".12-x", "013", "x", "14"):  # 14 is still being copied
        (tmp_path / name).mkdir()
    model = Model("m", tmp_path)
    assert model.poll()
    assert served(model) == served(model, 10) == 10.0
    with pytest.raises(RequestError, match="Servable not found") as found:
        served(model, 9)
    assert found.value.status == 404
    assert states(model) == {"10": "AVAILABLE"}
    assert not model.poll()


def test_a_new_version_takes_over_and_the_old_one_is_dropped(tmp_path):
    save(tmp_path, 1, 1.0)
    model = Model("m", tmp_path)
    model.poll()
    with model.use() as old:
        save(tmp_path, 2, 2.0)
        assert model.poll()
        assert served(model) == 2.0
        assert states(model) == {"2": "AVAILABLE", "1": "UNLOADING"}
        assert old.run("serving_default", X)["y"].item() == 1.0  # its request still runs
        alive = weakref.ref(old)
        del old
    assert states(model) == {"2": "AVAILABLE", "1": "END"}
    assert eventually(lambda: alive() is None)


def test_a_broken_version_is_reported_and_the_old_one_stays(tmp_path):
    save(tmp_path, 1, 1.0)
    model = Model("m", tmp_path)
    model.poll()
    broken = break_version(tmp_path, 2)
    for _ in range(2):
        assert not model.poll()
        assert served(model) == 1.0
        status = model.status(2)["model_version_status"][0]
        assert status["state"] == "END"
        assert status["status"]["error_code"] == "UNKNOWN"
        assert status["status"]["error_message"].startswith("saved_model.pb is damaged")
    assert str(tmp_path) not in str(model.status())  # clients need not know
    assert str(tmp_path) in model.error()
    shutil.rmtree(broken)
    save(tmp_path, 2, 2.0)  # repaired
    assert model.poll()
    assert served(model) == 2.0


def test_missing_variables_do_not_replace_a_good_version(tmp_path):
    save(tmp_path, 1, 1.0)
    model = Model("m", tmp_path)
    model.poll()
    (save(tmp_path, 2, 2.0) / "variables/variables.index").unlink()
    assert not model.poll()
    assert "the server's log has the reason" in str(model.status(2))
    assert str(tmp_path) not in str(model.status(2))
    assert str(tmp_path) in model.error()
    assert served(model) == 1.0


def test_deleting_the_highest_goes_back(tmp_path):
    save(tmp_path, 1, 1.0)
    save(tmp_path, 2, 2.0)
    model = Model("m", tmp_path)
    model.poll()
    shutil.rmtree(tmp_path / "2")
    assert model.poll()
    assert served(model) == 1.0
    shutil.rmtree(tmp_path)
    assert not model.poll()
    assert served(model) == 1.0  # what is loaded needs no files


def test_no_request_is_dropped_while_versions_change(tmp_path):
    save(tmp_path, 1, 1.0)
    model = Model("m", tmp_path)
    model.poll()
    stop, found, failed = threading.Event(), [], []

    def ask():
        last = 0.0
        while not stop.is_set():
            try:
                value = served(model)
            except Exception as error:
                failed.append(error)
                return
            assert value >= last  # never back to an older one
            last = value
            time.sleep(0.002)  # or the loading hardly gets a turn
        found.append(last)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for version in range(2, 5):
        save(tmp_path, version, float(version))
        assert model.poll()
    stop.set()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(found) == 3
    assert list(states(model).values()) == ["AVAILABLE", "END", "END", "END"]


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_warm_up_requests_are_replayed(tmp_path, value):
    apis = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    log = apis.PredictionLog()
    request = log.predict_log.request
    request.model_spec.signature_name = "finite"
    request.inputs["values"].CopyFrom(tf.make_tensor_proto([[1.0, value]], tf.float32))
    path = save(tmp_path, 1) / warmup.FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    model = Model("m", tmp_path)
    if np.isfinite(value):
        assert model.poll()
        with model.use() as servable:
            assert servable.warmed == 1
    else:  # a request that the model refuses: the version cannot be what its maker meant
        assert not model.poll()
        assert "END" in states(model).values()


def test_a_server_starts_with_the_highest_that_loads(tmp_path):
    break_version(tmp_path, 2)
    with pytest.raises(ValueError, match=r"no version in .* can be loaded: .*damaged"):
        create_app({"m": tmp_path})
    save(tmp_path, 1, 1.0)
    app = create_app({"m": tmp_path})
    assert app.state.models["m"].current == 1


def test_directories_without_a_version_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no directory"):
        Model("m", tmp_path / "none")
    with pytest.raises(ValueError, match="holds no version"):
        Model("m", tmp_path)
    path = save(tmp_path)
    with pytest.raises(ValueError, match="is a version; give the directory"):
        Model("m", path)
    with pytest.raises(ValueError, match="without '/' and ':', got 'a:b'"):
        Model("a:b", tmp_path)
    with pytest.raises(ValueError, match="at least one"):
        create_app({})
