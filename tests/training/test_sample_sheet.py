"""The picture of samples that a run draws while it trains."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_structvae.training import callbacks

SHAPE = (6, 4, 3)


class Run:
    """A model as the callback sees it: black at first, white from the second step on."""

    latent_dim = 2

    def __init__(self):
        self.steps = tf.Variable(0)

    def _pictures(self, count):
        level = 0.0 if self.steps < 2 else 1.0
        return Constant(np.full([count, 72], level, np.float32))

    def __call__(self, images, *labels, training):
        assert not training
        return self._pictures(len(images))

    def decode(self, latents, *labels):
        return self._pictures(len(latents))


class Constant:
    """A distribution without spread."""

    def __init__(self, value):
        self._value = value

    def mean(self):
        return self._value

    def sample(self, seed):
        return tf.constant(self._value)


@pytest.fixture
def sheet(tmp_path):
    images = tf.data.Dataset.from_tensor_slices(np.full([3, *SHAPE], 0.5, np.float32)).batch(2)
    found = callbacks.SampleSheet(tmp_path / "samples.png", images, first=1, columns=2)
    found.set_model(Run())
    found.on_train_begin()
    return found


def step(sheet, epoch_ends=False):
    sheet.model.steps.assign_add(1)
    sheet.on_train_batch_end(0)
    if epoch_ends:
        sheet.on_epoch_end(0)


def levels(path):
    """The grey of the data and of samples of the prior, the first and the last of four rows."""
    picture = np.asarray(Image.open(path).convert("L"), float) / 255
    height, width = picture.shape
    return [round(picture[int(at * height), int(0.75 * width)], 1) for at in (0.18, 0.87)]


def test_it_is_drawn_at_the_first_step_and_then_each_epoch(sheet, tmp_path, capsys):
    path = tmp_path / "samples.png"
    assert not path.exists()
    step(sheet)
    assert levels(path) == [0.5, 0.0]
    before = path.read_bytes()
    step(sheet)
    assert path.read_bytes() == before  # no epoch has ended
    step(sheet, epoch_ends=True)
    assert levels(path) == [0.5, 1.0]
    assert capsys.readouterr().out == f"step 1: samples drawn in {path}\n"


def test_a_resumed_run_says_where_at_its_first_epoch(sheet, tmp_path, capsys):
    sheet.model.steps.assign(7)
    step(sheet)
    assert not (tmp_path / "samples.png").exists()
    step(sheet, epoch_ends=True)
    assert capsys.readouterr().out == f"step 9: samples drawn in {tmp_path / 'samples.png'}\n"
