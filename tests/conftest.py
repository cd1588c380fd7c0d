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
    """Before a module, what the one before it made goes: its last test held fixtures to its end.

    What outlives it stays, and no later collection looks at it: TensorFlow keeps millions of
    objects.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Where the tests' data sets are built, once."""
    return str(tmp_path_factory.mktemp("tfds"))
