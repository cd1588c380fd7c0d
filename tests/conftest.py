import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


def pytest_collection_finish():
    """What is imported stays: looking through it for garbage took a third of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_keras():
    yield
    keras.config.set_dtype_policy("float32")
    keras.backend.clear_session(free_memory=False)


@pytest.fixture(autouse=True, scope="module")
def _free_memory():
    """What outlives a module's fixtures stays, too: TensorFlow keeps millions of objects."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the tests' data sets are built, once."""
    return str(tmp_path_factory.mktemp("tfds"))
