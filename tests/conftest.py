import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def _clean_keras():
    yield
    keras.config.set_dtype_policy("float32")
    keras.backend.clear_session()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the tests' data sets are built, once."""
    return str(tmp_path_factory.mktemp("tfds"))
