"""What Python computes of what the editor's page holds."""

import itertools

import editor_models
import numpy as np
import tensorflow as tf

from tf_structvae.distributions import editing

GREY_LEVEL = 1 / 255  # pictures are compared as they are shown, in 256 levels


def normal(reader, noise=None):
    """p(x | z) of the page's document, moved so that its mean is the picture of a noise.

    The noise is that of the document with its sliders, or another one.
    """
    document = reader.document
    p = reader.model.distribution([document["latents"]])
    noise = document["coefficients"] if noise is None else noise
    directions, stddevs, rotation = p.principal_components()
    w = tf.linalg.matvec(rotation, tf.constant([noise], tf.float32))
    np.testing.assert_allclose(
        p.sample_from_noise(w),
        p.mean() + tf.linalg.matvec(directions, stddevs * np.float32([noise])),
        atol=1e-5,
    )
    return type(p)(p.sample_from_noise(w), p.cov_factor, p.cov_diag)


def plain(reader):
    """p(x | z) of the page's document."""
    return reader.model.distribution([reader.document["latents"]])


def painted(reader, first=None):
    """Mask and values [N] of the document's strokes, disc by disc as editing.py paints them.

    With `first`: and which pixels only the first strokes painted.
    """
    shape = reader.shape
    mask, values = np.zeros(shape, bool), np.zeros(shape, np.float32)
    settled = np.zeros(shape, bool)
    for number, stroke in enumerate(reader.document["strokes"]):
        points = [stroke["points"][0], *stroke["points"]]
        for (r0, c0), (r1, c1) in itertools.pairwise(points):
            steps = max(abs(r1 - r0), abs(c1 - c0), 1)
            for i in range(steps + 1):
                # as JavaScript rounds
                pixel = (int(np.floor(r0 + (r1 - r0) * i / steps + 0.5)),
                         int(np.floor(c0 + (c1 - c0) * i / steps + 0.5)))  # fmt: skip
                disc = editing.disc(editing.Edit(pixel, (), stroke["size"]), shape)
                mask[disc] = not stroke["erase"]
                values[disc] = np.float32(stroke["colour"]) / 255
                settled[disc] = not stroke["erase"] and number < (first or 0)
    found = mask.ravel(), values.ravel()
    return found if first is None else (*found, settled.ravel())


def picture(reader):
    """The picture [N] of the page's document."""
    document = reader.document
    mask, values, settled = painted(reader, document["settled"])
    variance = document["softness"] ** 2
    # a settled pixel tells what it has with the noise that was drawn for it, and is painted over
    drawn = np.ravel(normal(reader, document["noise"]).mean())
    told = np.where(settled, drawn, values)
    mean = np.ravel(normal(reader).condition(mask, told, variance or None).mean())
    literal = editor_models.EPSILON / (editor_models.EPSILON + variance)
    return mean + literal * np.where(settled, values - drawn, 0.0)


def assert_shows(reader, expected, levels=0.51):
    """The large picture is `expected` [N], up to the rounding to 256 levels."""
    shown = reader.pixels()[..., : reader.shape[-1]].ravel() / 255
    np.testing.assert_allclose(shown, np.clip(expected, 0, 1), atol=levels * GREY_LEVEL + 1e-4)
