"""A small SavedModel for the editor, whose distribution is known, and servers of it."""

import contextlib
import json
import threading
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
import uvicorn

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.serving import sockets
from tf_structvae.serving.editor import packing
from tf_structvae.serving.editor.server import PACKED
from tf_structvae.serving.limits import Limits

LATENT, RANK, EPSILON = 3, 4, 1e-3
COLOUR, GREY = (24, 20, 3), (16, 16, 1)
LIMITS = Limits(request_bytes=20_000, batch=4, response_values=100_000, concurrency=1, seconds=10)
ORIGIN = "http://127.0.0.1"


def _waves(shape, count, seed):
    """Smooth pictures [count, N] of size about one."""
    rng = np.random.default_rng(seed)
    h, w, c = shape
    y, x = np.linspace(0, 1, h)[:, None, None], np.linspace(0, 1, w)[:, None]
    (fy, fx), phase = rng.uniform(1, 6, (2, count)), rng.uniform(0, 6, count)
    tint = rng.normal(size=(count, c))
    found = [np.sin(fy[k] * y + fx[k] * x + phase[k]) * tint[k] for k in range(count)]
    return np.reshape(found, [count, -1]).astype(np.float32)


class Small(tf.Module):
    """p(x | z) = N(0.5 + A tanh(z), P P^T + eps I), P = B scaled by 1 + 0.2 tanh(z_0).

    Of rank 0, a standard VAE's, P is one column of zeros, and nothing outside is told of it.
    """

    def __init__(self, shape, rank=RANK):
        super().__init__()
        self.shape, self.rank, self.size = shape, rank, int(np.prod(shape))
        self.means = tf.constant(0.1 * _waves(shape, LATENT, 0))
        self.factor = tf.constant((0.1 if rank else 0.0) * _waves(shape, max(rank, 1), 1).T)

    def distribution(self, latents):
        """Of latents [B, L]."""
        z = tf.tanh(tf.convert_to_tensor(latents, tf.float32))
        loc = 0.5 + tf.matmul(z, self.means)
        factor = (1.0 + 0.2 * z[:, :1, tf.newaxis]) * self.factor
        return LowRankMultivariateNormal(loc, factor, tf.fill([1], EPSILON))

    def _images(self, flat):
        return tf.reshape(flat, [-1, *self.shape])

    def sample(self, seeds):
        size = LATENT + self.rank
        drawn = tf.map_fn(
            lambda s: tf.random.stateless_normal([size], s),
            seeds,
            fn_output_signature=tf.TensorSpec([size], tf.float32),
        )
        z, noise = drawn[:, :LATENT], drawn[:, LATENT:]
        p = self.distribution(z)
        pixels = p.sample_from_noise(noise) if self.rank else p.mean()
        images = tf.clip_by_value(self._images(pixels), 0.0, 1.0)
        return {
            "images": images,
            "means": self._images(p.mean()),
            "latents": z,
            "factor_noise": noise,
        }

    def decode(self, latents):
        p = self.distribution(latents)
        return {"means": self._images(p.mean()), "variances": self._images(p.variance())}

    def components(self, latents):
        directions, stddevs, _ = self.distribution(latents).principal_components()
        rows = tf.linalg.matrix_transpose(directions)
        return {"components": tf.reshape(rows, [-1, self.rank, *self.shape]), "stddevs": stddevs}

    def encode(self, images):
        x = tf.reshape(images, [-1, self.size]) - 0.5
        z = 10.0 * tf.matmul(x, self.means, transpose_b=True) / self.size
        return {
            "latents": z,
            "latent_stddevs": tf.ones_like(z),
            "factor_noise": self.distribution(z).noise_posterior(0.5 + x)[0][:, : self.rank],
        }


CARD = {
    "parameters": 1234,
    "data": {
        "name": "waves",
        "description": "Smooth waves.",
        "license": "CC0-1.0",
        "citation": None,
        "homepage": None,
        "attribution": "Nobody",
    },
}


def save(directory, shape=COLOUR, rank=RANK, without=()):
    """Writes DIRECTORY/1; returns the module."""
    module = Small(shape, rank)
    inputs = {
        "sample": tf.TensorSpec([None, 2], tf.int32, "seeds"),
        "decode": tf.TensorSpec([None, LATENT], tf.float32, "latents"),
        "components": tf.TensorSpec([None, LATENT], tf.float32, "latents"),
        "encode": tf.TensorSpec([None, *shape], tf.float32, "images"),
    }
    without = (*without, *(() if rank else ("components",)))
    signatures = {
        name: tf.function(getattr(module, name), input_signature=[spec]).get_concrete_function()
        for name, spec in inputs.items()
        if name not in without
    }
    path = Path(directory) / "1"
    tf.saved_model.save(module, str(path), signatures=signatures)
    (path / "model_card.json").write_text(json.dumps(CARD))
    return module


class Served:
    """An application on a free port of this process, in a thread."""

    def __init__(self, app, port=0):
        self._bound = sockets.bind("127.0.0.1", port)
        self.port = self._bound.getsockname()[1]
        self.url = sockets.address(self._bound)
        config = uvicorn.Config(
            app, log_level="error", loop="asyncio", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._bound],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self):
        self._server.should_exit = True
        self._thread.join(10)
        self._bound.close()


@contextlib.contextmanager
def served(app):
    """As a context."""
    server = Served(app)
    try:
        yield server
    finally:
        server.stop()


def ask(client, signature, arrays, outputs=None, **headers):
    """The editor's response to arrays for a signature."""
    body = packing.pack(arrays)
    if outputs is not None:
        size = int.from_bytes(body[:4], "little")
        header = json.loads(body[4 : 4 + size]) | {"outputs": outputs}
        text = json.dumps(header).encode()
        body = len(text).to_bytes(4, "little") + text + body[4 + size :]
    headers = {"content-type": PACKED} | headers
    return client.post(f"/editor/predict/{signature}", content=body, headers=headers)
