"""SavedModels that sample and condition without this package."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from tf_structvae.distributions import LowRankMultivariateNormal
from tf_structvae.vae import StructuredVAE


def _normal_rows(seeds: tf.Tensor, size: int) -> tf.Tensor:
    """Standard normal [B, size] whose rows depend on their own seed [2] alone."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_normal([size], seed),
        seeds,
        fn_output_signature=tf.TensorSpec([size], tf.float32),
    )


def signatures(model: StructuredVAE) -> dict[str, tuple[Callable, dict[str, tf.TensorSpec]]]:
    """Name -> (function of a dict of tensors, its input signature) of every exported endpoint.

    `sample(seeds [B, 2] int32)` -> images (clipped to [0, 1]), means, latents and factor_noise.
    A low-rank model's samples are eq. 3 with omega_d = 0; the standard VAE's have their noise.

    `condition(latents [B, L], values [B, H, W, C], mask [B, H, W, 1], noise_variance [B])` ->
    images (the conditional mean, clipped) and variances (eq. 6); observed is where mask > 0.5.
    """
    shape, latent_dim = model.image_shape, model.latent_dim
    rank = getattr(model.head, "rank", 0)
    n = shape[0] * shape[1] * shape[2]

    def images(flat):
        return tf.reshape(flat, [-1, *shape])

    def sample(seeds):
        noise = _normal_rows(seeds, latent_dim + (rank or n))
        latents, rest = noise[:, :latent_dim], noise[:, latent_dim:]
        p = model.decode(latents)
        drawn = p.sample_from_noise(rest) if rank else p.mean() + p.stddev() * rest
        return {
            "images": tf.clip_by_value(images(drawn), 0.0, 1.0),
            "means": images(p.mean()),
            "latents": latents,
            "factor_noise": rest[:, :rank],
        }

    def condition(latents, values, mask, noise_variance):
        p = model.decode(latents)
        if not isinstance(p, LowRankMultivariateNormal):
            scale = p.stddev()
            p = LowRankMultivariateNormal(p.mean(), 0.0 * scale[..., tf.newaxis], scale**2)
        flat = [tf.shape(latents)[0], n]
        observed = tf.reshape(tf.broadcast_to(mask > 0.5, tf.shape(values)), flat)
        q = p.condition(observed, tf.reshape(values, flat), noise_variance[:, tf.newaxis])
        return {
            "images": tf.clip_by_value(images(q.mean()), 0.0, 1.0),
            "variances": images(q.variance()),
        }

    def spec(name, *inner, dtype=tf.float32):
        return tf.TensorSpec([None, *inner], dtype, name=name)

    return {
        "sample": (sample, {"seeds": spec("seeds", 2, dtype=tf.int32)}),
        "condition": (
            condition,
            {
                "latents": spec("latents", latent_dim),
                "values": spec("values", *shape),
                "mask": spec("mask", *shape[:2], 1),
                "noise_variance": spec("noise_variance"),
            },
        ),
    }


def next_version(directory: str | Path) -> int:
    """One more than the highest numbered version in a model's directory."""
    directory = Path(directory)
    names = [p.name for p in directory.iterdir()] if directory.is_dir() else []
    return 1 + max((int(n) for n in names if n.isdigit()), default=0)


def export(model: StructuredVAE, directory: str | Path, version: int | None = None) -> Path:
    """Writes `directory/VERSION` with the endpoints of `signatures`, all at once or not at all.

    Args:
      model: a built model.
      directory: of all versions of this model, such as saved_models/avatars.
      version: a new positive number; None is one more than the highest.

    Returns:
      The path of the new version.

    Raises:
      ValueError: the version is no positive number.
      FileExistsError: the version exists.
    """
    directory = Path(directory)
    version = next_version(directory) if version is None else version
    if version < 1:
        raise ValueError(f"version must be a positive number, got {version}.")
    final = directory / str(version)
    if final.exists():
        raise FileExistsError(f"{final} exists; a version is never overwritten.")
    directory.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=directory))
    try:
        archive = keras.export.ExportArchive()
        archive.track(model)
        for name, (function, inputs) in signatures(model).items():
            archive.add_endpoint(name, function, input_signature=list(inputs.values()))
        archive.write_out(str(temporary / "model"), verbose=False)
        os.rename(temporary / "model", final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final
