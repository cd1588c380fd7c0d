"""No request makes the editor's server fail, and each is answered as its description says."""

import json
import math

import numpy as np
import pytest
from editor_models import LATENT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tf_structvae.serving.editor.server import PACKED

SETTINGS = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # they are of the module
)
ADDRESS = "/editor/predict/{signature}"
text = st.sampled_from(["latents", "seeds", "images", "float32", "int32", "uint8"]) | st.text()
size = st.integers(0, 4) | st.sampled_from([24, 20, 3, 2**31, 2**62, 2**63, 2**64, -1, 1.5, True])
value = st.one_of(st.none(), st.integers(), text, st.lists(size, max_size=9))
item = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["latents", "seeds", "images"]),
            "dtype": st.sampled_from(["float32", "int32", "uint8"]),
            "shape": st.lists(st.integers(0, 4), max_size=4) | st.lists(size, max_size=4),
        }
    ),
    st.fixed_dictionaries({"name": value, "dtype": value, "shape": value}),
    value,
)
header = st.fixed_dictionaries(
    {"arrays": st.lists(item, max_size=2) | value},
    optional={"outputs": st.lists(text, max_size=2) | value, "more": value},
)
signature = st.sampled_from(["decode", "sample", "encode", "components", "none", "\u0661"])


def _size(found):
    """Bytes of the arrays, as far as they can be told."""
    total = 0
    for each in found["arrays"] if isinstance(found["arrays"], list) else ():
        shape = each.get("shape") if isinstance(each, dict) else None
        if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape):
            total += math.prod(shape) * (1 if each["dtype"] == "uint8" else 4)
    return total if total < 10_000 else 10


def _predict(client, name, body):
    response = client.post(
        f"/editor/predict/{name}", content=body, headers={"content-type": PACKED}
    )
    described = client.get("/openapi.json").json()["paths"][ADDRESS]["post"]["responses"]
    assert str(response.status_code) in described
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert response.json().keys() == {"error"}
    return response.status_code


@pytest.mark.parametrize("way", ["client", "remote"])
@SETTINGS
@given(found=header, name=signature, extra=st.sampled_from([0, 0, 0, 1]))
def test_any_arrays(way, request, found, name, extra):
    content = json.dumps(found).encode()
    data = bytes(_size(found) + extra)
    body = len(content).to_bytes(4, "little") + content + data
    _predict(request.getfixturevalue(way), name, body)


@pytest.mark.parametrize("way", ["client", "remote"])
@SETTINGS
@given(body=st.binary(max_size=40), name=signature)
def test_any_bytes(way, request, body, name):
    assert _predict(request.getfixturevalue(way), name, body) == 400


@pytest.mark.parametrize("way", ["client", "remote"])
def test_arrays_without_a_row(way, request):
    """A model may answer them, and the server does not fail."""
    array = np.zeros((0, LATENT), np.float32)
    listed = [{"name": "latents", "dtype": "float32", "shape": list(array.shape)}]
    content = json.dumps({"arrays": listed}).encode()
    body = len(content).to_bytes(4, "little") + content
    assert _predict(request.getfixturevalue(way), "decode", body) in (200, 400)
