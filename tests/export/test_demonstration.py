"""bin/demo: the pictures of an exported model, drawn through its signatures."""

import json

import editor_models
import numpy as np
import pytest
import tensorflow as tf
from forked import run
from PIL import Image

from tf_structvae.distributions import editing
from tf_structvae.studies import demonstration

SHAPE = editor_models.COLOUR
H, W, C = SHAPE
EDITS = [editing.Edit((4, 4), (0.9, 0.1, 0.1), 2.0), editing.Edit((5, 5), (0.2, 0.2, 0.9), 1.0)]


class Whole(editor_models.Small):
    """With the signatures of edits, too."""

    def manipulate(self, latents, factor_noise, component_scales):
        p = self.distribution(latents).scale_components(component_scales)
        images = tf.clip_by_value(self._images(p.sample_from_noise(factor_noise)), 0.0, 1.0)
        return {"images": images}

    def condition(self, latents, values, mask, noise_variance):
        seen = tf.reshape(tf.repeat(mask, C, axis=-1), [-1, self.size]) > 0.5
        flat = tf.reshape(values, [-1, self.size])
        given = self.distribution(latents).condition(seen, flat, noise_variance[0])
        return {"images": tf.clip_by_value(self._images(given.mean()), 0.0, 1.0)}


def save(folder, *names, labels=False):
    """Some signatures of `Whole`, as FOLDER/1; the model itself."""
    model = Whole(SHAPE)
    latents = tf.TensorSpec([None, editor_models.LATENT], name="latents")
    noise = [None, editor_models.RANK]
    inputs = {
        "sample": [tf.TensorSpec([None, 2], tf.int32, "seeds")],
        "decode": [latents],
        "manipulate": [
            latents,
            tf.TensorSpec(noise, name="factor_noise"),
            tf.TensorSpec(noise, name="component_scales"),
        ],
        "condition": [
            latents,
            tf.TensorSpec([None, *SHAPE], name="values"),
            tf.TensorSpec([None, H, W, 1], name="mask"),
            tf.TensorSpec([None], name="noise_variance"),
        ],
    }
    functions = {n: tf.function(getattr(model, n), input_signature=inputs[n]) for n in names}
    if labels:
        given = [*inputs["condition"], tf.TensorSpec([None], tf.int32, "labels")]

        @tf.function(input_signature=given)
        def conditional(latents, values, mask, noise_variance, labels):
            return model.condition(latents, values, mask, noise_variance)

        functions["condition"] = conditional
    tf.saved_model.save(model, str(folder / "1"), signatures=functions)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("models") / "waves"
    save(found, *demonstration.NEEDED)
    card = {"training": {"config": {"data": {"name": "avatars"}}}}
    (found / "1/model_card.json").write_text(json.dumps(card))
    return found


@pytest.fixture(scope="module")
def shown(folder):
    loaded = tf.saved_model.load(str(folder / "1"))
    yield demonstration.Demonstration(loaded.signatures, "waves", seed=3)
    del loaded


def pictures(figure):
    """The sheets of a figure."""
    return [i.get_array() for axes in figure.axes for i in axes.get_images()]


def test_program_writes_three_pictures_and_names_them(folder, tmp_path):
    done = run("bin/demo", f"--model={folder}", f"--output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert f"model     {folder}/1" in done.stdout
    for name in ("samples", "interpolation", "edit"):
        path = tmp_path / f"out/{name}.png"
        assert f"picture   {path}\n" in done.stdout
        assert Image.open(path).width == 2160  # 7.2 inches
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_samples_are_those_of_the_seeds(shown):
    [sheet] = pictures(shown.samples())
    seeds = [(3, k) for k in range(2)]
    drawn = Whole(SHAPE).sample(tf.constant(seeds))["images"].numpy()
    expected = np.rint(255 * drawn)
    np.testing.assert_allclose(sheet[:H, :W], expected[0], atol=1)
    np.testing.assert_allclose(sheet[:H, W + 1 : 2 * W + 1], expected[1], atol=1)
    assert sheet.shape == (6 * (H + 1) - 1, 12 * (W + 1) - 1, 3)


def test_corners_of_an_interpolation_are_samples_of_one_latent_code(shown):
    first, second = pictures(shown.interpolation())
    drawn = Whole(SHAPE).sample(tf.constant([(3, 1000 + k) for k in range(8)]))
    for sheet, start in ((first, 0), (second, 4)):
        p = Whole(SHAPE).distribution(tf.repeat(drawn["latents"][start : start + 1], 4, axis=0))
        noise = drawn["factor_noise"][start : start + 4]
        flat = np.clip(p.sample_from_noise(noise), 0, 1).reshape(4, *SHAPE)
        corners = sheet[:H, :W], sheet[:H, -W:], sheet[-H:, :W], sheet[-H:, -W:]
        np.testing.assert_allclose(corners, np.rint(255 * flat), atol=1)


def test_edits_are_those_of_equation_6(shown):
    """As `editing.edit_sequence` makes them of the distribution itself."""
    model = Whole(SHAPE)
    latents = tf.constant([[0.1, -0.2, 0.3], [0.4, 0.0, -1.0]])
    p = model.distribution(latents)
    expected = editing.edit_sequence(p, EDITS, SHAPE, noise_variance=0.01)

    def condition(values, mask):
        return model.condition(latents, tf.constant(values), mask, [0.01])["images"].numpy()

    prediction = p.mean().numpy().reshape(2, *SHAPE)
    found = demonstration.edited(prediction, EDITS, condition)
    assert [s.edit for s in found] == EDITS
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.mean, np.clip(theirs.mean, 0, 1), atol=1e-5)
        inside = editing.disc(ours.edit, SHAPE)
        np.testing.assert_allclose(ours.painted[:, inside], theirs.painted[:, inside], atol=1e-6)
    assert len(pictures(shown.edits(EDITS))) == 3  # a row a latent code


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (("sample", "decode", "condition"), False, "must have .*manipulate is missing"),
        (("sample", "decode", "manipulate"), True, "must be a model without labels"),
    ],
)
def test_models_that_cannot_be_shown_are_named(names, labels, message, tmp_path):
    save(tmp_path, *names, labels=labels)
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    with pytest.raises(ValueError, match=f"mine {message}"):
        demonstration.Demonstration(loaded.signatures, "mine")
