"""The formats of https://www.tensorflow.org/tfx/serving/api_rest, with its own examples."""

import base64
import json

import numpy as np
import pytest
import tensorflow as tf

from tf_structvae.serving import paths, protocol, signature
from tf_structvae.serving.errors import RequestError
from tf_structvae.serving.paths import Target
from tf_structvae.serving.specs import Signature, Spec


def sign(**inputs):
    return Signature({k: Spec(dtype.name, shape) for k, (dtype, shape) in inputs.items()}, {})


NAMED = sign(
    tag=(tf.string, (None,)),
    signal=(tf.float32, (None, 5)),
    sensor=(tf.float32, (None, 2, 2)),
)
TAGS = [b"foo", b"bar"]
SIGNAL = [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]]
SENSOR = [[[1, 2], [3, 4]], [[4, 5], [6, 8]]]


def decode(content, signature_):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return protocol.tensors(protocol.parse(body), signature_)


def refused(content, signature_, *words):
    with pytest.raises(RequestError) as found:
        decode(content, signature_)
    assert found.value.status == 400
    for word in words:
        assert word in str(found.value)


def check_named(found):
    assert found["tag"].tolist() == TAGS
    for name, wanted in (("signal", SIGNAL), ("sensor", SENSOR)):
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], wanted)


def test_rows_and_columns_of_named_inputs():
    rows = [
        {"tag": "foo", "signal": SIGNAL[0], "sensor": SENSOR[0]},
        {"tag": "bar", "signal": SIGNAL[1], "sensor": SENSOR[1]},
    ]
    check_named(decode({"instances": rows}, NAMED))
    columns = {"tag": ["foo", "bar"], "signal": SIGNAL, "sensor": SENSOR}
    check_named(decode({"inputs": columns}, NAMED))


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_lone_input_goes_without_its_name(key):
    text = sign(x=(tf.string, (None,)))
    assert decode({key: ["foo", "bar", "baz"]}, text)["x"].tolist() == [b"foo", b"bar", b"baz"]
    pairs = sign(x=(tf.float32, (None, 1, 2)))
    found = decode({key: [[[1, 2]], [[3, 4]]]}, pairs)["x"]
    np.testing.assert_array_equal(found, [[[1, 2]], [[3, 4]]])
    by_name = {"instances": [{"x": "foo"}], "inputs": {"x": ["foo"]}}[key]
    assert decode({key: by_name}, text)["x"].tolist() == [b"foo"]


def test_columns_need_not_have_the_same_rows():
    both = sign(a=(tf.float32, (None,)), b=(tf.float32, ()))
    found = decode({"inputs": {"a": [1, 2, 3], "b": 4}}, both)
    assert found["a"].shape == (3,)
    assert found["b"].shape == ()


def test_binary_values():
    encoded = {"b64": base64.b64encode(b"\xff\x00image").decode()}
    text = sign(x=(tf.string, (None,)))
    for key in ("instances", "inputs"):
        assert decode({key: [encoded, "caption"]}, text)["x"].tolist() == [
            b"\xff\x00image",
            b"caption",
        ]
    scalar = sign(x=(tf.string, ()))
    assert decode({"inputs": encoded}, scalar)["x"].item() == b"\xff\x00image"
    refused({"instances": [{"b64": "a"}]}, text, "Base64", "'x'")
    refused({"instances": [3]}, text, "'x'", "b64")
    refused({"instances": [[encoded]]}, sign(x=(tf.float32, (None, 1))), "float32")


def test_special_numbers_and_exponents():
    x = sign(x=(tf.float32, (None,)))
    found = decode(b'{"instances": [1.0, -3.14, NaN, Infinity, -Infinity, 1e-3, 2]}', x)["x"]
    wanted = np.array([1, -3.14, np.nan, np.inf, -np.inf, 1e-3, 2], np.float32)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", ["JSON Parse error"]),
        (b'{"instances": [1', ["JSON Parse error"]),
        (b'{"instances": [NaN', ["JSON Parse error"]),
        (b"\xff\xfe", ["JSON Parse error"]),
        (b"[" * 5000, ["JSON Parse error"]),
        (b'{"NaN": ' + b"[" * 100_000, ["JSON Parse error"]),
        (b"[1]", ["object"]),
        (b"{}", ["instances", "inputs"]),
        (b'{"instances": [1], "inputs": [1]}', ["not both"]),
        (b'{"instances": []}', ["at least one"]),
        (b'{"instances": 3}', ["list"]),
        (b'{"signature_name": 3, "instances": [1]}', ["signature_name"]),
        (b'{"instances": [1, [2]]}', ["'x'", "length"]),
        (b'{"instances": [[1], [2, 3]]}', ["'x'", "length"]),
        (b'{"instances": [[1]]}', ["'x'", "[1, 1]", "[?]"]),
        (b'{"instances": [[[[[]]]]]}', ["'x'", "[?]"]),
        (b'{"instances": [null]}', ["'x'", "float32"]),
        (b'{"instances": ["1.5"]}', ["'x'", "float32"]),
        (b'{"instances": [1.5, true]}', ["'x'", "float32"]),
        (b'{"instances": [{"b64": "AAAA"}]}', ["'x'", "float32"]),
        (b'{"instances": [1e39]}', ["'x'", "range"]),
        (b'{"instances": [{"y": 1}]}', ["item 0", "y", "x"]),
        (b'{"instances": [{"x": 1}, 2]}', ["item 1", "mixes"]),
        (b'{"inputs": {"x": [1], "y": [2]}}', ["'inputs'", "x, y"]),
        (b'{"inputs": {}}', ["none"]),
        # Python's reader, which is asked about NaN, takes half a surrogate for text
        (b'{"signature_name": "\\ud800", "instances": [NaN]}', ["JSON Parse error", "surrogates"]),
        (b'{"inputs": {"\\ud800": [NaN]}}', ["JSON Parse error", "surrogates"]),
        (b'{"instances": [{"\\ud800": NaN}]}', ["JSON Parse error", "surrogates"]),
        (b'{"instances": [NaN, "\xed\xa0\x80"]}', ["JSON Parse error"]),
        ('{"instances": [NaN]}'.encode("utf-16"), ["JSON Parse error"]),
    ],
)
def test_what_is_refused(body, words):
    refused(body, sign(x=(tf.float32, (None,))), *words)


def test_several_inputs_need_their_names():
    refused({"instances": ["foo"]}, NAMED, "tag", "signal", "by its name")
    refused({"inputs": ["foo"]}, NAMED, "by its name")
    refused({"inputs": {"tag": ["foo"]}}, NAMED, "signal")
    refused({"instances": [{"tag": "foo"}]}, NAMED, "sensor")


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        (tf.int32, [-(2**31), 2**31 - 1], [[2**31], [1.0], [True], ["1"], [10**30]]),
        (tf.int64, [-(2**63), 2**63 - 1], [[2**63], [0.5]]),
        (tf.uint8, [0, 255], [[256], [-1]]),
        (tf.bool, [True, False], [[1], ["true"]]),
        (tf.float64, [1e300, -3], [[None], [True]]),
        (tf.float16, [0.5, 1000], [[1e6]]),
    ],
)
def test_types(dtype, good, bad):
    x = sign(x=(dtype, (None,)))
    found = decode({"instances": good}, x)["x"]
    assert found.dtype == dtype.as_numpy_dtype
    assert found.tolist() == good
    for values in bad:
        refused({"instances": values}, x, "'x'", dtype.name)


def test_float32_comes_back_as_it_went():
    """Any finite value, the smallest included, both ways."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 100_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    body = protocol.response({"y": numbers}, by_row=True)
    x = sign(x=(tf.float32, (None,)))
    found = decode(body.replace(b"predictions", b"instances"), x)["x"]
    np.testing.assert_array_equal(found.view(np.uint32), numbers.view(np.uint32))


def test_lone_outputs_go_without_their_name():
    y = np.array([3.5, 4.0, 5.5], np.float32)
    assert protocol.response({"y": y}, True) == b'{"predictions":[3.5,4.0,5.5]}'
    assert protocol.response({"y": y}, False) == b'{"outputs":[3.5,4.0,5.5]}'


def test_several_outputs_are_objects():
    outputs = {"b": np.array([[1, 2], [3, 4]], np.int32), "a": np.array([0.5, 1], np.float32)}
    assert json.loads(protocol.response(outputs, False)) == {
        "outputs": {"a": [0.5, 1.0], "b": [[1, 2], [3, 4]]}
    }
    assert json.loads(protocol.response(outputs, True)) == {
        "predictions": [{"a": 0.5, "b": [1, 2]}, {"a": 1.0, "b": [3, 4]}]
    }


def test_other_outputs():
    scalar = np.array(2.5, np.float32)
    assert protocol.response({"y": scalar}, False) == b'{"outputs":2.5}'
    with pytest.raises(RequestError, match="no common rows"):
        protocol.response({"y": scalar}, True)
    with pytest.raises(RequestError, match="no common rows"):
        protocol.response({"y": np.zeros(2), "z": np.zeros(3)}, True)
    turned = np.arange(6.0).reshape(2, 3).T
    assert json.loads(protocol.response({"y": turned}, False))["outputs"] == turned.tolist()
    special = np.array([np.nan, np.inf, -np.inf, 0.5], np.float32)
    for by_row, key in ((True, b"predictions"), (False, b"outputs")):
        body = protocol.response({"y": special}, by_row)
        assert body == b'{"%s": [NaN, Infinity, -Infinity, 0.5]}' % key
    rows = protocol.response({"y": special, "n": np.arange(4)}, True)
    assert json.loads(rows)["predictions"][1] == {"n": 1, "y": np.inf}


def test_binary_outputs_are_those_named_so():
    data = np.array([b"\xff", b"ok"], object)
    assert json.loads(protocol.response({"x_bytes": data}, True)) == {
        "predictions": [{"b64": "/w=="}, {"b64": "b2s="}]
    }
    assert protocol.response({"x": data[1:]}, True) == b'{"predictions":["ok"]}'
    with pytest.raises(RequestError, match="x_bytes") as found:
        protocol.response({"x": data}, True)
    assert found.value.status == 500


@pytest.mark.parametrize(
    ("method", "path", "target"),
    [
        ("POST", "/v1/models/a-b.c:predict", Target("a-b.c", None, None, "predict")),
        ("POST", "/v1/models/a/versions/12:predict", Target("a", 12, None, "predict")),
        ("POST", "/v1/models/a/labels/stable:predict", Target("a", None, "stable", "predict")),
        ("GET", "/v1/models/a", Target("a", None, None, "status")),
        ("GET", "/v1/models/a/versions/3", Target("a", 3, None, "status")),
        ("GET", "/v1/models/a/versions/3/metadata", Target("a", 3, None, "metadata")),
        ("GET", "/v1/models/a/labels/x/metadata", Target("a", None, "x", "metadata")),
        ("GET", "/v1/models/a/card", Target("a", None, None, "card")),
    ],
)
def test_addresses(method, path, target):
    assert paths.parse(method, path) == target


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/a:predict"),
        ("POST", "/v1/models/a"),
        ("POST", "/v1/models/a/metadata"),
        ("DELETE", "/v1/models/a"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/a/versions/x"),
        ("GET", "/v1/models/a/versions/\u0661"),  # a digit, but of Arabic
        ("GET", "/v1/models/a/versions/" + "9" * 5000),
        ("POST", "/v1/models/a:explain"),
        ("POST", "/v1/models/a:classify"),
        ("GET", "/v1/models/a/versions/1/labels/x"),
        ("GET", "/v1/models/../../etc/passwd"),
    ],
)
def test_other_addresses_are_refused(method, path):
    with pytest.raises(RequestError) as found:
        paths.parse(method, path)
    assert found.value.status == 400


def test_a_damaged_model_file_is_an_error(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(ValueError, match="damaged"):
        signature.read(tmp_path)
